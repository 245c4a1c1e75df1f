// Package httpguard stands between a listener and net/http. It keeps requests
// that two parsers may read differently away from handlers: net/http repairs
// many of them silently (it drops a Content-Length beside a Transfer-Encoding,
// takes a bare LF for a line end, lets an absolute target override Host), so
// they must be seen on the connection, before net/http reads them. It bounds
// what strangers may hold (connections, handshakes, unfinished heads), and
// sees to it that a refusal reaches a caller that is still sending.
package httpguard

import (
	"context"
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// marker is the header of the substitute request that carries the fault. A
// caller that sends it gets itself refused and nobody else.
const marker = "Dynproxy-Refused"

// Limits bound what one listener takes. 0 means the default; for Connections,
// PerAddress and WriteIdle it means no limit.
type Limits struct {
	Head        int           // bytes of a request line and its headers together; default 64 KiB
	RequestLine int           // bytes of a request line; default 16 KiB
	Heads       int           // bytes of all unfinished heads together, beyond 4 KiB each; default 16 MiB, at least twice Head
	Connections int           // open at once
	PerAddress  int           // open at once from one address
	Handshakes  int           // TLS handshakes at once; default 1024
	Drains      int           // requests at once whose rest is thrown away after their answer; default 1024
	WriteIdle   time.Duration // longest wait for a peer to take what is written

	Log zerolog.Logger // of faults of the program

	// What operators call Head and RequestLine, for the words of refusals.
	HeadSetting, RequestLineSetting string
}

const (
	defaultHead        = 64 << 10
	defaultRequestLine = 16 << 10
	defaultHeads       = 16 << 20
	defaultHandshakes  = 1024
	defaultDrains      = 1024
)

func (l Limits) filled() *Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Head, defaultHead}, {&l.RequestLine, defaultRequestLine}, {&l.Heads, defaultHeads},
		{&l.Handshakes, defaultHandshakes}, {&l.Drains, defaultDrains},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	l.Heads = max(l.Heads, 2*l.Head+bufferSize)
	return &l
}

// A Fault is why a request must be refused.
type Fault struct {
	Status  int    // 400, 414 or 431
	Message string // plain words in ASCII: what is wrong, and the cure
}

func (f *Fault) Error() string { return f.Message }

// Rejected returns why r must be refused, nil if it need not. A handler asks
// before it looks at anything else of r: of a refused HTTP/1 request only the
// fault is real. The same rules hold for HTTP/2.
func Rejected(r *http.Request) *Fault {
	reasons, sent := r.Header[marker]
	switch {
	case sent && len(reasons) > 0:
		return readMarker(reasons[0])
	case sent:
		return faultMarker
	case r.ProtoMajor >= 2:
		return judgeParsed(r)
	}
	return nil
}

func readMarker(value string) *Fault {
	status, message, _ := strings.Cut(value, " ")
	switch n, _ := strconv.Atoi(status); n {
	case http.StatusBadRequest, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return &Fault{n, message}
	}
	return faultMarker
}

// A BodyError is what reading a request body gives when its chunked framing
// may be read in two ways. The connection ends with it.
type BodyError struct{ Reason string }

func (e *BodyError) Error() string { return "malformed request body: " + e.Reason }

// BodyFault returns what was wrong with the chunked coding of the body of the
// request that ctx belongs to, nil if nothing. net/http ends the request's
// context at such a fault and may put its own error in the place of a
// BodyError, so who wants to know asks here.
func BodyFault(ctx context.Context) *Fault {
	s, _ := ctx.Value(sessionKey{}).(*session)
	if s == nil || s.framed.Load() == nil {
		return nil
	}
	if e := s.framed.Load().broken.Load(); e != nil {
		return fault(http.StatusBadRequest, "The chunked coding of the request's body is broken: %s. Send the body with a Content-Length, or correct how it is cut into chunks.", e.Reason)
	}
	return nil
}

type sessionKey struct{}

// TLSState returns the TLS state of r's connection, nil for plain HTTP.
// net/http sets r.TLS only for HTTP/2 here, since it does not see the TLS
// connection behind a guarded HTTP/1 one.
func TLSState(r *http.Request) *tls.ConnectionState {
	if r.TLS != nil {
		return r.TLS
	}
	if s, _ := r.Context().Value(sessionKey{}).(*session); s != nil {
		return s.state
	}
	return nil
}
