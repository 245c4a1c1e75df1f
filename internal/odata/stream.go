package odata

import (
	"io"
	"sync"
)

// window is how many bytes a body is looked at by, at a time.
const window = 32 << 10

// windows are lent to streams that are being read. One that was not read to its end keeps its own: who gave it up may
// still be within Read.
var windows = sync.Pool{New: func() any { return new([window]byte) }}

// editor decides what becomes of the bytes of a body, in order.
type editor interface {
	// edit is shown the bytes not yet decided, and whether they are the last. It answers that the first pass of them
	// go out as they stand, that the next drop of them are left out, and that put goes out in their place. put must
	// stay as it is until edit is called again. When nothing can be decided, all three are empty.
	edit(w []byte, end bool) (pass, drop int, put []byte)
	// failed is the error that ends the body in front of what edit let pass last, nil to go on.
	failed() error
	// reset forgets the bytes edited so far.
	reset()
}

// stream is a body as an editor leaves it. What the source gave before an error is delivered before that error.
type stream struct {
	src  io.Reader
	edit editor

	buf  []byte // nil before the first byte and behind the last
	r, w int    // buf[r:w] is not yet delivered
	err  error

	pass, drop int
	put        []byte
}

func newStream(src io.Reader, edit editor) *stream {
	return &stream{src: src, edit: edit}
}

func (s *stream) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		switch {
		case s.pass > 0:
			m := copy(p[n:], s.buf[s.r:s.r+s.pass])
			n, s.r, s.pass = n+m, s.r+m, s.pass-m
		case s.drop > 0:
			s.r, s.drop = s.r+s.drop, 0
		case len(s.put) > 0:
			m := copy(p[n:], s.put)
			n, s.put = n+m, s.put[m:]
		case s.plan():
		case n > 0:
			return n, nil
		case s.err != nil:
			s.release()
			return 0, s.err
		default:
			s.fill()
		}
	}
	return n, nil
}

// plan asks the editor about the bytes at hand, and reports whether it knew an answer.
func (s *stream) plan() bool {
	if s.r == s.w {
		return false
	}
	s.pass, s.drop, s.put = s.edit.edit(s.buf[s.r:s.w], s.err != nil)
	if err := s.edit.failed(); err != nil {
		s.w, s.err = s.r+s.pass, err
		return s.pass > 0
	}
	if s.pass == 0 && s.drop == 0 && len(s.put) == 0 && s.err != nil {
		s.pass = s.w - s.r
	}
	return s.pass > 0 || s.drop > 0 || len(s.put) > 0
}

// fill reads once more from the source. An editor asks for more only while a short token is incomplete, so the buffer
// grows at most to the length of the longest of those.
func (s *stream) fill() {
	if s.buf == nil {
		s.buf = windows.Get().(*[window]byte)[:]
	}
	s.w = copy(s.buf, s.buf[s.r:s.w])
	s.r = 0
	if s.w == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.src.Read(s.buf[s.w:])
		s.w += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// release gives the window back, unless it has grown.
func (s *stream) release() {
	if len(s.buf) == window {
		windows.Put((*[window]byte)(s.buf))
	}
	s.buf, s.r, s.w = nil, 0, 0
}

// reset starts over with another body.
func (s *stream) reset(src io.Reader) {
	s.edit.reset()
	*s = stream{src: src, edit: s.edit, buf: s.buf}
}
