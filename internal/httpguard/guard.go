package httpguard

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"dynproxy/internal/panics"
)

const handshakeTime = 10 * time.Second

// Guard is a listener whose connections keep ambiguous requests from the
// server, and which holds what strangers take within Limits.
type Guard struct {
	inner  net.Listener
	limits *Limits

	connections, handshakes, heads, drains *pool
	rejected, evicted, failed              atomic.Int64
	pending                                atomic.Int64 // requests that were read and whose handler does not run yet

	// With TLS, handshakes run beside Accept. Close ends what is under way and
	// waits for it.
	config  *tls.Config
	arrived chan arrival
	ctx     context.Context
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	shaking sync.WaitGroup // handshakes
}

type arrival struct {
	conn net.Conn
	err  error
}

// Listener wraps l so that each HTTP/1 request that two parsers may read
// differently reaches the server as another one, for which Rejected gives the
// fault; the connection ends after it. It takes its turn behind the requests
// before it on the same connection. Where connections reach their limit, those
// that wait for a request make room, the oldest first; while none waits, new
// ones are closed at once.
func Listener(l net.Listener, limits Limits) *Guard {
	full := limits.filled()
	return &Guard{
		inner: l, limits: full,
		connections: newPool(full.Connections, full.PerAddress),
		handshakes:  newPool(full.Handshakes, 0),
		heads:       newPool(full.Heads, 0),
		drains:      newPool(full.Drains, 0),
	}
}

// TLSListener is Listener for TLS. Handshakes do not hold up Accept, end after
// 10 seconds, and make room for each other where there are too many. A
// connection that agreed on HTTP/2 is handed on as the *tls.Conn itself: its
// frames leave nothing to disagree on. A config without NextProtos offers
// HTTP/2 and HTTP/1.1; what its GetConfigForClient returns must name them
// itself.
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

// Serve serves s on g until either is closed. It sets those fields of s by
// which the two work together: ConnContext, ConnState, MaxHeaderBytes, and a
// Handler around s.Handler that lets answers reach callers that still send.
func (g *Guard) Serve(s *http.Server) error {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if session := sessionOf(c); session != nil {
			return context.WithValue(ctx, sessionKey{}, session)
		}
		return ctx
	}
	also := s.ConnState
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if also != nil {
			also(c, state)
		}
		session := sessionOf(c)
		switch {
		case session == nil:
		case state == http.StateActive:
			g.connections.busy(&session.place)
		case state == http.StateIdle:
			g.connections.wait(&session.place)
			session.keep()
		}
	}
	// Of HTTP/2, net/http itself refuses larger heads, and in words of its own.
	s.MaxHeaderBytes = 2 * g.limits.Head
	s.Handler = g.answering(s.Handler)
	return s.Serve(g)
}

// Accept returns the next connection.
func (g *Guard) Accept() (net.Conn, error) {
	if g.config == nil {
		s, err := g.admit()
		if err != nil {
			return nil, err
		}
		return s.frame(s), nil
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

// Bound sets other bounds for Limits.Connections and PerAddress. Those who are
// in stay.
func (g *Guard) Bound(connections, perAddress int) { g.connections.bound(connections, perAddress) }

// Rejected returns how many connections were closed at once for Limits.
func (g *Guard) Rejected() int64 { return g.rejected.Load() }

// admit accepts the next connection within the limits.
func (g *Guard) admit() (*session, error) {
	for {
		c, err := g.inner.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				g.connections.makeRoom() // the process may be short of descriptors
			}
			return nil, err
		}
		s := &session{Conn: c, guard: g, addr: addressOf(c)}
		if g.connections.take(&s.place, s, 1) {
			return s, nil
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

// acceptLoop accepts and starts handshakes until the listener is closed.
func (g *Guard) acceptLoop() {
	defer panics.Recover(g.limits.Log, "accept", func() { g.wait.Go(g.acceptLoop) })
	for {
		s, err := g.admit()
		if errors.Is(err, net.ErrClosed) {
			g.shaking.Wait() // who has come is delivered first
		}
		if err != nil {
			g.deliver(arrival{err: err})
			if errors.Is(err, net.ErrClosed) || g.ctx.Err() != nil {
				return
			}
			continue
		}
		s.greeting.Store(true)
		g.handshakes.take(&s.handshake, s, 1)
		g.shaking.Go(func() {
			defer panics.Recover(g.limits.Log, "handshake", func() { s.Close() })
			c := g.shakeHands(s)
			s.greeting.Store(false)
			g.handshakes.leave(&s.handshake)
			if c != nil && !g.deliver(arrival{conn: c}) {
				s.Close()
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

// shakeHands returns the connection to serve, nil if there is none.
func (g *Guard) shakeHands(s *session) net.Conn {
	ctx, cancel := context.WithTimeout(g.ctx, handshakeTime)
	defer cancel()
	secure := tls.Server(s, g.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		g.failed.Add(1)
		if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && speaksHTTP(plain.RecordHeader) {
			c := s.frame(s)
			c.refuse(faultPlainHTTP)
			return c
		}
		s.Close()
		return nil
	}
	state := secure.ConnectionState()
	s.state = &state
	if state.NegotiatedProtocol == "h2" {
		return secure
	}
	return s.frame(secure)
}

// speaksHTTP reports whether the first bytes on a TLS port begin a plain
// request.
func speaksHTTP(first [5]byte) bool {
	for i, c := range first {
		if !('A' <= c && c <= 'Z' || i > 2 && (c == ' ' || c == '/' || c == '*')) {
			return false
		}
	}
	return true
}

// session is one connection, seen from below TLS, and what it has of the
// Guard's pools. It gives all back when it is closed.
type session struct {
	net.Conn
	guard  *Guard
	addr   netip.Addr
	state  *tls.ConnectionState // nil for plain HTTP
	framed atomic.Pointer[conn] // nil for HTTP/2

	greeting                     atomic.Bool // in the TLS handshake
	kept                         atomic.Bool // has had an answer
	place, handshake, head, rest place
}

func sessionOf(c net.Conn) *session {
	switch c := c.(type) {
	case *conn:
		return c.session
	case *tls.Conn:
		s, _ := c.NetConn().(*session)
		return s
	}
	return nil
}

// frame returns the connection that follows HTTP/1 on c, which is s or TLS
// over it.
func (s *session) frame(c net.Conn) *conn {
	framed := &conn{Conn: c, session: s, limits: s.guard.limits}
	s.framed.Store(framed)
	return framed
}

// Read lets a handshake that goes on stand behind those that are silent.
func (s *session) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 && s.greeting.Load() {
		s.guard.handshakes.wait(&s.handshake)
	}
	return n, err
}

func (s *session) Write(p []byte) (int, error) {
	if idle := s.guard.limits.WriteIdle; idle > 0 {
		s.Conn.SetWriteDeadline(time.Now().Add(idle))
	}
	return s.Conn.Write(p)
}

// NetConn returns the connection that s counts.
func (s *session) NetConn() net.Conn { return s.Conn }

// giveUp ends the connection for others' sake. Whoever serves it finds it
// closed.
func (s *session) giveUp() {
	s.guard.evicted.Add(1)
	s.Conn.Close()
}

func (s *session) Close() error {
	g := s.guard
	err := s.Conn.Close()
	g.connections.leave(&s.place)
	g.handshakes.leave(&s.handshake)
	g.heads.leave(&s.head)
	g.drains.leave(&s.rest)
	return err
}

func (s *session) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
