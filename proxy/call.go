package proxy

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"dynproxy/internal/callers"
	"dynproxy/internal/calls"
	"dynproxy/internal/odata"
	"dynproxy/internal/problem"
	"dynproxy/internal/refusal"
	"dynproxy/internal/tracing"
	"dynproxy/tenants"
)

// call is one request on its trip: made when it arrives, filled by admit, and
// all that the later stages read of it. One goroutine at a time holds it.
type call struct {
	id      string // x-ms-client-request-id, the caller's or ours
	started time.Time
	header  http.Header // of the request; from outbound on it is the organization's
	answer  http.Header // what the caller gets

	addr     netip.Addr
	remote   string          // addr, as it is written
	identify identify        // nil but for a call that is only explained
	known    *callers.Caller // nil when callers need not be known
	way      string          // the proof by which the caller is known, or ""
	proof    string          // by which the caller knows the proxy in turn, or ""
	caller   string          // who calls, for logs and a fair share: a name, else the address
	weight   int             // of the caller's share
	person   string          // CallerObjectId to set, or ""

	tenant   *tenants.Tenant
	clientID string // of the app registration in whose name the tenant is called
	path     string // at the organization, raw as sent, without the query
	query    string // raw as sent, without '?', links in the organization's form
	asked    bool   // whether a '?' was sent
	links    *odata.Rewriter
	body     *body // nil for none
	batch    bool
	gzip     bool // whether the caller takes gzip

	endpoints  *endpointsWatch // of a SOAP message; nil for other calls
	overridden bool            // it asks to be taken for another method than that of its request line

	attempts   int // that were sent
	operations int // requests inside a batch, else 0

	held     time.Duration // by the caller's own rate
	read     time.Duration // what had to come of the body first
	queued   time.Duration
	minted   time.Duration
	upstream time.Duration   // until the answer began, all attempts together
	paused   time.Duration   // between attempts
	answered time.Time       // when the answer began that is passed on; zero for none
	service  string          // x-ms-service-request-id
	said     refusal.Refusal // of the organization, in the last attempt
	hint     refusal.Hint
	next     string // Dynproxy-Next
	failed   *problem.Error

	trace *tracing.Trace // nil where calls are not traced
	tries []calls.Try
	few   [2]calls.Try // what tries lie in, as a rule
	done  calls.Call   // what it was, in the end
}

// impersonation reports whether the caller may act as somebody else and go
// round plug-ins. One that is tied to a person may not.
func (c *call) impersonation() bool {
	return c.person == "" && (c.tenant.Impersonation || c.known != nil && c.known.Impersonation)
}

// identify finds out who calls, as callers.Book.Identify does.
type identify func(r *http.Request, addr netip.Addr, state *tls.ConnectionState) (callers.Identity, error)

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callFrom returns the call that travels with ctx. Without one it panics: the
// stages behind admit are never reached without.
func callFrom(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

const requestIDHeader = "X-Ms-Client-Request-Id"

func newCall(r *http.Request) *call {
	c := &call{weight: 1, id: r.Header.Get(requestIDHeader), started: time.Now(), header: r.Header, addr: remoteAddr(r)}
	c.remote = c.addr.String()
	c.caller, c.tries = c.remote, c.few[:0]
	if !plainID(c.id) {
		c.id = newID()
	}
	return c
}

// plainID keeps what a caller sent as its id from filling the log.
func plainID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.{}") == ""
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
