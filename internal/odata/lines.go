package odata

import (
	"bytes"
	"io"
	"sync"
)

// longestBoundary is the longest boundary accepted; RFC 2046 allows 70 bytes.
const longestBoundary = 200

// lines reads a source line by line, a long line in pieces.
type lines struct {
	src io.Reader

	buf    []byte // nil before the first byte and behind the last
	r, w   int
	seen   int  // buf[r:seen] holds no end of line
	within bool // buf[r] is not the first byte of its line
	err    error
}

func newLines(src io.Reader) *lines {
	return &lines{src: src}
}

// pages are lent as windows are.
var pages = sync.Pool{New: func() any { return new([2 * window]byte) }}

// peek gives the next line with its end, or a piece of it where it is long or the source's last, and whether it is the
// line's beginning. A beginning that is a piece is longer than any delimiter.
func (l *lines) peek() (piece []byte, start bool, err error) {
	for {
		l.seen = max(l.seen, l.r)
		if i := bytes.IndexByte(l.buf[l.seen:l.w], '\n'); i >= 0 {
			return l.buf[l.r : l.seen+i+1], !l.within, nil
		}
		l.seen = l.w
		switch {
		case l.err != nil && l.r == l.w:
			l.release()
			return nil, false, l.err
		case l.err != nil:
			return l.buf[l.r:l.w], !l.within, nil
		case l.buf == nil:
			l.buf = pages.Get().(*[2 * window]byte)[:]
		case l.w-l.r == len(l.buf):
			// The rest is held back so that ahead always shows a whole delimiter behind the piece.
			return l.buf[l.r : l.w-2*longestBoundary], !l.within, nil
		}
		l.fill()
	}
}

// ready reports whether peek gives a whole line without reading from the source.
func (l *lines) ready() bool {
	return bytes.IndexByte(l.buf[max(l.seen, l.r):l.w], '\n') >= 0
}

// ahead gives the n bytes last peeked at and, of a long line, enough of what follows to hold a delimiter.
func (l *lines) ahead(n int) []byte {
	if l.buf[l.r+n-1] == '\n' {
		return l.buf[l.r : l.r+n]
	}
	return l.buf[l.r:min(l.w, l.r+n+2*longestBoundary)]
}

func (l *lines) fill() {
	if l.r > 0 {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.seen -= l.r
		l.r = 0
	}
	for range 100 {
		n, err := l.src.Read(l.buf[l.w:])
		l.w, l.err = l.w+n, err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

func (l *lines) release() {
	if l.buf != nil {
		pages.Put((*[2 * window]byte)(l.buf))
	}
	l.buf, l.r, l.w, l.seen = nil, 0, 0, 0
}

// advance goes on behind n of the bytes peeked at.
func (l *lines) advance(n int) {
	l.within = l.buf[l.r+n-1] != '\n'
	l.r += n
}
