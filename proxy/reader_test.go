package proxy

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/problem"
	"dynproxy/internal/spool"
)

// An attempt that is given up may be reading from the caller at this moment.
// What it gets and nobody keeps is lost for the next, which must not go on
// behind it.
func TestWhatAnotherAttemptTookIsNotSkipped(t *testing.T) {
	for name, kept := range map[string]int64{"kept": 100, "not kept": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, out := io.Pipe()
				defer in.Close()
				place := &spool.Place{Each: kept}
				b := &body{length: -1, src: in, spooled: place.Spool()}
				defer b.close()
				first := b.open()
				go first.Read(make([]byte, 64)) // ends with the first Write
				synctest.Wait()
				second := b.open()
				go func() {
					io.WriteString(out, "taken by the first")
					io.WriteString(out, " and the rest")
					out.Close()
				}()
				synctest.Wait()
				if b.replayable() != (kept == 100) {
					t.Errorf("replayable: %v", b.replayable())
				}
				got, err := io.ReadAll(second)
				if kept == 100 && (err != nil || string(got) != "taken by the first and the rest") {
					t.Errorf("%q, %v", got, err)
				}
				if kept == 4 && (!errors.Is(err, errNotKept) || len(got) > 0) {
					t.Errorf("%q, %v", got, err)
				}
			})
		})
	}
}

// The same for an attempt that began to read while the one before was reading.
func TestWhatAnotherAttemptTakesMeanwhileIsNotSkipped(t *testing.T) {
	in, out := io.Pipe()
	defer in.Close()
	b := &body{length: -1, src: in, spooled: new(spool.Place).Spool()}
	defer b.close()
	first := b.open()
	reads := make(chan struct{})
	go func() {
		close(reads)
		first.Read(make([]byte, 64))
	}()
	<-reads
	time.Sleep(20 * time.Millisecond)
	second, got := b.open(), make(chan string)
	go func() {
		text, _ := io.ReadAll(second)
		got <- string(text)
	}()
	time.Sleep(20 * time.Millisecond)
	io.WriteString(out, "taken by the first")
	io.WriteString(out, " and the rest")
	out.Close()
	if text := <-got; text != "taken by the first and the rest" {
		t.Errorf("%q", text)
	}
}

// late is a body that breaks off, of which the reader is told a little later.
type late struct{ ended context.CancelFunc }

func (l late) Read([]byte) (int, error) {
	l.ended()
	time.Sleep(20 * time.Millisecond)
	return 0, io.ErrUnexpectedEOF
}

// net/http ends the context of a request whose body breaks off before it says
// so to who reads the body. A caller that has closed its own side only still
// reads, and is told.
func TestABodyThatIsJustBreakingOffIsTold(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	b := &body{length: -1, src: late{end}, spooled: new(spool.Place).Spool()}
	defer b.close()
	go b.open().Read(make([]byte, 64))
	<-ctx.Done()
	if got := problemOf(ctx, &call{body: b}, ctx.Err()); got.Code != problem.BadRequest {
		t.Errorf("%v", got)
	}
}
