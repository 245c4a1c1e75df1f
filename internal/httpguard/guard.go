package httpguard

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const handshakeTime = 10 * time.Second

// Guard is a listener whose connections keep ambiguous requests from the
// server, and which holds the number of connections within Limits.
type Guard struct {
	inner    net.Listener
	limits   Limits
	rejected atomic.Int64
	failed   atomic.Int64

	mu   sync.Mutex         // guards open and from
	open int                // connections in all
	from map[netip.Addr]int // connections of each address

	// With TLS, handshakes run beside Accept. Close ends what is under way and
	// waits for it.
	config  *tls.Config
	arrived chan arrival
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup
}

type arrival struct {
	conn net.Conn
	err  error
}

// Listener wraps l so that each HTTP/1 request that two parsers may read
// differently reaches the server as another one, for which Refused gives the
// reason; the connection ends after it. It takes its turn behind the requests
// before it on the same connection. Connections beyond limits are closed at
// once.
func Listener(l net.Listener, limits Limits) *Guard {
	return &Guard{inner: l, limits: limits.filled(), from: make(map[netip.Addr]int)}
}

// TLSListener is Listener for TLS. Handshakes do not hold up Accept, and end
// after 10 seconds. A connection that agreed on HTTP/2 is handed on as the
// *tls.Conn itself: its frames leave nothing to disagree on. The server needs
// ConnContext for TLSState to work on the others. A config without NextProtos
// offers HTTP/2 and HTTP/1.1; what its GetConfigForClient returns must name
// them itself.
func TLSListener(l net.Listener, config *tls.Config, limits Limits) *Guard {
	g := Listener(l, limits)
	g.config = config.Clone()
	if len(g.config.NextProtos) == 0 {
		g.config.NextProtos = []string{"h2", "http/1.1"}
	}
	g.arrived = make(chan arrival)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.wait.Go(g.acceptLoop)
	return g
}

// Accept returns the next connection.
func (g *Guard) Accept() (net.Conn, error) {
	if g.config == nil {
		counted, err := g.admit()
		if err != nil {
			return nil, err
		}
		return &conn{Conn: counted, limits: g.limits}, nil
	}
	select {
	case a := <-g.arrived:
		return a.conn, a.err
	case <-g.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends listening, and the handshakes under way. Connections that were
// accepted stay.
func (g *Guard) Close() error {
	err := g.inner.Close()
	if g.config != nil {
		g.cancel()
		g.wait.Wait()
	}
	return err
}

// Addr returns the address listened on.
func (g *Guard) Addr() net.Addr { return g.inner.Addr() }

// Open returns how many connections are open.
func (g *Guard) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// Rejected returns how many connections were closed for Limits.
func (g *Guard) Rejected() int64 { return g.rejected.Load() }

// Failed returns how many TLS handshakes failed.
func (g *Guard) Failed() int64 { return g.failed.Load() }

// admit accepts the next connection within the limits.
func (g *Guard) admit() (*counted, error) {
	for {
		c, err := g.inner.Accept()
		if err != nil {
			return nil, err
		}
		addr := addressOf(c)
		if g.enter(addr) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { g.leave(addr) })}, nil
		}
		g.rejected.Add(1)
		c.Close()
	}
}

func addressOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (g *Guard) enter(addr netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	full := g.limits.Connections > 0 && g.open >= g.limits.Connections
	if full || g.limits.PerAddress > 0 && g.from[addr] >= g.limits.PerAddress {
		return false
	}
	g.open++
	g.from[addr]++
	return true
}

func (g *Guard) leave(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.from[addr]--; g.from[addr] == 0 {
		delete(g.from, addr)
	}
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// acceptLoop accepts and starts handshakes until the listener is closed.
func (g *Guard) acceptLoop() {
	places := make(chan struct{}, g.limits.Handshakes)
	for {
		c, err := g.admit()
		if err != nil {
			g.deliver(arrival{err: err})
			if errors.Is(err, net.ErrClosed) || g.ctx.Err() != nil {
				return
			}
			continue
		}
		select {
		case places <- struct{}{}:
		case <-g.ctx.Done():
			c.Close()
			return
		}
		g.wait.Go(func() {
			secure := g.handshake(c)
			<-places
			if secure != nil && !g.deliver(arrival{conn: secure}) {
				secure.Close()
			}
		})
	}
}

// deliver gives a to Accept. It reports false when the Guard was closed first.
func (g *Guard) deliver(a arrival) bool {
	select {
	case g.arrived <- a:
		return true
	case <-g.ctx.Done():
		return false
	}
}

// handshake returns the connection to serve, nil if there is none.
func (g *Guard) handshake(c net.Conn) net.Conn {
	ctx, cancel := context.WithTimeout(g.ctx, handshakeTime)
	defer cancel()
	secure := tls.Server(c, g.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		g.failed.Add(1)
		// A caller that forgot https gets a line that it can read.
		if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && speaksHTTP(plain.RecordHeader) {
			io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS: write https:// in the address.\n")
		}
		c.Close()
		return nil
	}
	state := secure.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		return secure
	}
	return &conn{Conn: secure, limits: g.limits, tls: &state}
}

// speaksHTTP reports whether the first bytes on a TLS port begin a plain
// request.
func speaksHTTP(first [5]byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO"} {
		if string(first[:]) == method {
			return true
		}
	}
	return false
}
