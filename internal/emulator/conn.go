package emulator

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection that a fault can tear or hold up below TLS.
type conn struct {
	net.Conn
	organization atomic.Pointer[Organization] // the last that it spoke to
	between      atomic.Bool                  // an answer has ended, and no request has begun
	silence      time.Duration                // before the first byte is read; for ever if negative
	once         sync.Once
	closed       chan struct{}
}

// connListener makes conns. organization is whom it belongs to, nil for the
// login host and the listener in memory.
type connListener struct {
	net.Listener
	organization *Organization
}

func (l *connListener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, closed: make(chan struct{})}
	if l.organization == nil {
		return c, nil
	}
	if f, ok := l.organization.faults.take(SlowHandshake, moment{}); ok {
		c.silence = f.Delay
		if f.Delay == 0 {
			c.silence = -1
		}
	}
	return c, nil
}

// Read tears the connection if that is what the beginning of the next request
// must meet.
func (c *conn) Read(p []byte) (int, error) {
	if c.silence != 0 && !c.keepSilent() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p)
	if n == 0 || !c.between.Load() {
		return n, err
	}
	if _, ok := c.organization.Load().faults.take(TearReused, moment{}); !ok {
		return n, err
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
	return 0, net.ErrClosed
}

// keepSilent reports false if the connection was closed meanwhile.
func (c *conn) keepSilent() bool {
	if c.silence < 0 {
		<-c.closed
		return false
	}
	timer := time.NewTimer(c.silence)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.silence = 0
		return true
	case <-c.closed:
		return false
	}
}

// Close ends a silence, too.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

type connKey struct{}

// withConn lets a request know its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

// connection is that of a request, nil where the emulator is served by another
// server than its own.
func connection(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// begin notes that a request to o has come, and reports whether there was one
// before.
func (c *conn) begin(o *Organization) (reused bool) {
	if c == nil {
		return false
	}
	c.between.Store(false)
	return c.organization.Swap(o) != nil
}

// end notes that nothing more of a request is expected.
func (c *conn) end(n *entry) {
	if c == nil {
		return
	}
	n.mu.Lock()
	whole := n.whole
	n.mu.Unlock()
	c.between.Store(whole)
}
