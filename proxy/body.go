package proxy

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/rs/zerolog"

	"dynproxy/internal/panics"
	"dynproxy/internal/problem"
	"dynproxy/internal/spool"
)

// body is what a request carries. It is read from the caller once, and what
// was read is spooled, so that it can be sent again. An attempt that asks for
// bytes which are no longer here gets an error, never the bytes behind them.
type body struct {
	log    zerolog.Logger // of faults of the program
	length int64          // -1 when only the end will tell

	reading sync.Mutex // guards src
	src     io.Reader

	mu         sync.Mutex // guards what follows
	spooled    spool.Spool
	overflowed bool   // spooled takes nothing more: all that follows goes by once
	pending    []byte // what follows spooled and was read ahead
	read       int64  // bytes read of src
	ended      bool   // src has been read to its end
	err        error  // of src: the caller's fault
	disk       error  // of spooled: our own
	reader     *bodyReader
}

// readAhead spools src to its end, or as far as there is room: then the body
// goes on from where it is, once. Its error is the caller's.
func (b *body) readAhead() error {
	buf := copyBuffers.Get()
	defer copyBuffers.Put(buf)
	for !b.ended && !b.overflowed {
		n, err := b.fill(buf)
		if b.overflowed {
			b.pending = bytes.Clone(buf[:n])
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	if b.ended && !b.overflowed {
		b.length = b.spooled.Size()
	}
	return nil
}

// peek returns the beginning of src, by which it is known, and which will be
// read all the same.
func (b *body) peek() (first []byte) {
	first, b.src = peekAt(b.src, 512)
	return first
}

// fill reads from src into buf and spools what it got. Whoever calls it has
// reading, but not mu: a caller that stalls must not hold up the rest.
func (b *body) fill(buf []byte) (int, error) {
	n, err := b.src.Read(buf)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read += int64(n)
	if n > 0 && !b.overflowed {
		if _, refused := b.spooled.Write(buf[:n]); refused != nil {
			b.overflowed = true
		}
	}
	if err != nil {
		b.ended = true
		if err != io.EOF {
			b.err = err
		}
	}
	return n, err
}

// open returns the body from its beginning, for one attempt; the reader of the
// attempt before is dead from then on. Only a replayable body may be opened
// again.
func (b *body) open() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reader = &bodyReader{body: b}
	return b.reader
}

// reopen is open for a request whose first connection turned out to be closed
// before anything was written. Its error keeps the request from being sent.
func (b *body) reopen() (io.ReadCloser, error) {
	if !b.replayable() {
		return nil, errStaleReader
	}
	return b.open(), nil
}

// replayable reports whether the body can be sent once more.
func (b *body) replayable() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && b.disk == nil && b.read == b.here()
}

// here is how much of the body's beginning is still at hand.
func (b *body) here() int64 { return b.spooled.Size() + int64(len(b.pending)) }

// failure returns why the body could not be sent whole: a *spool.Fault when it
// was this machine, the caller's fault otherwise, nil when it was neither.
func (b *body) failure() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.disk != nil {
		return b.disk
	}
	return b.err
}

// settle waits for what reads from the caller at this moment.
func (b *body) settle() {
	if b != nil {
		b.reading.Lock()
		defer b.reading.Unlock()
	}
}

// close ends all reading and gives back what the body takes.
func (b *body) close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reader, b.overflowed, b.pending = nil, true, nil
	b.spooled.Close()
}

type bodyReader struct {
	body *body
	off  int64
}

var (
	errStaleReader = errors.New("the body was given to another attempt")
	errNotKept     = problem.New(problem.UpstreamUnreachable, "The organization did not take the request at the first try, and its body is larger than what the proxy keeps for a second. Send it again.")
)

// Read is called by a goroutine of net/http, which a panic would take the
// process with.
func (r *bodyReader) Read(p []byte) (n int, err error) {
	defer panics.Recover(r.body.log, "body", func() { n, err = 0, r.body.fault() })
	if n, err, ok := r.readHere(p); ok {
		return n, err
	}
	b := r.body
	b.reading.Lock()
	defer b.reading.Unlock()
	// The attempt before may have been reading until now.
	if n, err, ok := r.readHere(p); ok {
		return n, err
	}
	n, err = b.fill(p)
	r.off += int64(n)
	return n, err
}

// fault ends the body after a panic, which the log tells of.
func (b *body) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = problem.New(problem.Internal, "A fault of the proxy itself while it read the request's body; its log says where. If it was a write, it may have been carried out.")
	return b.err
}

// readHere reads without the caller's help, if that will do.
func (r *bodyReader) readHere(p []byte) (int, error, bool) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.reader != r:
		return 0, errStaleReader, true
	case r.off < b.spooled.Size():
		n, err := b.spooled.ReadAt(p, r.off)
		r.off += int64(n)
		if err == io.EOF {
			err = nil // of what is spooled; more may follow
		}
		b.disk = err
		return n, err, true
	case r.off < b.here():
		n := copy(p, b.pending[r.off-b.spooled.Size():])
		r.off += int64(n)
		return n, nil, true
	case r.off < b.read:
		return 0, errNotKept, true
	case b.err != nil:
		return 0, b.err, true
	case b.ended:
		return 0, io.EOF, true
	}
	return 0, nil, false
}

func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.body.reader == r {
		r.body.reader = nil
	}
	return nil
}
