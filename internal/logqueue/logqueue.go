// Package logqueue lets nobody wait who writes to the log: lines stand in a
// queue of bounded size, which one goroutine writes out. While whoever reads
// them does not, those that find no room are dropped, counted, and told of when
// the reader is back.
package logqueue

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultSize is a bound for a busy proxy: some twenty thousand lines.
const DefaultSize = 8 << 20 // bytes

// Queue is a Writer of lines. Make one with New.
type Queue struct {
	out     io.Writer
	size    int
	dropped atomic.Uint64
	ended   chan struct{} // closed when all is written, or Close has waited enough

	mu      sync.Mutex // guards what follows
	more    sync.Cond
	pending []byte // whole lines
	untold  uint64 // lines that were dropped since the last one was taken
	closed  bool
}

// New returns a Queue of so many bytes before out, which may stall, and may
// fail without harm. Its goroutine ends with Close.
func New(out io.Writer, size int) *Queue {
	q := &Queue{out: out, size: size, ended: make(chan struct{})}
	q.more.L = &q.mu
	go q.run()
	return q
}

// Write takes a line, or drops it. It never waits, and never fails.
func (q *Queue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.pending)+len(line) > q.size {
		q.untold++
		q.dropped.Add(1)
		return len(line), nil
	}
	q.tell()
	q.pending = append(q.pending, line...)
	q.more.Signal()
	return len(line), nil
}

// notice is what marks a line that tells of dropped ones. In a line of others
// its quotes would be escaped.
const notice = `"message":"log lines were lost: nobody read them, or they could not be written"`

// tell puts the number of dropped lines into the queue, in the place where they
// are missing. It is called with mu held.
func (q *Queue) tell() {
	if q.untold == 0 {
		return
	}
	q.pending = fmt.Appendf(q.pending, `{"level":"warn","time":%q,"dropped":%d,%s}`+"\n", time.Now().Format(time.RFC3339Nano), q.untold, notice)
	q.untold = 0
}

// Dropped is how many lines have been dropped so far.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Pending is how many bytes wait to be written.
func (q *Queue) Pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending)
}

// Close writes out what is in the queue, for as long as within, and ends the
// goroutine: at once, or when the write that hangs comes back.
func (q *Queue) Close(within time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.more.Signal()
	q.mu.Unlock()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-q.ended:
	case <-late.C:
	}
}

func (q *Queue) run() {
	defer close(q.ended)
	var lines []byte
	last := false
	for {
		q.mu.Lock()
		for len(q.pending) == 0 && !q.closed {
			q.more.Wait()
		}
		if q.closed && !last {
			q.tell()
			last = true // what then cannot be written is told to nobody
		}
		if len(q.pending) == 0 {
			q.mu.Unlock()
			return
		}
		lines, q.pending = q.pending, lines[:0]
		q.mu.Unlock()
		q.write(lines)
		if cap(lines) > q.size/4 {
			lines = nil // what a burst has taken is given back
		}
	}
}

// write writes lines out. Those that cannot be written count as dropped, and are
// told of when lines go out again.
func (q *Queue) write(lines []byte) {
	n, err := q.out.Write(lines)
	if err == nil {
		return
	}
	var lost, told uint64
	for line := range bytes.Lines(lines[min(n, len(lines)):]) {
		if before, is := noticed(line); is {
			told += before
		} else {
			lost++
		}
	}
	q.dropped.Add(lost)
	q.mu.Lock()
	q.untold += lost + told
	q.mu.Unlock()
}

// noticed is how many lines a notice tells of. It reports false for any other
// line.
func noticed(line []byte) (n uint64, is bool) {
	if !bytes.Contains(line, []byte(notice)) {
		return 0, false
	}
	_, rest, _ := bytes.Cut(line, []byte(`"dropped":`))
	fmt.Sscanf(string(rest), "%d", &n)
	return n, true
}
