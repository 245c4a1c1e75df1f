package odata

import (
	"bytes"
	"io"
)

// EndpointsBody gives an answer of RetrieveCurrentOrganization with its control links and the strings of
// Detail.Endpoints.Values leading to the proxy. All other bytes are the source's.
func (r *Rewriter) EndpointsBody(src io.Reader) io.Reader {
	return newStream(r.ResponseBody(src), &endpoints{prefix: newLinkPrefix(r.toPublic())})
}

// endpointsPath leads to the addresses. The array itself is one level deeper.
var endpointsPath = [...]string{"Detail", "Endpoints", "Values"}

// endpoints is the editor of those addresses. It follows the nesting of the document, by depth alone: it is on the path
// while every level so far was entered by the member that endpointsPath names.
type endpoints struct {
	prefix *linkPrefix

	depth   int  // how many objects and arrays are open
	on      int  // how many of them lead along the path
	member  bool // the string just read names the next step of the path
	entered bool // the value to come is that member's

	text    bool   // within a string
	rest    bool   // of which the beginning is already decided
	raw     []byte // its bytes so far, while they may still be a name on the path
	tooLong bool   // they cannot any more
}

func (e *endpoints) edit(w []byte, end bool) (pass, drop int, put []byte) {
	for pass < len(w) {
		if e.text && !e.rest && e.listed() {
			drop, put, known := e.prefix.swap(w[pass:], end)
			if !known {
				return pass, 0, nil
			}
			e.rest = true
			if drop > 0 {
				return pass, drop, put
			}
			continue
		}
		if !e.text {
			e.structure(w[pass])
			pass++
			continue
		}
		if w[pass] == '\\' && pass+1 == len(w) {
			return pass, 0, nil
		}
		pass += e.string(w[pass:])
	}
	return pass, 0, nil
}

func (e *endpoints) failed() error { return nil }

func (e *endpoints) reset() { *e = endpoints{prefix: e.prefix} }

// listed reports whether the string at hand is one of the addresses.
func (e *endpoints) listed() bool {
	return e.depth == len(endpointsPath)+1 && e.on == e.depth
}

// structure reads a byte outside of strings.
func (e *endpoints) structure(c byte) {
	switch c {
	case '"':
		e.text, e.rest, e.tooLong, e.raw = true, false, false, e.raw[:0]
	case ':':
		e.entered = e.member
	case ',':
		e.entered, e.member = false, false
	case '{', '[':
		object := c == '{'
		leads := e.depth == 0 || e.entered
		last := e.depth == len(endpointsPath)
		if e.on == e.depth && leads && object != last {
			e.on++
		}
		e.depth++
		e.entered, e.member = false, false
	case '}', ']':
		e.depth--
		e.on = min(e.on, max(e.depth, 0))
		e.entered, e.member = false, false
	}
}

// string reads one character of a string, or its closing quote, and gives its length.
func (e *endpoints) string(w []byte) int {
	n := 1
	switch w[0] {
	case '"':
		e.text = false
		e.member = !e.tooLong && e.named()
		return n
	case '\\':
		n = 2
	}
	longest := len("Endpoints") * len(`\u0000`)
	e.tooLong = e.tooLong || len(e.raw)+n > longest
	if !e.tooLong {
		e.raw = append(e.raw, w[:n]...)
	}
	return n
}

// named reports whether the string just read names the next step of the path.
func (e *endpoints) named() bool {
	if e.on != e.depth || e.depth < 1 || e.depth > len(endpointsPath) {
		return false
	}
	name := e.raw
	if bytes.IndexByte(name, '\\') >= 0 {
		name = plainText(name)
	}
	return string(name) == endpointsPath[e.depth-1]
}

// plainText gives the text of a whole string without its escapes.
func plainText(raw []byte) []byte {
	var plain []byte
	for len(raw) > 0 {
		c, n := unescape(raw)
		if n == 0 {
			return plain
		}
		plain, raw = append(plain, c), raw[n:]
	}
	return plain
}
