package egress

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// conn is a connection of net/http's Transport. It counts what is written, and
// sees before a request is written whether the other side is still there.
type conn struct {
	meter
	host   string
	limits *idleLimits

	owner  atomic.Pointer[exchange] // nil while the connection is kept and not in use
	served atomic.Bool              // an exchange has ended on it
	rested atomic.Int64             // since when it is not in use, as UnixNano
	idled  atomic.Int64             // how long it was not in use before its present request
	fresh  atomic.Bool              // nothing of the present request is written
	dead   atomic.Bool              // found closed before anything of a request was written
}

// errStale refuses to write on a connection that the other side has closed.
var errStale = errors.New("the kept connection is closed")

func (c *Client) wrap(inner net.Conn, host string) *conn {
	w := &conn{meter: meter{Conn: inner, patience: &c.patience}, host: host, limits: &c.idle}
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

// begin gives the connection to x.
func (c *conn) begin(x *exchange) {
	c.idled.Store(0)
	if c.served.Load() {
		c.idled.Store(c.idle())
	}
	c.fresh.Store(true)
	c.owner.Store(x)
}

// end takes the connection back from x. It may have been given to the next by
// then.
func (c *conn) end(x *exchange) {
	if c.owner.Load() != x {
		return
	}
	c.served.Store(true)
	c.rested.Store(time.Now().UnixNano())
	c.owner.CompareAndSwap(x, nil)
}

func (c *conn) idle() int64 { return max(1, time.Now().UnixNano()-c.rested.Load()) }

// Write refuses the first bytes of a request where the other side has closed,
// or may be about to: not a byte has left then, and the request goes by
// another connection.
func (c *conn) Write(p []byte) (int, error) {
	if c.fresh.Swap(false) && c.served.Load() {
		x := c.owner.Load()
		about := x != nil && x.unsafe && c.limits.near(c.host, time.Duration(c.idled.Load()))
		if about || c.dead.Load() || newPeeker(c.Conn).closed() {
			c.dead.Store(true)
			return 0, errStale
		}
	}
	if c.dead.Load() {
		return 0, errStale
	}
	return c.meter.Write(p)
}

// Read notes what comes while the connection is not in use: that is the other
// side's farewell.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.meter.Read(p)
	if (n > 0 || err != nil) && c.owner.Load() == nil && c.served.Load() && !errors.Is(err, net.ErrClosed) && !c.dead.Swap(true) {
		c.limits.closedAfter(c.host, time.Duration(c.idle()))
	}
	return n, err
}
