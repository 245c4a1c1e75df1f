package odata

import (
	"bytes"
	"io"
)

// tokens follows a JSON text byte by byte and rewrites the values of those
// members that it is told to, alone or in an array. It is exact, needs no
// memory to speak of, and takes the text in pieces of any size. What is no JSON
// passes through it.
type tokens struct {
	wanted func(name []byte) place // where a member holds links, by the end of its name as it stands in the text
	base   func(link string) int   // how much of a link is a base
	to     string                  // what replaces it
	limit  int                     // how much of a link tells its base

	state   tokenState
	escape  bool   // within a string: the byte before was a backslash
	last    []byte // the end of the string that ended last, or of the one that is read
	value   bool   // what comes next is the value of a member
	links   place  // and where that member holds links
	array   int    // depth below the array of links that is open, 0 for none
	pending []byte // beginning of a link, not yet written
	head    head
}

// place says where a member holds links.
type place uint8

const (
	nowhere place = iota
	itself        // it is one
	entries       // it is one, or an array of them
)

type tokenState uint8

const (
	outside  tokenState = iota
	inString            // a name, or data
	inLink              // in the beginning of a string that holds a link
)

// push adds to dst what is certain of chunk, rewritten.
func (t *tokens) push(dst, chunk []byte) []byte {
	for len(chunk) > 0 {
		switch t.state {
		case outside:
			n := t.between(chunk)
			dst = append(dst, chunk[:n]...)
			chunk = chunk[n:]
		case inString:
			n := t.inside(chunk)
			dst = append(dst, chunk[:n]...)
			chunk = chunk[n:]
		case inLink:
			var n int
			dst, n = t.link(dst, chunk)
			chunk = chunk[n:]
		}
	}
	return dst
}

// finish adds to dst what was held back at the end of the text.
func (t *tokens) finish(dst []byte) []byte {
	dst = append(dst, t.pending...)
	t.pending = t.pending[:0]
	return dst
}

// between reads what stands between strings, and returns how much that was: up
// to and with the quote that opens the next one.
func (t *tokens) between(chunk []byte) int {
	for i, c := range chunk {
		switch c {
		case '"':
			t.state, t.escape = inString, false
			if t.links != nowhere && t.value && t.array <= 1 {
				t.state = inLink
			} else {
				t.last = t.last[:0]
			}
			if t.array == 0 {
				t.value = false
			}
			return i + 1
		case ':':
			if t.array == 0 {
				t.value = true
				t.links = t.wanted(t.last)
			}
		case '[':
			if t.array > 0 {
				t.array++
			} else if t.value && t.links == entries {
				t.array = 1
			} else {
				t.value = false
			}
		case '{':
			if t.array > 0 {
				t.array++
			} else {
				t.value = false
			}
		case ']', '}':
			if t.array > 0 {
				t.array--
			}
			if t.array == 0 {
				t.value = false
			}
		case ',':
			if t.array == 0 {
				t.value = false
			}
		}
	}
	return len(chunk)
}

// inside reads on in a string and returns how much that was, the closing quote
// with it.
func (t *tokens) inside(chunk []byte) int {
	i := 0
	for i < len(chunk) {
		if t.escape {
			t.escape = false
			i++
			continue
		}
		next := bytes.IndexAny(chunk[i:], `"\`)
		if next < 0 {
			break
		}
		i += next + 1
		if chunk[i-1] == '"' {
			t.keep(chunk[:i-1])
			t.state = outside
			return i
		}
		t.escape = true
	}
	t.keep(chunk)
	return len(chunk)
}

// keep adds text to the end of the string that is read, of which only the tail
// matters.
func (t *tokens) keep(text []byte) {
	if len(text) >= keyTail {
		t.last = append(t.last[:0], text[len(text)-keyTail:]...)
		return
	}
	if over := len(t.last) + len(text) - keyTail; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	t.last = append(t.last, text...)
}

// link reads the beginning of a link until its base is certain, and returns
// how much of chunk that took.
func (t *tokens) link(dst, chunk []byte) ([]byte, int) {
	had := len(t.pending)
	// An escape takes six bytes at most for one of text.
	take := min(len(chunk), max(1, 6*t.limit+6-had))
	t.pending = append(t.pending, chunk[:take]...)
	t.head.decode(t.pending, t.limit)
	h := &t.head
	if !h.ended && len(h.text) < t.limit && len(t.pending) < 6*t.limit+6 {
		return dst, take // the base is not certain yet
	}
	used := h.at[len(h.text)]
	if n := t.base(string(h.text)); n > 0 {
		dst = append(dst, h.escaped(t.to)...)
		dst = append(dst, t.pending[h.at[n]:used]...)
	} else {
		dst = append(dst, t.pending[:used]...)
	}
	t.pending = t.pending[:0]
	t.state, t.escape = inString, false
	t.last = t.last[:0]
	return dst, used - had
}

// tokenReader is tokens as a reader.
type tokenReader struct {
	src io.Reader
	t   tokens
	in  []byte
	out []byte // not yet read
	buf []byte // out's memory
	err error
}

func (r *tokenReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 && r.err == nil {
		n, err := r.src.Read(r.in)
		r.buf = r.t.push(r.buf[:0], r.in[:n])
		if err != nil {
			r.buf = r.t.finish(r.buf)
			r.err = err
		}
		r.out = r.buf
	}
	if len(r.out) == 0 {
		return 0, r.err
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func newTokenReader(src io.Reader, t tokens) io.Reader {
	return &tokenReader{src: src, t: t, in: make([]byte, 8<<10)}
}

// RequestBody returns src, a JSON body that a caller sends, with the links in
// control information led to the organization, alone and in arrays.
func (r *Rewriter) RequestBody(src io.Reader) io.Reader { return newTokenReader(src, r.toOrgTokens()) }

func (r *Rewriter) toOrgTokens() tokens {
	return tokens{wanted: func(raw []byte) place {
		switch name := controlName(raw); {
		case name == "odata.bind":
			return entries
		case isLink(name):
			return itself
		}
		return nowhere
	}, base: r.anyBase, to: r.Org, limit: r.longestBase()}
}

// EndpointsBody is ResponseBody for the answer of RetrieveCurrentOrganization,
// whose Endpoints are links too.
func (r *Rewriter) EndpointsBody(src io.Reader) io.Reader {
	t := r.toPublicTokens()
	links := t.wanted
	t.wanted = func(raw []byte) place {
		if string(raw) == "Values" {
			return entries
		}
		return links(raw)
	}
	return newTokenReader(src, t)
}

func (r *Rewriter) toPublicTokens() tokens {
	return tokens{wanted: func(raw []byte) place {
		if isLink(controlName(raw)) {
			return itself
		}
		return nowhere
	}, base: r.orgBase, to: r.Public, limit: r.longestBase()}
}
