package httpguard

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"dynproxy/internal/panics"
)

const bufferSize = 4 << 10

// buffers are lent to connections that hold something back.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// conn follows the framing of the requests it reads. Heads are held back until
// they are judged; bodies pass straight into the reader's own buffer. Reading
// is for one goroutine at a time, as net/http does it.
type conn struct {
	net.Conn
	session *session
	limits  *Limits

	buffer []byte // what held lies in; nil while nothing is held
	held   []byte // read and not yet delivered
	ready  int    // so many bytes of held may be delivered
	head   headScan

	length  int64 // bytes left of a Content-Length body
	chunks  chunkScan
	chunked bool // inside a chunked body

	begun   atomic.Bool               // something of the next request has come
	pending atomic.Bool               // a head was delivered, and its handler does not run yet
	broken  atomic.Pointer[BodyError] // what every further Read returns
	refused atomic.Bool               // the substitute was made; further input is dropped
	left    atomic.Bool               // the rest of a request was waited for in vain; nothing more is read
	closing atomic.Bool
	drained int64
}

// NetConn returns the connection that c guards.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Read gives net/http what has been judged. It waits for a whole head before
// it gives the first byte of it, so a slow head on a kept connection counts
// against the idle timeout and not the header timeout.
func (c *conn) Read(p []byte) (n int, err error) {
	// net/http reads ahead in goroutines of its own.
	defer panics.Recover(c.limits.Log, "connection", func() { n, err = 0, net.ErrClosed })
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case c.left.Load():
			return 0, io.EOF
		case c.ready > 0:
			return c.deliver(p), nil
		case c.refused.Load():
			return 0, c.drain()
		case c.broken.Load() != nil:
			return 0, c.broken.Load()
		case c.length > 0:
			return c.readLength(p)
		case c.chunked:
			if n, err := c.readChunked(p); n > 0 || err != nil {
				return n, err
			}
		default:
			if err := c.readHead(p); err != nil {
				return 0, err
			}
		}
	}
}

func (c *conn) deliver(p []byte) int {
	n := copy(p, c.held[:c.ready])
	c.ready -= n
	c.held = c.held[n:]
	if len(c.held) == 0 {
		c.release()
	}
	return n
}

// hold keeps a copy of b, where nothing is held.
func (c *conn) hold(b []byte) {
	if len(b) > bufferSize {
		c.buffer = bytes.Clone(b)
	} else {
		c.buffer = buffers.Get().(*[bufferSize]byte)[:]
	}
	c.held = c.buffer[:copy(c.buffer, b)]
}

// release gives back the room of what was held: a connection at rest has none.
func (c *conn) release() {
	switch {
	case cap(c.buffer) == bufferSize:
		buffers.Put((*[bufferSize]byte)(c.buffer[:bufferSize]))
	case cap(c.buffer) > bufferSize:
		c.session.guard.heads.leave(&c.session.head)
	}
	c.buffer, c.held = nil, nil
}

func (c *conn) readLength(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.length)])
	c.length -= int64(n)
	return n, err
}

// readChunked scans a chunked body where it was read. What follows the body
// belongs to the next head and is held back.
func (c *conn) readChunked(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	passed := c.scanChunks(p[:n])
	broken := c.broken.Load()
	if broken != nil && passed == 0 {
		return 0, broken
	}
	if passed < n && broken == nil {
		c.hold(p[passed:n])
	}
	return passed, err
}

// scanChunks returns how many bytes of b belong to the chunked body.
func (c *conn) scanChunks(b []byte) int {
	passed, done, reason := c.chunks.scan(b)
	if reason != "" {
		c.broken.Store(&BodyError{reason})
	}
	c.chunked = !done
	return passed
}

// readHead judges what is held, or reads more of it. It returns after each
// step, with ready set once a head is whole. p is room that it may use.
func (c *conn) readHead(p []byte) error {
	end, wrong := c.head.scan(c.held, c.limits)
	if wrong == nil && end == 0 {
		return c.fill(p)
	}
	skipped := c.head.skipped
	var frame framing
	if wrong == nil {
		frame, wrong = judge(c.held[skipped:end])
	}
	c.head = headScan{}
	if wrong != nil {
		c.refuse(wrong)
		return nil
	}
	c.held = c.held[skipped:]
	c.ready = end - skipped
	if c.pending.CompareAndSwap(false, true) {
		c.session.guard.pending.Add(1)
	}
	rest := c.held[c.ready:]
	switch {
	case frame.chunked:
		c.chunks, c.chunked = chunkScan{}, true
		if len(rest) > 0 {
			c.ready += c.scanChunks(rest)
		}
	default:
		taken := min(int64(len(rest)), frame.length)
		c.ready += int(taken)
		c.length = frame.length - taken
	}
	return nil
}

