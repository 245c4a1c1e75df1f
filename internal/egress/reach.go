package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"

	"dynproxy/internal/panics"
)

const (
	// makingMost is how many links to one host are made at once. The rest of
	// those who wait get one that is made or comes back, whichever is first.
	makingMost = 64
	makeWithin = 30 * time.Second // for one link: connection, CONNECT and TLS, within AnswerWithin
)

// phase is how far a connection has come that is being made.
type phase uint32

const (
	phaseDial phase = iota
	phaseConnect
	phaseHandshake
)

func (p phase) late() late { return [...]late{errNoConnection, errNoTunnel, errNoHandshake}[p] }

// makeMore sees that links are made for those who wait. h is locked.
func (h *host) makeMore() {
	for h.making < min(len(h.waiters), makingMost) {
		if h.stop == nil {
			h.context, h.stop = context.WithCancelCause(context.Background())
		}
		h.making++
		go h.make(h.context, h.made, h.arrived)
	}
}

// make makes one link, for whoever waits when it is ready. An error is told to
// who is first; while none at all can be made, to everybody who has waited for
// as long: each would have met it.
func (h *host) make(ctx context.Context, made, arrived int64) {
	defer panics.Recover(h.pool.direct.config.Log, "connection", nil)
	l, err := h.reach(ctx)
	switch {
	case h.settle(ctx, l, err, made, arrived):
		h.pool.sweepSoon()
	case err == nil:
		l.close()
	}
}

// settle gives l, or err, to those who wait, and reports whether l is kept.
func (h *host) settle(ctx context.Context, l *link, err error, made, arrived int64) (kept bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.making--
	if err == nil {
		h.made++
		kept = h.give(l)
	} else if ctx.Err() == nil {
		for len(h.waiters) > 0 && h.waiters[0].number <= arrived {
			h.serve(grant{err: err})
			if h.made != made {
				break
			}
		}
	}
	h.makeMore()
	return kept
}

// reach makes a link. Its goroutine ends with it, so that the stack that a
// handshake needs stays with nobody.
func (h *host) reach(ctx context.Context) (l *link, err error) {
	d := h.pool.direct
	defer panics.Recover(d.config.Log, "dial", func() { l, err = nil, errFault })
	within := makeWithin
	if answer := d.patience.Load().AnswerWithin; answer > 0 {
		within = min(within, answer)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	l = &link{host: h, roots: h.pool.trusted(), rested: time.Now()}
	defer func() {
		if err != nil && l != nil && l.tcp != nil {
			l.tcp.Close()
		}
		if err != nil && ctx.Err() == context.DeadlineExceeded {
			err = phase(h.phase.Load()).late()
		}
	}()
	h.phase.Store(uint32(phaseDial))
	tunnel, err := l.tunnel(ctx)
	if err != nil {
		return nil, err
	}
	h.phase.Store(uint32(phaseHandshake))
	name, _, _ := net.SplitHostPort(h.address)
	if err = l.secure(ctx, tunnel, name); err != nil {
		return nil, err
	}
	l.tls = l.layers[len(l.layers)-1].conn
	state := l.tls.ConnectionState()
	l.state = &state
	return l, nil
}

// secure puts TLS on top of below.
func (l *link) secure(ctx context.Context, below net.Conn, name string) error {
	y := &layer{below: &records{Conn: below}}
	config := l.host.pool.direct.tls.Clone()
	config.ServerName = name
	y.conn = tls.Client(y.below, config)
	l.layers = append(l.layers, y)
	return y.conn.HandshakeContext(ctx)
}

// tunnel connects to the host, by a proxy if there is one on the way.
func (l *link) tunnel(ctx context.Context) (net.Conn, error) {
	d, address := l.host.pool.direct, l.host.address
	way, err := d.way(address)
	if err != nil {
		return nil, err
	}
	if way == nil {
		return l.dial(ctx, address)
	}
	conn, err := l.toProxy(ctx, way)
	if err != nil || way.Scheme == "socks5" || way.Scheme == "socks5h" {
		return conn, viaProxy(err)
	}
	l.host.phase.Store(uint32(phaseConnect))
	return conn, l.connect(ctx, conn, way)
}

// way returns the proxy for address; nil for none.
func (d *direct) way(address string) (*url.URL, error) {
	if d.config.Proxy == nil {
		return nil, nil
	}
	return d.config.Proxy(&url.URL{Scheme: "https", Host: address})
}

// dial makes the connection that all else lies upon.
func (l *link) dial(ctx context.Context, address string) (net.Conn, error) {
	tcp, err := l.host.pool.direct.connect(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l.tcp = tcp
	l.meter = &meter{Conn: tcp, patience: &l.host.pool.direct.patience}
	l.meter.acked.Store(-1)
	l.peek, l.leave = newPeeker(tcp), l.meter.leave
	return l.meter, nil
}

// toProxy connects to the proxy at way; by SOCKS, to the host at once.
func (l *link) toProxy(ctx context.Context, way *url.URL) (net.Conn, error) {
	port := way.Port()
	switch way.Scheme {
	case "socks5", "socks5h":
		socks, err := proxy.FromURL(way, forward(l.dial))
		if err != nil {
			return nil, err
		}
		return socks.(proxy.ContextDialer).DialContext(ctx, "tcp", l.host.address)
	case "http":
		if port == "" {
			port = "80"
		}
		return l.dial(ctx, net.JoinHostPort(way.Hostname(), port))
	case "https":
		if port == "" {
			port = "443"
		}
		conn, err := l.dial(ctx, net.JoinHostPort(way.Hostname(), port))
		if err != nil {
			return nil, err
		}
		if err := l.secure(ctx, conn, way.Hostname()); err != nil {
			return nil, err
		}
		return l.layers[0].conn, nil
	}
	return nil, errors.New("the proxy of HTTPS_PROXY is neither http, https nor socks5")
}

// forward is how SOCKS dials its proxy.
type forward func(ctx context.Context, address string) (net.Conn, error)

func (f forward) Dial(_, address string) (net.Conn, error) { return f(context.Background(), address) }

func (f forward) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return f(ctx, address)
}

func viaProxy(err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err}
}

// connect asks the proxy at the other end of conn to connect to the host.
func (l *link) connect(ctx context.Context, conn net.Conn, way *url.URL) error {
	defer context.AfterFunc(ctx, func() { l.tcp.SetDeadline(time.Unix(1, 0)) })()
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: l.host.address}, Host: l.host.address, Header: make(http.Header)}
	if way.User != nil {
		password, _ := way.User.Password()
		ask.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(way.User.Username()+":"+password)))
	}
	if err := ask.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReaderSize(io.LimitReader(conn, headMost), inSize)
	answer, err := http.ReadResponse(in, ask)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return notConnected(answer.StatusCode)
	}
	if in.Buffered() > 0 {
		return fmt.Errorf("%w: it sent more than its answer", notConnected(answer.StatusCode))
	}
	return nil
}
