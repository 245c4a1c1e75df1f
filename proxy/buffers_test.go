package proxy

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// The buffer of a short answer goes back at its end, and not when it is closed.
func TestShortTextGivesItsBufferBackAtTheEnd(t *testing.T) {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
		text := bytes.NewBufferString("hello")
		s := &shortText{Closer: io.NopCloser(nil), text: text, err: end}
		p := make([]byte, 3)
		s.Read(p)
		s.Close()
		if s.text != text || text.Len() != 2 {
			t.Fatal("closed in the middle, it has let go of its buffer")
		}
		var rest strings.Builder
		var err error
		for n := 0; err == nil; {
			n, err = s.Read(p)
			rest.Write(p[:n])
		}
		if rest.String() != "lo" || err != end || s.text != nil {
			t.Errorf("%q, %v, buffer %v", rest.String(), err, s.text)
		}
		text.WriteString("of another call")
		if n, err := s.Read(p); n != 0 || err != end {
			t.Errorf("behind the end: %d bytes, %v", n, err)
		}
	}
}
