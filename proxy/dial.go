package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Way is how outgoing connections are made.
type Way struct {
	Proxy        func(*url.URL) (*url.URL, error) // the way out, as of HTTPS_PROXY; nil for none
	Roots        *x509.CertPool                   // nil for the system's
	AnswerWithin time.Duration                    // longest wait for an answer to begin; 0 for ever

	// MayBePrivate reports whether host:port may lie on this machine or in a
	// private network, since the settings name it.
	MayBePrivate func(hostport string) bool
}

// NewTransport returns the connections of one kind: over TLS 1.2 or better,
// HTTP/1.1 (a caller that stalls then holds up nobody else's connection), as
// many as are needed, bodies as they come.
func NewTransport(w Way) *http.Transport {
	t := &http.Transport{
		DialContext:           w.dial,
		TLSClientConfig:       &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableCompression:    true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: w.AnswerWithin,
		WriteBufferSize:       16 << 10,
		ReadBufferSize:        32 << 10,
	}
	if w.Proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) { return w.Proxy(r.URL) }
	}
	return t
}

var errPrivate = errors.New("the name leads to a private address; if that is right, add the host to DYNPROXY_ALLOWED_ORG_HOSTS or DYNPROXY_ALLOWED_LOGIN_HOSTS")

// dial refuses private addresses at the last moment: what a name leads to may
// have changed since its settings were read.
func (w Way) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	if w.MayBePrivate == nil || !w.MayBePrivate(address) {
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("unexpected address: %w", err)
			}
			if ip := to.Addr().Unmap(); !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedSpace.Contains(ip) {
				return errPrivate
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// sharedSpace is what carriers use behind address translation.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
