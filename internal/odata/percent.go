package odata

import "strings"

// decoded is a percent-encoded text without its encoding, and where in the source each of its bytes ends.
type decoded struct {
	text []byte
	ends []int
}

// percentDecode decodes s. A '%' that begins no encoded byte stands for itself.
func percentDecode(s string) decoded {
	d := decoded{text: make([]byte, 0, len(s)), ends: make([]int, 0, len(s))}
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if c == '%' && i+2 < len(s) {
			high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
			if high >= 0 && low >= 0 {
				c, n = byte(high<<4|low), 3
			}
		}
		i += n
		d.text = append(d.text, c)
		d.ends = append(d.ends, i)
	}
	return d
}

// swap gives link, whose decoded form d begins with a base of n bytes, with base in its place. The delimiters of base are
// encoded as those behind link's scheme are, or as its first slash where it has none.
func (d decoded) swap(link string, n int, base string) string {
	colon, slash := ":", link[:d.ends[0]]
	if d.text[0] != '/' {
		i := strings.IndexByte(string(d.text), ':')
		colon, slash = link[d.ends[i-1]:d.ends[i]], link[d.ends[i]:d.ends[i+1]]
	} else if len(slash) > 1 {
		colon = "%3A"
	}
	like := strings.NewReplacer(":", colon, "/", slash)
	return like.Replace(base) + link[d.ends[n-1]:]
}
