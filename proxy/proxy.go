// Package proxy carries one call, from the caller to its tenant's organization
// and back, so that the organization seems to stand at the proxy.
package proxy

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/callers"
	"dynproxy/internal/calls"
	"dynproxy/internal/limits"
	"dynproxy/internal/odata"
	"dynproxy/internal/problem"
	"dynproxy/internal/spool"
	"dynproxy/internal/tracing"
	"dynproxy/tenants"
)

// TokenSource has the tokens with which organizations let calls in.
type TokenSource interface {
	// Token returns the value of the Authorization header for a call to t's
	// organization. Its errors are *problem.Error.
	Token(ctx context.Context, t *tenants.Tenant) (string, error)

	// Invalidate says that t's organization refused token, with these challenges
	// (WWW-Authenticate). It reports whether there is, or will be, another token:
	// without one, sending again is in vain.
	Invalidate(t *tenants.Tenant, token string, challenges []string) bool

	// ClientID returns the app registration that t's tokens are for: with the
	// organization, it says whose budget a call spends.
	ClientID(t *tenants.Tenant) string
}

// Parts are what a Handler is made of.
type Parts struct {
	Tenants *tenants.Book
	Callers *callers.Book
	Tokens  TokenSource
	Gate    *limits.Gate
	Rates   callers.Rates     // of callers, where several proxies keep them; nil: this one does
	Spool   *spool.Place      // where bodies are kept
	Wire    http.RoundTripper // to the organizations; must not follow redirects or decode bodies, and fail with *egress.Error

	Access  AccessPolicy // at first: see SetAccess
	Log     zerolog.Logger
	Metrics *Metrics
	Tracer  *tracing.Tracer // nil where calls are not traced
	// Help, if set, is where people read about a refusal.
	Help func(problem.Code) string
	// OnCallDone, if set, is told of each call when it has ended. It must be
	// quick, and keep nothing of what it is given but by copying it.
	OnCallDone func(*calls.Call)
}

// Handler serves callers.
type Handler struct {
	Parts
	entrance atomic.Pointer[entrance]
	forward  *httputil.ReverseProxy
	budgets  budgets
	leaving  atomic.Bool
	draining atomic.Bool
}

// New returns a Handler that admits calls, waits for a place in the tenant's
// budget, attaches a token and sends them on through p.Wire.
func New(p Parts) *Handler {
	h := &Handler{Parts: p, budgets: budgets{tenants: p.Tenants, gate: p.Gate, tokens: p.Tokens}}
	h.SetAccess(p.Access)
	h.budgets.tell()
	if h.Spool == nil {
		h.Spool = new(spool.Place)
	}
	h.forward = &httputil.ReverseProxy{
		Rewrite:        outbound,
		Transport:      &transport{&h.budgets, p.Tokens, p.Wire},
		ModifyResponse: inbound,
		ErrorHandler:   h.writeError,
		FlushInterval:  flushInterval,
		BufferPool:     &copyBuffers,
		ErrorLog:       silent,
	}
	return h
}

// ServeHTTP is the whole trip: admit, then outbound, the attempts of
// transport at the organization, and inbound. An *problem.Error at any stage goes to writeError.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := newCall(r)
	c.trace = h.Tracer.Begin(c.header, c.started)
	r = r.WithContext(withCall(r.Context(), c))
	o := h.observe(w, r, c)
	defer o.done()
	defer h.survive(o, r)

	if err := h.admit(c, o, r); err != nil {
		h.writeError(o, r, err)
		return
	}
	h.forward.ServeHTTP(o, bare(r))
	if o.faulty {
		panic(http.ErrAbortHandler)
	}
}

// bare returns r without what ReverseProxy would copy only for outbound to put
// the call's own in its place.
func bare(r *http.Request) *http.Request {
	b := r.WithContext(r.Context())
	b.URL, b.Header, b.Trailer, b.Body, b.ContentLength, b.TransferEncoding = noURL, nil, nil, nil, 0, nil
	return b
}

var noURL = new(url.URL)

// SetAccess puts another policy in force, for calls that come from now on.
func (h *Handler) SetAccess(policy AccessPolicy) {
	h.entrance.Store(&entrance{policy, newSite(&policy, h.Tenants)})
}

// entrance is the policy in force, and the proxy's names by it.
type entrance struct {
	AccessPolicy
	site *odata.Site
}

// Leave makes answers from now on tell callers that their connection ends with
// them, so that the next call comes by a new one: to whoever listens then.
func (h *Handler) Leave() { h.leaving.Store(true) }

// Drain makes the Handler refuse what comes from now on. What is in flight
// goes on.
func (h *Handler) Drain() { h.draining.Store(true) }

// AccessPolicy says who may come in, before a tenant is looked at.
type AccessPolicy struct {
	PublicURL   string         // base that callers use, without a trailing slash; "" to take it from the request
	Addresses   []netip.Prefix // from where callers may connect; empty for everywhere
	Names       []string       // of this machine, and its addresses, in links: "localhost", "127.0.0.1", "::1"
	Ports       []string       // at which callers reach it, likewise
	HostAllowed func(host string) bool
	// Vouched reports whether what a caller has shown at its handshake still
	// counts; nil: it does.
	Vouched    func(*tls.ConnectionState) bool
	BodyIdle   time.Duration // how long a caller may stall in the middle of its request's body; 0 for ever
	AnswerIdle time.Duration // how long a caller may not take up its answer; 0 for ever
	MinRate    int           // bytes a second that a caller must send or take, beyond those pauses; 0 for no such bound
}
