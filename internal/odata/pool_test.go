package odata

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// A window goes back at the end of a body, and only there: whoever gave a body
// up in the middle may go on reading it, and changes nobody else's.
func TestWindowsAreNotShared(t *testing.T) {
	r := contoso()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			own := `{"@odata.context":"` + orgBase + `/c","x":"` + strings.Repeat(string(rune('a'+worker)), 50<<10) + `"}`
			want := strings.ReplaceAll(own, orgBase, publicBase)
			var given []io.Reader
			for round := range 50 {
				s := r.ResponseBody(strings.NewReader(own))
				head := make([]byte, 10<<10)
				io.ReadFull(s, head)
				if round%3 == 0 {
					given = append(given, io.MultiReader(bytes.NewReader(head), s))
					continue
				}
				rest, err := io.ReadAll(s)
				if got := string(head) + string(rest); err != nil || got != want {
					t.Errorf("a body came out changed (%v)", err)
				}
				if n, err := s.Read(head); n != 0 || err != io.EOF {
					t.Errorf("behind the end: %d, %v", n, err)
				}
			}
			for _, s := range given {
				if got, err := io.ReadAll(s); err != nil || string(got) != want {
					t.Errorf("a body that was left for a while came out changed (%v)", err)
				}
			}
		})
	}
	all.Wait()
}

func TestWindowsGoBackOnce(t *testing.T) {
	s := contoso().ResponseBody(strings.NewReader(`{"a":1}`)).(*stream)
	if s.buf != nil {
		t.Error("a window is taken before the first byte")
	}
	io.ReadAll(s)
	for range 3 {
		if s.Read(make([]byte, 10)); s.buf != nil {
			t.Error("the window is kept behind the end")
		}
	}
	broken := errors.New("broken")
	s = contoso().ResponseBody(io.MultiReader(strings.NewReader(`{"a":1}`), failing{broken})).(*stream)
	if got, err := io.ReadAll(s); string(got) != `{"a":1}` || err != broken || s.buf != nil {
		t.Errorf("%q, %v, window %v", got, err, s.buf != nil)
	}
	l := newLines(strings.NewReader("one\ntwo"))
	for {
		piece, _, err := l.peek()
		if err != nil {
			break
		}
		l.advance(len(piece))
	}
	if _, _, err := l.peek(); err != io.EOF || l.buf != nil || l.ready() {
		t.Errorf("behind the end of lines: %v, page %v", err, l.buf != nil)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
