package odata

import (
	"bytes"
	"strings"
)

// linkPrefix swaps the beginning of a link that is written as a JSON string. The replacement writes '/' as the link does.
type linkPrefix struct {
	mapping mapping
	reach   int // so much of a link decides
	plain   []byte
	slashed map[string][]byte // by how '/' is escaped
	text    []byte            // the beginning of the link, without escapes
	ends    []uint32          // where each byte of text ends in the source
	foreign error             // the *ForeignLink that was found
}

func newLinkPrefix(m mapping) *linkPrefix {
	reach := m.reach()
	return &linkPrefix{mapping: m, reach: reach, plain: []byte(m.to)}
}

// swap looks at w, which begins behind the opening quote. It gives how many bytes are to be replaced, 0 for a link that
// leads elsewhere, and by what. It reports false when w ends before that is known.
func (h *linkPrefix) swap(w []byte, end bool) (drop int, put []byte, known bool) {
	if len(w) > 0 && !beginsLink(w[0]) {
		return 0, nil, true
	}
	if len(w) >= h.reach {
		// What matches as written, a delimiter behind it, needs no decoding.
		if f := find(&h.mapping, w[:h.reach]); f.n >= 0 && !f.foreign && !escapeBehind(w[f.n:h.reach]) {
			return f.n, h.plain, true
		}
	}
	known = h.decode(w)
	if !known && !end {
		return 0, nil, false
	}
	f := find(&h.mapping, h.text)
	if f.n < 0 || !known && f.n == len(h.text) {
		// What breaks off right behind a base might have gone on to another host.
		return 0, nil, true
	}
	if f.foreign {
		h.foreign = &ForeignLink{string(h.text[:f.n])}
		return 0, nil, true
	}
	drop = int(h.ends[f.n-1])
	return drop, h.replacement(w[:drop]), true
}

// escapeBehind reports whether an escape follows the slash that rest begins
// with: it may be another slash, to be joined with the first.
func escapeBehind(rest []byte) bool { return len(rest) > 1 && rest[0] == '/' && rest[1] == '\\' }

// beginsLink reports whether the first byte of a JSON string leaves it open that find knows it: a scheme, a path, or an
// escape that may be either.
func beginsLink(c byte) bool { return c == 'h' || c == 'H' || c == '/' || c == '\\' }

// decode reads as much of the link as decides, and reports whether it found that much or the link's end.
func (h *linkPrefix) decode(w []byte) bool {
	if h.text == nil {
		h.text, h.ends = make([]byte, 0, h.reach), make([]uint32, 0, h.reach)
	}
	h.text, h.ends = h.text[:0], h.ends[:0]
	at := 0
	for len(h.text) < h.reach {
		if at == len(w) {
			return false
		}
		if w[at] == '"' {
			return true
		}
		c, size := unescape(w[at:])
		if size == 0 {
			return false
		}
		at += size
		h.text = append(h.text, c)
		h.ends = append(h.ends, uint32(at))
	}
	return true
}

func (h *linkPrefix) replacement(old []byte) []byte {
	slash := ""
	switch i := bytes.IndexByte(old, '\\'); {
	case i < 0 || bytes.IndexByte(old, '/') > 0 && !bytes.Contains(old, []byte(`\/`)):
		return h.plain
	case bytes.Contains(old, []byte(`\/`)):
		slash = `\/`
	case bytes.Contains(old, []byte(`\u002f`)):
		slash = `\u002f`
	default:
		slash = `\u002F`
	}
	put, ok := h.slashed[slash]
	if !ok {
		put = []byte(strings.ReplaceAll(h.mapping.to, "/", slash))
		if h.slashed == nil {
			h.slashed = make(map[string][]byte)
		}
		h.slashed[slash] = put
	}
	return put
}
