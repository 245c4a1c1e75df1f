package odata

import "bytes"

// Control information is a member whose name ends in '@' and one of these. In
// an answer these hold links.
func isLink(name string) bool {
	switch name {
	case "odata.context", "odata.nextLink", "odata.deltaLink", "odata.id", "odata.editLink", "odata.readLink",
		"odata.mediaReadLink", "odata.mediaEditLink", "odata.navigationLink", "odata.associationLink":
		return true
	}
	return false
}

// keyTail is how much of the end of a member's name, as it stands in the text,
// is enough to tell whether it is control information: the longest name with
// every character escaped.
const keyTail = 6 * len("@odata.associationLink")

// controlName returns what stands behind the last '@' of a member's name, given
// the end of the name as it stands in the text, escapes and all; "" for none.
func controlName(raw []byte) string {
	if len(raw) > keyTail {
		raw = raw[len(raw)-keyTail:]
	}
	if bytes.IndexByte(raw, '\\') >= 0 {
		var h head
		h.decode(raw, len(raw))
		raw = h.text
	}
	at := bytes.LastIndexByte(raw, '@')
	if at < 0 {
		return ""
	}
	return string(raw[at+1:])
}

// head is the beginning of a JSON string, decoded, with the place of each byte
// in the text.
type head struct {
	text  []byte // decoded
	at    []int  // at[i] is where text[i] begins; at[len(text)] where it ends
	ended bool   // by the closing quote
	slash bool   // whether a '/' was written as an escape
	long  bool   // whether '/' was written as \u002f
}

// decode reads the inside of a string from raw, up to its closing quote or to
// limit bytes of text. What is no escape is taken as it stands; what does not
// fit into one byte stands for itself as 0xff, which no link holds.
func (h *head) decode(raw []byte, limit int) {
	h.text, h.at, h.ended, h.slash, h.long = h.text[:0], h.at[:0], false, false, false
	i := 0
	for len(h.text) < limit && i < len(raw) {
		c, n := raw[i], 1
		switch {
		case c == '"':
			h.ended = true
			h.at = append(h.at, i)
			return
		case c == '\\':
			if c, n = unescape(raw[i:]); n == 0 {
				h.at = append(h.at, i)
				return // the escape is cut off
			}
			if c == '/' {
				h.slash, h.long = true, n == 6
			}
		}
		h.text, h.at = append(h.text, c), append(h.at, i)
		i += n
	}
	h.at = append(h.at, i)
}

// unescape reads one escape and returns the byte that it stands for and its
// length, 0 if it is cut off.
func unescape(raw []byte) (byte, int) {
	if len(raw) < 2 {
		return 0, 0
	}
	switch c := raw[1]; c {
	case '"', '\\', '/':
		return c, 2
	case 'u':
		if len(raw) < 6 {
			return 0, 0
		}
		hi, ok1 := hexByte(raw[2], raw[3])
		lo, ok2 := hexByte(raw[4], raw[5])
		if ok1 && ok2 && hi == 0 && lo < 0x80 {
			return lo, 6
		}
		return 0xff, 6
	}
	return 0xff, 2
}

// escaped writes base as h wrote its slashes.
func (h *head) escaped(base string) string {
	switch {
	case !h.slash:
		return base
	case h.long:
		return replaceSlashes(base, `\u002f`)
	}
	return replaceSlashes(base, `\/`)
}

func replaceSlashes(s, by string) string {
	return string(bytes.ReplaceAll([]byte(s), []byte{'/'}, []byte(by)))
}
