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

// percentLike encodes those of base's delimiters that old encodes, with the case of old's digits.
func percentLike(old, base string) string {
	for _, code := range []string{"%3A", "%3a", "%2F", "%2f"} {
		if strings.Contains(old, code) {
			plain := ":"
			if code[1] == '2' {
				plain = "/"
			}
			base = strings.ReplaceAll(base, plain, code)
		}
	}
	return base
}
