package httpguard

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"time"
)

const (
	bufferSize  = 4 << 10
	lingerBytes = 256 << 10
	lingerTime  = 500 * time.Millisecond
)

// conn follows the framing of the requests it reads. Heads are held back until
// they are judged; bodies pass straight into the reader's own buffer. Reading
// is for one goroutine at a time, as net/http does it.
type conn struct {
	net.Conn
	limits Limits
	tls    *tls.ConnectionState // nil for plain HTTP

	buffer []byte // what held lies in
	held   []byte // read and not yet delivered
	ready  int    // so many bytes of held may be delivered
	head   headScan

	length  int64 // bytes left of a Content-Length body
	chunks  chunkScan
	chunked bool // inside a chunked body

	broken  error       // what every further Read returns
	refused atomic.Bool // the substitute was made; further input is dropped
	drained int
}

// NetConn returns the connection that c guards.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Read gives net/http what has been judged. It waits for a whole head before
// it gives the first byte of it, so a slow head on a kept connection counts
// against the idle timeout and not the header timeout.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case c.ready > 0:
			return c.deliver(p), nil
		case c.refused.Load():
			return 0, c.drain()
		case c.broken != nil:
			return 0, c.broken
		case c.length > 0:
			return c.readLength(p)
		case c.chunked:
			if n, err := c.readChunked(p); n > 0 || err != nil {
				return n, err
			}
		default:
			if err := c.readHead(); err != nil {
				return 0, err
			}
		}
	}
}

func (c *conn) deliver(p []byte) int {
	n := copy(p, c.held[:c.ready])
	c.ready -= n
	c.held = c.held[n:]
	if len(c.held) == 0 && cap(c.buffer) > bufferSize {
		c.buffer, c.held = nil, nil // one large head is no reason to keep its room
	}
	return n
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
	if c.broken != nil && passed == 0 {
		return 0, c.broken
	}
	if passed < n && c.broken == nil {
		c.held = append(c.buffer[:0], p[passed:n]...)
		c.buffer = c.held[:0]
	}
	return passed, err
}

// scanChunks returns how many bytes of b belong to the chunked body.
func (c *conn) scanChunks(b []byte) int {
	passed, done, reason := c.chunks.scan(b)
	if reason != "" {
		c.broken = &BodyError{reason}
	}
	c.chunked = !done
	return passed
}

// readHead judges what is held, or reads more of it. It returns after each
// step, with ready set once a head is whole.
func (c *conn) readHead() error {
	end, reason := c.head.scan(c.held, c.limits)
	if reason == "" && end == 0 {
		return c.fill()
	}
	skipped := c.head.skipped
	var frame framing
	if reason == "" {
		frame, reason = judge(c.held[skipped:end])
	}
	c.head = headScan{}
	if reason != "" {
		c.refuse(reason)
		return nil
	}
	c.held = c.held[skipped:]
	c.ready = end - skipped
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

// fill appends what the connection has to held, which it moves to the front of
// its buffer, or into a larger one, where room is short.
func (c *conn) fill() error {
	if cap(c.held)-len(c.held) < bufferSize/2 {
		if need := len(c.held) + bufferSize/2; cap(c.buffer) < need {
			c.buffer = make([]byte, max(bufferSize, 2*need))
		}
		c.held = c.buffer[:copy(c.buffer[:cap(c.buffer)], c.held)]
	}
	n, err := c.Conn.Read(c.held[len(c.held):cap(c.held)])
	c.held = c.held[:len(c.held)+n]
	if n > 0 {
		return nil // an error that lasts comes again
	}
	return err
}

// refuse puts the substitute in the place of the request. net/http then
// answers it in its turn, after the requests that came before it.
func (c *conn) refuse(reason string) {
	c.held = []byte("GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n" + marker + ": " + reason + "\r\n\r\n")
	c.ready = len(c.held)
	c.refused.Store(true)
}

// drain drops input, up to a bound: bytes left unread when a connection is
// closed make the kernel reset it, and the caller would lose the answer.
func (c *conn) drain() error {
	var sink [2 << 10]byte
	for c.drained < lingerBytes {
		n, err := c.Conn.Read(sink[:])
		c.drained += n
		if err != nil {
			return err
		}
	}
	return io.EOF
}

// Close closes the connection, after a moment for the caller of a refused
// request to read the answer.
func (c *conn) Close() error {
	if c.refused.Load() && c.CloseWrite() == nil {
		c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, c.Conn, lingerBytes)
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
