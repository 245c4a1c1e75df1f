package logqueue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stalled is a reader of lines that reads only while it is let.
type stalled struct {
	mu   sync.Mutex // held while it does not read
	text bytes.Buffer
}

func (s *stalled) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// Nobody waits for a reader that hangs; what is dropped is counted, and told
// when the reader is back, in its place.
func TestAReaderThatHangsHoldsNobodyUp(t *testing.T) {
	out := &stalled{}
	out.mu.Lock()
	q := New(out, 1000)
	const writers, lines = 8, 500
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range lines {
				if n, err := fmt.Fprintf(q, "%d %d\n", w, i); err != nil || n == 0 {
					t.Error(n, err)
				}
			}
		})
	}
	all.Wait() // which is the test: it would wait for ever
	dropped := q.Dropped()
	if dropped == 0 || dropped >= writers*lines {
		t.Fatalf("%d dropped", dropped)
	}
	out.mu.Unlock()
	for { // until there is room again
		before := q.Dropped()
		if fmt.Fprintln(q, "back"); q.Dropped() == before {
			break
		}
		dropped++
	}
	q.Close(time.Minute)
	text := out.text.String()
	var told, kept uint64
	for line := range strings.Lines(text) {
		var n uint64
		if i := strings.Index(line, `"dropped":`); i >= 0 {
			fmt.Sscanf(line[i:], `"dropped":%d`, &n)
			told += n
		} else if strings.HasSuffix(line, "\n") && line != "back\n" {
			kept++
		}
	}
	if told != dropped || !strings.HasSuffix(text, "back\n") || kept+dropped < writers*lines {
		t.Errorf("told of %d of %d, kept %d", told, dropped, kept)
	}
}

func TestCloseWritesOutWhatIsLeft(t *testing.T) {
	var out bytes.Buffer
	q := New(&out, DefaultSize)
	var want strings.Builder
	for i := range 10_000 {
		fmt.Fprintln(io.MultiWriter(q, &want), i)
	}
	q.Close(time.Minute)
	if out.String() != want.String() {
		t.Errorf("%d of %d bytes", out.Len(), want.Len())
	}
	if fmt.Fprintln(q, "late"); q.Dropped() != 1 {
		t.Error("what came after the end is not counted")
	}
}

// A reader that never comes back does not hold the end up.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		q := New(out, 1000)
		fmt.Fprintln(q, "one")
		began := time.Now()
		q.Close(2 * time.Second)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		in.Close() // and the goroutine ends
	})
}

// A pipe that is broken loses lines and nothing else.
func TestABrokenPipeLosesLinesOnly(t *testing.T) {
	in, out := io.Pipe()
	in.CloseWithError(errors.New("gone"))
	q := New(out, 1000)
	for range 100 {
		fmt.Fprintln(q, "line")
	}
	q.Close(time.Minute)
	if n := q.Dropped(); n != 100 {
		t.Errorf("%d of 100 are counted", n)
	}
}

// failing is a disk that is full for a while. Some of its failures leave room
// for a first line.
type failing struct {
	mu    sync.Mutex
	full  bool
	fails int
	text  bytes.Buffer
}

func (f *failing) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.full {
		return f.text.Write(p)
	}
	n := 0
	if f.fails++; f.fails%2 == 0 {
		n = bytes.IndexByte(p, '\n') + 1
	}
	f.text.Write(p[:n])
	return n, errors.New("full")
}

func (f *failing) set(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

// What a full disk has lost is told when there is room again, and every line is
// either there or told of.
func TestWhatCouldNotBeWrittenIsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &failing{}
		q := New(out, DefaultSize)
		sent := 0
		for round := range 30 {
			out.set(round%10 > 2)
			for range 20 {
				fmt.Fprintln(q, `{"line":1}`)
				sent++
			}
			synctest.Wait() // until the queue is empty
		}
		out.set(false)
		fmt.Fprintln(q, `{"line":1}`)
		q.Close(time.Minute)
		there, told := 0, 0
		for line := range strings.Lines(out.text.String()) {
			if n, is := noticed([]byte(line)); is {
				told += int(n)
			} else {
				there++
			}
		}
		if there+told != sent+1 || told != int(q.Dropped()) || told == 0 {
			t.Errorf("%d lines are there, %d told of, %d counted, of %d", there, told, q.Dropped(), sent+1)
		}
	})
}

// What was lost last is told at the end, when no further line comes.
func TestWhatWasLostIsToldAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	q := New(&out, 10)
	q.Write([]byte("a line that finds no room\n"))
	q.Close(time.Minute)
	if !strings.Contains(out.String(), `"dropped":1,`) {
		t.Errorf("%q", out.String())
	}
}
