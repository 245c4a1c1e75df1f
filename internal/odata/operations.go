package odata

import (
	"io"
	"strings"
)

// FullMetadata reports whether an answer of that Content-Type has full metadata: FullBody is for its body.
func FullMetadata(contentType string) bool {
	return strings.Contains(strings.ToLower(contentType), "odata.metadata=full")
}

// FullBody is ResponseBody for an answer with full metadata. There a record also tells which operations it offers, and where:
// by a member whose name begins with '#', as no data can be called, and in its value by the member target.
func (r *Rewriter) FullBody(src io.Reader) io.Reader {
	return r.operations(r.ResponseBody(src))
}

func (r *Rewriter) operations(src io.Reader) io.Reader {
	return newStream(src, &operations{prefix: newLinkPrefix(r.toPublic())})
}

// operations is the editor of those addresses.
type operations struct {
	prefix *linkPrefix

	depth   int    // how many objects and arrays are open
	offered int    // the depth of the value that tells of an operation, 0 outside of one
	name    []byte // the beginning of the member's name at hand
	value   bool   // its value is to come
	text    bool   // within a string
	rest    bool   // of which the beginning is already decided
}

func (o *operations) failed() error { return nil }

func (o *operations) reset() { *o = operations{prefix: o.prefix, name: o.name[:0]} }

func (o *operations) edit(w []byte, end bool) (pass, drop int, put []byte) {
	for pass < len(w) {
		switch {
		case !o.text:
			o.structure(w[pass])
			pass++
		case !o.rest && o.offered > 0 && o.value && string(o.name) == "target":
			drop, put, known := o.prefix.swap(w[pass:], end)
			if !known {
				return pass, 0, nil
			}
			o.rest = true
			if drop > 0 {
				return pass, drop, put
			}
		case w[pass] == '\\' && pass+1 == len(w):
			return pass, 0, nil
		default:
			o.rest = true
			pass += o.string(w[pass:])
		}
	}
	return pass, 0, nil
}

// structure reads a byte outside of strings.
func (o *operations) structure(c byte) {
	switch c {
	case '"':
		o.text, o.rest = true, false
		if !o.value {
			o.name = o.name[:0]
		}
	case ':':
		o.value = true
	case ',':
		o.value = false
	case '{', '[':
		o.depth++
		if o.offered == 0 && o.value && len(o.name) > 0 && o.name[0] == '#' {
			o.offered = o.depth
		}
		o.value = false
	case '}', ']':
		if o.depth--; o.depth < o.offered {
			o.offered = 0
		}
		o.value = false
	}
}

// string reads one character of a string, or its closing quote, and gives its length.
func (o *operations) string(w []byte) int {
	n := 1
	switch w[0] {
	case '"':
		o.text = false
		return n
	case '\\':
		n = 2
	}
	if !o.value && len(o.name) <= len("target") {
		o.name = append(o.name, w[:n]...)
	}
	return n
}
