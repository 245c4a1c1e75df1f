// Package httpguard keeps HTTP/1 requests that two parsers may read differently
// away from handlers. net/http repairs many of them silently (it drops a
// Content-Length beside a Transfer-Encoding, takes a bare LF for a line end,
// lets an absolute target override Host), so they must be seen on the
// connection, before net/http reads them.
package httpguard

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// marker is the header of the substitute request that carries the reason. A
// caller that sends it gets itself refused and nobody else.
const marker = "Dynproxy-Refused"

// Limits bound what one listener takes. 0 means the default for the sizes and
// no limit for the numbers of connections.
type Limits struct {
	Head        int // bytes of a request line and its headers together; default 64 KiB
	RequestLine int // bytes of a request line; default 16 KiB
	Connections int // open at once
	PerAddress  int // open at once from one address
	Handshakes  int // TLS handshakes at once; default 256
}

const (
	defaultHead        = 64 << 10
	defaultRequestLine = 16 << 10
	defaultHandshakes  = 256
)

func (l Limits) filled() Limits {
	if l.Head == 0 {
		l.Head = defaultHead
	}
	if l.RequestLine == 0 {
		l.RequestLine = defaultRequestLine
	}
	if l.Handshakes == 0 {
		l.Handshakes = defaultHandshakes
	}
	return l
}

// Refused returns why r must be refused, "" if it need not. A handler asks
// before it looks at anything else of r: of a refused request only the reason
// is real.
func Refused(r *http.Request) string {
	reasons, sent := r.Header[marker]
	switch {
	case !sent:
		return ""
	case len(reasons) == 0 || reasons[0] == "":
		return "malformed request"
	}
	return reasons[0]
}

// A BodyError is what reading a request body gives when its chunked framing
// may be read in two ways. The connection ends with it.
type BodyError struct{ Reason string }

func (e *BodyError) Error() string { return "malformed request body: " + e.Reason }

type stateKey struct{}

// ConnContext is for http.Server.ConnContext: it lets TLSState find what a
// connection of a Guard agreed on.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok && c.tls != nil {
		return context.WithValue(ctx, stateKey{}, c.tls)
	}
	return ctx
}

// TLSState returns the TLS state of r's connection, nil for plain HTTP.
// net/http sets r.TLS only for HTTP/2 here, since it does not see the TLS
// connection behind a guarded HTTP/1 one.
func TLSState(r *http.Request) *tls.ConnectionState {
	if r.TLS != nil {
		return r.TLS
	}
	state, _ := r.Context().Value(stateKey{}).(*tls.ConnectionState)
	return state
}
