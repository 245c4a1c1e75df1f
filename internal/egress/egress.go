// Package egress is every way out: how connections to organizations and login
// hosts are made, whom they trust, how long they are waited for, and what
// their failures mean in plain words.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/panics"
)

// Config is how one kind of outgoing connection is made.
type Config struct {
	Proxy func(*url.URL) (*url.URL, error) // the way out, as of HTTPS_PROXY; nil for none

	// Roots returns whom to trust, asked at every handshake, so that they may
	// change; nil, the function or what it returns, for the system's.
	Roots func() *x509.CertPool

	Patience

	// MayBePrivate reports whether host:port may lie on this machine or in a
	// private network, since the settings name it.
	MayBePrivate func(hostport string) bool

	// ByTransport has net/http's Transport send all requests, in place of the
	// client of this package.
	ByTransport bool

	Log zerolog.Logger // of faults of the program

	// Dial makes connections in place of the network's own; nil outside tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Patience is how long the other side is waited for.
type Patience struct {
	AnswerWithin time.Duration // longest wait for a connection and for an answer to begin; 0 for ever
	IdleWithin   time.Duration // longest silence inside an answer, or before more of a request is taken; 0 for ever
}

// Client sends requests over connections of one kind: TLS 1.2 or better,
// HTTP/1.1 (a caller that stalls then holds up nobody else's connection), as
// many as are needed, bodies as they come, redirects as they are.
type Client struct {
	config    Config
	direct    *direct         // nil with ByTransport
	transport *http.Transport // for what direct does not send
	idle      idleLimits
	patience  atomic.Pointer[Patience]
}

// New returns a Client.
func New(config Config) *Client {
	c := &Client{config: config}
	c.SetPatience(config.Patience)
	if !config.ByTransport {
		c.direct = newDirect(c)
	}
	c.transport = &http.Transport{
		DialContext:         c.dial,
		TLSClientConfig:     trust(config),
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		WriteBufferSize:     16 << 10,
		ReadBufferSize:      32 << 10,
	}
	if config.Proxy != nil {
		c.transport.Proxy = func(r *http.Request) (*url.URL, error) { return config.Proxy(r.URL) }
		c.transport.OnProxyConnectResponse = connected
	}
	return c
}

// connected says what a proxy answered to CONNECT: of its words net/http keeps
// nothing that can be told from others.
func connected(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return notConnected(resp.StatusCode)
}

// notConnected is the status with which a proxy refused CONNECT.
type notConnected int

func (n notConnected) Error() string {
	if n == http.StatusProxyAuthRequired {
		return "the proxy of HTTPS_PROXY asks for a password"
	}
	return fmt.Sprintf("the proxy of HTTPS_PROXY did not connect: it answered %d", int(n))
}

// trust verifies by roots as they are at the time of the handshake.
func trust(by Config) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if by.Roots == nil {
		return config
	}
	// crypto/tls takes roots once and for all; what it would verify with them
	// is verified below in the same way, name included.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(s tls.ConnectionState) (err error) {
		defer panics.Recover(by.Log, "verify", func() { err = errFault })
		options := x509.VerifyOptions{Roots: by.Roots(), DNSName: s.ServerName, Intermediates: x509.NewCertPool()}
		for _, cert := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(cert)
		}
		if _, err := s.PeerCertificates[0].Verify(options); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
	return config
}

// SetPatience puts another patience in force, for what is waited for from now
// on: connections that are kept go by it too.
func (c *Client) SetPatience(p Patience) { c.patience.Store(&p) }

// Transport is what the Client sends with, without its bounds on time: for
// whoever looks at single steps of a connection.
func (c *Client) Transport() *http.Transport { return c.transport }

// CloseIdleConnections closes what is kept and not in use.
func (c *Client) CloseIdleConnections() {
	c.transport.CloseIdleConnections()
	if c.direct != nil {
		c.direct.pool.CloseIdleConnections()
	}
}

// RoundTrip is http.RoundTripper's. Its errors are *Error, those of the
// answer's body too, unless the request's own context has ended: then they
// wrap that context's cause.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.direct != nil && suits(r) {
		return c.direct.RoundTrip(r)
	}
	x := newExchange(c, r)
	resp, err := c.transport.RoundTrip(unrepeated(r.WithContext(x.traced())))
	switch {
	case err != nil:
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// Nobody asked for it, and what follows has no end that can be waited for.
		resp.Body.Close()
		err = errSwitched
	case !x.answered():
		resp.Body.Close()
		err = errNoAnswer
	}
	if err != nil {
		return nil, x.failed(err)
	}
	resp.Request = r
	if resp.Body == http.NoBody {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.rest()
		return resp, nil
	}
	resp.Body = &answer{ReadCloser: x.openEnded(resp), exchange: x}
	return resp, nil
}

// unrepeated hides from net/http what would make it send a write again that may
// have been carried out: headers, of which it looks for these names in this
// spelling, and that there is no body. r is the Client's own, but not its header.
func unrepeated(r *http.Request) *http.Request {
	if (r.Body == nil || r.Body == http.NoBody) && reads(r.Method) && !harmless(r) {
		r.Body, r.GetBody = io.NopCloser(strings.NewReader("")), nil // net/http finds its end before it sends anything
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, there := r.Header[name]; there {
			r.Header = r.Header.Clone()
			delete(r.Header, name)
			r.Header[strings.ToLower(name)] = values
		}
	}
	return r
}
