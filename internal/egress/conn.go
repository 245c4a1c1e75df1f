package egress

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// conn counts what is written, and sees before a request is written whether
// the other side is still there.
type conn struct {
	net.Conn
	host    string
	limits  *idleLimits
	writing time.Duration // longest silence before more is taken; 0 for ever

	written atomic.Int64 // bytes that the system took
	wrote   atomic.Int64 // when, in nanoseconds since opened
	read    atomic.Int64 // when the last bytes came
	idled   atomic.Int64 // how long the connection was idle before its present request
	acked   atomic.Int64 // bytes that the other side's system had when the connection failed; -1 for unknown
	dead    atomic.Bool  // found closed before anything of a request was written
	reused  atomic.Bool  // the present request is not the first
	unsafe  atomic.Bool  // the present request must not be carried out twice
	opened  time.Time
}

// errStale refuses to write on a connection that the other side has closed.
var errStale = errors.New("the kept connection is closed")

func (c *Client) wrap(inner net.Conn, host string) *conn {
	w := &conn{Conn: inner, host: host, limits: &c.idle, writing: c.config.IdleWithin, opened: time.Now()}
	w.acked.Store(-1)
	return w
}

// connOf finds the conn under TLS; nil for another kind.
func connOf(outer net.Conn) *conn {
	for {
		switch c := outer.(type) {
		case *conn:
			return c
		case *tls.Conn:
			outer = c.NetConn()
		default:
			return nil
		}
	}
}

func (c *conn) now() int64 { return int64(time.Since(c.opened)) }

// idle reports whether nothing was written since the last bytes came, and for
// how long that has been so.
func (c *conn) idle() (time.Duration, bool) {
	read := c.read.Load()
	return time.Duration(c.now() - read), read > c.wrote.Load()
}

// Write refuses the first bytes of a request where the other side has closed,
// or may be about to: not a byte has left then, and the request goes by
// another connection.
func (c *conn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return 0, errStale
	}
	if rest, idle := c.idle(); idle && c.reused.Load() {
		c.idled.Store(int64(rest))
		if c.unsafe.Load() && c.limits.near(c.host, rest) || closed(c.Conn) {
			c.dead.Store(true)
			return 0, errStale
		}
	}
	if c.writing > 0 {
		c.SetWriteDeadline(time.Now().Add(c.writing))
	}
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	c.wrote.Store(c.now())
	if err != nil {
		c.acked.Store(ackedBytes(c.Conn))
	}
	return n, err
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.acked.CompareAndSwap(-1, ackedBytes(c.Conn))
		if rest, idle := c.idle(); idle && n == 0 && !errors.Is(err, net.ErrClosed) {
			c.limits.closedAfter(c.host, rest)
		}
	}
	if n > 0 {
		c.read.Store(c.now())
	}
	return n, err
}

// delivered returns how many bytes of what was written since base may have
// arrived: those that the other side's system has acknowledged, where that is
// known, and else all.
func (c *conn) delivered(base int64) int64 {
	written := c.written.Load() - base
	if acked := c.acked.Load(); acked >= 0 {
		return max(0, min(written, acked-base))
	}
	return written
}
