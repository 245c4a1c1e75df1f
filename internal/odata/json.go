package odata

import (
	"bytes"
	"io"
)

// ResponseBody gives a JSON answer of the organization with its control links leading to the proxy: the values, strings
// or arrays of strings, of members whose name is, or ends with, @odata.context, @odata.nextLink and their like. All
// other bytes are the source's.
func (r *Rewriter) ResponseBody(src io.Reader) io.Reader {
	return newStream(src, &links{prefix: newLinkPrefix(r.toPublic())})
}

// RequestBody gives a JSON request with its control links (@odata.id, @odata.bind and their like) in the organization's
// own form. All other bytes are the source's. A link to another tenant of the proxy ends it with a *ForeignLink.
func (r *Rewriter) RequestBody(src io.Reader) io.Reader {
	return newStream(src, &links{prefix: newLinkPrefix(r.toOrg())})
}

// links is the editor of control links in JSON. It does not parse: in valid JSON a string that is followed by a colon is
// a member's name, whatever stands before it, and every control name holds an '@', plain or as \u0040. So it looks for
// those, and reads on only from there.
type links struct {
	prefix *linkPrefix
	at     state
	list   bool // within an array of links
	// odd tells that an odd number of backslashes stands right before the bytes at hand, while at is anywhere.
	odd bool
}

func (l *links) failed() error { return l.prefix.foreign }

func (l *links) reset() {
	l.prefix.foreign = nil
	*l = links{prefix: l.prefix}
}

type state int

const (
	anywhere    state = iota
	afterName         // behind the closing quote of a control name
	beforeValue       // behind its colon, or in an array before an element
	inValue           // behind the opening quote of a link
	inRest            // in an array, behind the beginning of a link
	afterValue        // in an array, behind the closing quote of a link
)

func (l *links) edit(w []byte, end bool) (pass, drop int, put []byte) {
	for pass < len(w) {
		rest := w[pass:]
		if l.at == inValue {
			drop, put, known := l.prefix.swap(rest, end)
			if !known || l.prefix.foreign != nil {
				return pass, 0, nil
			}
			l.leave(inRest)
			if drop > 0 {
				return pass, drop, put
			}
			continue
		}
		n, known := l.step(rest, end)
		pass += n
		if !known {
			return pass, 0, nil
		}
	}
	return pass, 0, nil
}

// step passes over bytes that stay, and reports false when those after them must wait for more.
func (l *links) step(w []byte, end bool) (n int, known bool) {
	switch l.at {
	case anywhere:
		return l.seek(w, end)
	case inRest:
		return l.skipString(w)
	}
	for n < len(w) && space(w[n]) {
		n++
	}
	if n == len(w) {
		return n, true
	}
	c := w[n]
	switch {
	case l.at == afterName && c == ':':
		l.at, l.list = beforeValue, false
	case l.at == beforeValue && c == '"':
		l.at = inValue
	case l.at == beforeValue && c == '[' && !l.list:
		l.list = true
	case l.at == afterValue && c == ',':
		l.at = beforeValue
	default:
		l.at, l.odd = anywhere, false
		return n, true
	}
	return n + 1, true
}

// leave goes on after the beginning of a link: elsewhere for the one link of a member, to next within an array.
func (l *links) leave(next state) {
	l.at, l.odd = next, false
	if !l.list {
		l.at = anywhere
	}
}

// seek passes to the end of the next control name.
func (l *links) seek(w []byte, end bool) (n int, known bool) {
	for {
		i := bytes.IndexByte(w[n:], '@')
		stop := len(w)
		if i >= 0 {
			stop = n + i
		}
		if j := indexEscapedAt(w[n:stop]); j >= 0 {
			i, stop = j, n+j
		}
		if i < 0 {
			break
		}
		if w[stop] == '\\' && l.escaped(w[:stop]) {
			n = stop + 1
			continue
		}
		length, known := controlName(w[stop:], end)
		if !known {
			l.odd = l.escaped(w[:stop])
			return stop, false
		}
		if length > 0 {
			l.at = afterName
			return stop + length, true
		}
		n = stop + 1
	}
	n = len(w)
	if !end {
		n -= partEscape(w)
	}
	l.odd = l.escaped(w[:n])
	return n, n == len(w)
}

// partEscape gives the length of the end of w that may be the beginning of escapedAt.
func partEscape(w []byte) int {
	tail := w[max(0, len(w)-len(escapedAt)+1):]
	i := bytes.LastIndexByte(tail, '\\')
	if i < 0 {
		return 0
	}
	return len(tail) - i
}

// escaped reports whether an odd number of backslashes stands at the end of w, which is the beginning of what is at hand.
func (l *links) escaped(w []byte) bool {
	i := len(w)
	for i > 0 && w[i-1] == '\\' {
		i--
	}
	odd := (len(w)-i)%2 == 1
	if i == 0 {
		return odd != l.odd
	}
	return odd
}

// skipString passes to the end of a string.
func (l *links) skipString(w []byte) (n int, known bool) {
	for n < len(w) {
		switch w[n] {
		case '"':
			l.at = afterValue
			return n + 1, true
		case '\\':
			if n+1 == len(w) {
				return n, false
			}
			n++
		}
		n++
	}
	return n, true
}

func space(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t'
}