// fill appends what the connection has to held. Where nothing is held it waits
// with p for room, which is the reader's own; but a reader that asks for a byte
// or two, as net/http does while it serves, would have the rest read once more.
func (c *conn) fill(p []byte) error {
	if len(c.held) == 0 && len(p) >= bufferSize/2 {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.begun.Store(true)
			c.hold(p[:n])
			return nil // an error that lasts comes again
		}
		return err
	}
	if !c.makeRoom() {
		return net.ErrClosed
	}
	n, err := c.Conn.Read(c.held[len(c.held):cap(c.held)])
	c.held = c.held[:len(c.held)+n]
	if n > 0 {
		c.begun.Store(true)
		return nil
	}
	if len(c.held) == 0 {
		c.release()
	}
	return err
}

// makeRoom moves what is held to the front of its buffer, or into a larger one,
// where room is short. It reports false when there is none.
func (c *conn) makeRoom() bool {
	if cap(c.held)-len(c.held) >= bufferSize/2 {
		return true
	}
	if c.buffer == nil {
		c.hold(nil)
		return true
	}
	if need := len(c.held) + bufferSize/2; cap(c.buffer) < need {
		if !c.grow(min(2*need, c.limits.Head+bufferSize)) {
			return false
		}
	}
	c.held = c.buffer[:copy(c.buffer[:cap(c.buffer)], c.held)]
	return true
}

// grow makes a larger buffer, of what there is for all unfinished heads.
func (c *conn) grow(size int) bool {
	if more := size - cap(c.buffer); !c.session.guard.heads.take(&c.session.head, c.session, more) {
		return false
	}
	c.buffer = make([]byte, size)
	return true
}

// refuse puts a substitute in the place of the request, with what is sound of
// its method and path: they say in whose form the refusal is read. Host and
// User-Agent are for the access line. net/http then answers it in its turn,
// after the requests that came before it.
func (c *conn) refuse(wrong *Fault) {
	head := bytes.TrimPrefix(c.held, []byte("\r\n"))
	host, agent := soundSender(head)
	c.held = fmt.Appendf(nil, "%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nConnection: close\r\n%s: %d %s\r\n\r\n", soundStart(head), host, agent, marker, wrong.Status, wrong.Message)
	c.buffer, c.ready = nil, len(c.held)
	c.session.guard.heads.leave(&c.session.head)
	c.refused.Store(true)
}

// soundStart returns the method and the beginning of the path in a request
// line, as far as they are sound.
func soundStart(line []byte) []byte {
	method, path, _ := bytes.Cut(line[:min(len(line), 1<<10)], []byte(" "))
	if !allTokens(method) || string(method) == http.MethodConnect || !bytes.HasPrefix(path, []byte("/")) {
		return []byte("GET /")
	}
	end := bytes.IndexFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '?' || c == '#' || c == '%' })
	if end < 0 {
		end = len(path)
	}
	return line[:len(method)+1+end]
}

const mostOfAgent = 256 // bytes that are kept of a refused request's User-Agent

// soundSender returns what the whole lines of head say of Host and User-Agent:
// nothing of one that cannot be read, or comes more than once.
func soundSender(head []byte) (host, agent []byte) {
	var hosts, agents int
	_, rest, whole := bytes.Cut(head, []byte("\r\n"))
	for whole {
		var line []byte
		if line, rest, whole = bytes.Cut(rest, []byte("\r\n")); !whole || len(line) == 0 {
			break
		}
		name, value, wrong := field(line)
		switch {
		case wrong != nil:
		case sameName(name, "host"):
			host, hosts = value, hosts+1
		case bytes.EqualFold(name, []byte("User-Agent")):
			agent, agents = value[:min(len(value), mostOfAgent)], agents+1
		}
	}
	if hosts != 1 || !soundHost(string(host)) {
		host = nil
	}
	if agents != 1 {
		agent = nil
	}
	return host, agent
}

// drain drops input, up to a bound, while the refusal is on its way.
func (c *conn) drain() error {
	var sink [2 << 10]byte
	for c.drained < drainBytes {
		n, err := c.Conn.Read(sink[:])
		c.drained += int64(n)
		if err != nil {
			return err
		}
	}
	return io.EOF
}

// served says that the request whose head was delivered last has reached its
// handler, or never will.
func (c *conn) served() {
	if c.pending.CompareAndSwap(true, false) {
		c.session.guard.pending.Add(-1)
	}
}

// Close closes the connection. The caller of a refused request has time to
// send the rest of it and to read the answer.
func (c *conn) Close() error {
	c.served()
	if c.closing.CompareAndSwap(false, true) && (c.refused.Load() || c.broken.Load() != nil) {
		s := c.session
		s.guard.connections.wait(&s.place)
		if c.CloseWrite() == nil && s.guard.drains.take(&s.rest, s, 1) {
			drain(c.Conn, drainBytes, drainSilent, c.Conn.SetReadDeadline)
		}
	}
	return c.Conn.Close()
}

// CloseWrite ends the writing side, which net/http does before it lingers
// itself.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
