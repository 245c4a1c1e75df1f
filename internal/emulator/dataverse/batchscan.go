package dataverse

import (
	"bytes"
	"net/http"
	"strings"
)

// batchReader reads a multipart body in the way of Microsoft.OData.Core, which
// Dataverse reads batches with, and not as RFC 2046 has it. A delimiter counts
// wherever it stands, not at a line's beginning alone; what precedes the first
// one is skipped, whatever it is; the closing one may be missing; CR, LF and
// CRLF all end a line; headers and request lines are read as lines, in which no
// delimiter is looked for; a Content-Length outranks delimiters.
type batchReader struct {
	data       []byte
	at         int
	boundaries []string // innermost first: the change set's, then the batch's
}

// delimiterLimit is the longest delimiter with the white space behind it: the
// size of the buffer in which the real reader looks for one.
const delimiterLimit = 8000

// delimiter is a delimiter that was found.
type delimiter struct {
	start, end int  // of its bytes, line ends before and behind included
	closing    bool // followed by two dashes
	parent     bool // that of the batch, where the change set's was expected
}

// skipToDelimiter moves behind the next delimiter; before one of the parent,
// which its own reader must find again. ok is false if there is none.
func (b *batchReader) skipToDelimiter() (d delimiter, ok bool, err error) {
	d, ok, err = b.scan()
	switch {
	case err != nil:
	case !ok:
		b.at = len(b.data)
	case d.parent:
		b.at = d.start
	default:
		b.at = d.end
	}
	return d, ok, err
}

// scan finds the next delimiter. Each line end and each pair of dashes may
// begin one.
func (b *batchReader) scan() (delimiter, bool, error) {
	for i := b.at; i < len(b.data); i++ {
		dashes := i
		switch c := b.data[i]; {
		case c == '\r' || c == '\n':
			dashes = i + lineEnd(b.data[i:])
		case c != '-':
			continue
		}
		for depth, boundary := range b.boundaries {
			end, closing, found, err := matchDelimiter(b.data, i, dashes, boundary)
			if err != nil || found {
				return delimiter{start: i, end: end, closing: closing, parent: depth > 0}, found, err
			}
		}
	}
	return delimiter{}, false, nil
}

// matchDelimiter matches "--boundary", two dashes or none, white space and a
// line end. At the end of the data the line end may be missing behind a closing
// delimiter.
func matchDelimiter(data []byte, start, dashes int, boundary string) (end int, closing, found bool, err error) {
	rest, found := bytes.CutPrefix(data[dashes:], []byte("--"+boundary))
	if !found {
		return 0, false, false, nil
	}
	rest, closing = bytes.CutPrefix(rest, []byte("--"))
	for len(rest) > 0 && rest[0] != '\r' && rest[0] != '\n' {
		if !whiteSpace(rest[0]) {
			return 0, false, false, nil
		}
		rest = rest[1:]
	}
	end = len(data) - len(rest)
	if end-start >= delimiterLimit {
		return 0, false, false, badBatch("the line of a delimiter is longer than %d bytes", delimiterLimit)
	}
	if len(rest) == 0 {
		return end, closing, closing, nil
	}
	return end + lineEnd(rest), closing, true, nil
}

// whiteSpace reports whether a byte, read as a character of its own, is white
// space.
func whiteSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r' || c == 0x85 || c == 0xA0
}

// lineEnd gives the length of the line end with which s begins, 0 if it does
// not.
func lineEnd(s []byte) int {
	switch {
	case bytes.HasPrefix(s, []byte("\r\n")):
		return 2
	case len(s) > 0 && (s[0] == '\r' || s[0] == '\n'):
		return 1
	}
	return 0
}

// line reads a line; ok is false at the end of the data.
func (b *batchReader) line() (text string, ok bool) {
	rest := b.data[b.at:]
	if len(rest) == 0 {
		return "", false
	}
	n := bytes.IndexAny(rest, "\r\n")
	if n < 0 {
		n = len(rest)
	}
	b.at += n + lineEnd(rest[n:])
	return string(rest[:n]), true
}

// partHeader are the header lines of a part, as they are spelled.
type partHeader []field

// headers reads header lines up to an empty line or the end.
func (b *batchReader) headers() (partHeader, error) {
	var out partHeader
	for {
		text, ok := b.line()
		if !ok || text == "" {
			return out, nil
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, badBatch("the header line '%s' is malformed", text)
		}
		name = strings.TrimSpace(name)
		for _, f := range out {
			if f.name == name {
				return nil, badBatch("the header '%s' stands in a part twice", name)
			}
		}
		out = append(out, field{name, strings.TrimSpace(value)})
	}
}

// get finds a header under the exact spelling, else under any.
func (h partHeader) get(name string) (string, bool) {
	for _, f := range h {
		if f.name == name {
			return f.value, true
		}
	}
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			return f.value, true
		}
	}
	return "", false
}

// canonical gives the headers as those of a request of its own.
func (h partHeader) canonical() http.Header {
	out := http.Header{}
	for _, f := range h {
		out.Add(f.name, f.value)
	}
	for _, f := range h {
		if name := http.CanonicalHeaderKey(f.name); name == f.name {
			out.Set(name, f.value)
		}
	}
	return out
}

// requestLine reads the first line that is not empty. Between its first and its
// last space stands the address, which may hold others.
func (b *batchReader) requestLine() (method, target string, err error) {
	text, ok := b.line()
	for ok && text == "" {
		text, ok = b.line()
	}
	if !ok {
		return "", "", badBatch("it ends where a request should be")
	}
	first, last := strings.IndexByte(text, ' '), strings.LastIndexByte(text, ' ')
	if first <= 0 || last-first <= 1 || text[last+1:] != "HTTP/1.1" {
		return "", "", badBatch("the request line '%s' is malformed", text)
	}
	return text[:first], strings.TrimSpace(text[first+1 : last]), nil
}

// body reads up to the next delimiter, of whatever depth.
func (b *batchReader) body() ([]byte, error) {
	d, ok, err := b.scan()
	if err != nil {
		return nil, err
	}
	end := len(b.data)
	if ok {
		end = d.start
	}
	out := b.data[b.at:end]
	b.at = end
	return out, nil
}

// bodyOf reads n bytes, delimiters among them or not.
func (b *batchReader) bodyOf(n int) ([]byte, error) {
	if n < 0 || n > len(b.data)-b.at {
		return nil, badBatch("the Content-Length %d of a part is not that of its body", n)
	}
	out := b.data[b.at : b.at+n]
	b.at += n
	return out, nil
}
