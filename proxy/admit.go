package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"dynproxy/internal/callers"
	"dynproxy/internal/httpguard"
	"dynproxy/internal/limits"
	"dynproxy/internal/odata"
	"dynproxy/internal/problem"
	"dynproxy/internal/retryafter"
)

// admit decides whether the call may go on, and fills c. Its answer is an
// *problem.Error or nil.
func (h *Handler) admit(c *call, w http.ResponseWriter, r *http.Request) error {
	if err := h.judge(c, r); err != nil {
		return err
	}
	if err := c.waitForOwnRate(r.Context(), h.Rates); err != nil {
		return err
	}
	c.gzip = takesGzip(r.Header)
	return h.takeBody(c, w, r)
}

// judge is what admit decides from the head of the request. It spends nothing.
func (h *Handler) judge(c *call, r *http.Request) error {
	if h.draining.Load() {
		return &problem.Error{Code: problem.Draining, Message: "The proxy is shutting down; try again.", RetryAfter: retryWhenDraining}
	}
	if wrong := httpguard.Rejected(r); wrong != nil {
		return malformed(wrong)
	}
	if err := h.enter(c, r); err != nil {
		return err
	}
	if err := h.identify(c, r); err != nil {
		return err
	}
	if holdsBodyBack(r) {
		return problem.New(problem.BadRequest, "The client signs in by NTLM and keeps its %s's body until it is challenged, which the proxy never does. Turn NTLM off in the client: curl without --ntlm, CURLAUTH_BASIC in place of CURLAUTH_NTLM in PHP.", r.Method)
	}
	to, err := readTarget(r.RequestURI)
	if err != nil {
		return err
	}
	if err := h.findTenant(c, r, to); err != nil {
		return err
	}
	c.clientID = h.Tokens.ClientID(c.tenant)
	c.batch = odata.IsBatch(c.path)
	if c.batch && r.Method != http.MethodPost {
		// There are servers that carry it out all the same.
		return problem.New(problem.BadRequest, "A batch is sent by POST, not by %.20s.", r.Method)
	}
	asked := operation{r.Method, c.path, c.query, r.Header, c.batch}
	c.overridden = asked.overriding() != ""
	if err := c.allowed(asked); err != nil {
		return err
	}
	return nil
}

func malformed(wrong *httpguard.Fault) *problem.Error {
	return &problem.Error{Code: problem.BadRequest, HTTPStatus: wrong.Status, Message: wrong.Message}
}

// holdsBodyBack reports whether r begins a sign-in by NTLM that nobody asked
// for. Its body is empty whatever the caller means to send (libcurl does so,
// and so what builds on it): the organization would be asked for something else.
func holdsBodyBack(r *http.Request) bool {
	const first = "TlRMTVNTUAAB" // NTLMSSP, and the number of its first message
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	_, told := r.Header["Content-Length"]
	return told && r.ContentLength == 0 && strings.HasPrefix(strings.TrimSpace(token), first)
}

// identify finds out who calls, where callers must be known. It comes before
// the tenant is looked for: to a stranger every tenant is unknown.
func (h *Handler) identify(c *call, r *http.Request) error {
	if !h.Callers.Configured() {
		return nil
	}
	identify := h.Callers.Identify
	if c.identify != nil {
		identify = c.identify
	}
	who, err := identify(r, c.addr, httpguard.TLSState(r))
	if stranger, ok := errors.AsType[*callers.Unauthorized](err); ok {
		message := "The proxy does not know this caller. Send the caller's key as X-Api-Key, or its name and key by HTTP Basic."
		if stranger.Hint != "" {
			message = stranger.Hint
		}
		return &problem.Error{Code: problem.Unauthorized, Message: message, Challenges: h.Callers.Challenges(), Err: stranger}
	}
	if err != nil {
		return err
	}
	c.known, c.way, c.proof, c.caller, c.weight, c.person = who.Caller, who.Way, who.Reply, who.Caller.Name, who.Caller.Weight, who.ObjectID
	return nil
}

// errWithdrawn ends a connection that was made while its caller's certificate
// still counted.
var errWithdrawn = errors.New("the authority of the client certificate is trusted no more")

// enter judges what can be judged without knowing the tenant.
func (h *Handler) enter(c *call, r *http.Request) error {
	policy := h.entrance.Load()
	if !policy.admits(c.addr) {
		return problem.New(problem.Forbidden, "Calls from %s are not allowed; an operator can add the address to DYNPROXY_ALLOW_CIDRS.", c.addr)
	}
	if policy.Vouched != nil && !policy.Vouched(httpguard.TLSState(r)) {
		return &problem.Error{Code: problem.Unauthorized, Message: "The authority of this client certificate is not trusted any more. Show one of an authority that is.", Err: errWithdrawn}
	}
	if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		return problem.New(problem.BadRequest, "The method %s is not for an organization.", r.Method)
	}
	if name := httpguard.HostName(r.Host); policy.HostAllowed != nil && !policy.HostAllowed(name) && h.Tenants.ByHost(name) == nil {
		if !strings.HasPrefix(r.RequestURI, "/") {
			return problem.New(problem.BadRequest, "This is no forward proxy: set no HTTP proxy, and write http://<proxy>/<tenant>/... in place of http://%s/...", r.Host)
		}
		return problem.New(problem.BadRequest, "The proxy does not go by the name in the Host header; an operator can add it to DYNPROXY_ALLOWED_HOSTS.")
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return problem.New(problem.Forbidden, "Web pages of other sites may not call through the proxy: the header Sec-Fetch-Site says %s.", site)
	}
	if r.Header.Get("Origin") != "" && !sameOrigin(r) {
		return problem.New(problem.Forbidden, "Web pages of other sites, files and browser extensions may not call through the proxy: the header Origin names another place than this. A program that is no web page must leave it out.")
	}
	return nil
}

func (e *AccessPolicy) admits(addr netip.Addr) bool {
	if len(e.Addresses) == 0 {
		return true
	}
	for _, p := range e.Addresses {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap().WithZone("")
}

func sameOrigin(r *http.Request) bool {
	_, authority, _ := strings.Cut(r.Header.Get("Origin"), "://")
	return strings.EqualFold(authority, r.Host)
}

// findTenant finds whom the call is for, by Host or by the first segment of
// the path, and how links have to be written for it.
func (h *Handler) findTenant(c *call, r *http.Request, to target) error {
	c.path, c.query, c.asked = to.path, to.query, to.asked
	prefix := ""
	if c.tenant = h.Tenants.ByHost(httpguard.HostName(r.Host)); c.tenant == nil {
		var name string
		name, c.path = firstSegment(to.path)
		if c.tenant = h.Tenants.Lookup(name); c.tenant == nil {
			if err := c.denied(strings.ToLower(name), r.Method); err != nil {
				return err
			}
			return h.unknown(name)
		}
		prefix = "/" + name
	}
	if err := c.denied(c.tenant.Name, r.Method); err != nil {
		return err
	}
	c.path = joinSlashes(c.path)
	c.links = h.linksFor(c.tenant, r, prefix)
	var err error
	if c.query, err = c.links.QueryToOrg(c.query); err != nil {
		return problem.New(problem.BadRequest, "In the query %v.", err)
	}
	return nil
}

// joinSlashes joins those that begin a path: a base address is often written
// with a slash at its end, and another one before what is asked for.
func joinSlashes(path string) string {
	for strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	return path
}

// lacksTenant reports whether name, the first segment of a path, shows that the
// tenant was left out.
func lacksTenant(name string) bool {
	return name == "" || strings.EqualFold(name, "api") || strings.EqualFold(name, "XRMServices")
}

func (h *Handler) unknown(name string) *problem.Error {
	if lacksTenant(name) {
		return problem.New(problem.TenantUnknown, "The path lacks the tenant. The address is http://<proxy>/<tenant>/api/data/v9.2/...; 'dynproxy tenant list' names the tenants.")
	}
	if fault := h.Tenants.Faults()[strings.ToLower(name)]; fault != nil && name != "" {
		return problem.New(problem.TenantUnknown, "The settings of tenant %q have a fault; the log and 'dynproxy check' say which.", name)
	}
	return problem.New(problem.TenantUnknown, "There is no tenant %q here. The address is http://<proxy>/<tenant>/api/data/v9.2/...; 'dynproxy tenant list' names the tenants.", name)
}

// denied judges a known caller by its own file. To one that is not for a
// tenant it makes no difference whether there is such a tenant.
func (c *call) denied(tenant, method string) error {
	if c.known == nil {
		return nil
	}
	if denied := c.known.Allows(tenant, method, c.addr); denied != nil {
		if lacksTenant(tenant) {
			return problem.New(problem.Forbidden, "The path lacks the tenant: write /<tenant>/api/data/v9.2/... (%s has no right to all of them).", c.caller)
		}
		return problem.New(problem.Forbidden, "The caller %s may not do this at %s: %s. An operator can change that in its file in the callers directory.", c.caller, tenant, denied.Reason)
	}
	return nil
}

// waitForOwnRate holds a caller to the rate of its file, before it spends
// anything of its tenant's budget.
func (c *call) waitForOwnRate(ctx context.Context, rates callers.Rates) error {
	if c.known == nil {
		return nil
	}
	began := time.Now()
	defer func() { c.held = time.Since(began) }()
	for {
		wait := c.known.Wait(ctx, rates)
		if wait == 0 {
			return nil
		}
		if time.Since(began)+wait > c.tenant.QueueWait {
			return c.beyondOwnRate(wait)
		}
		if err := retryafter.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (c *call) beyondOwnRate(wait time.Duration) *problem.Error {
	return &problem.Error{
		Code: problem.LimitWaitExceeded, Dataverse: limits.Requests.Code(), RetryAfter: wait,
		Message: fmt.Sprintf("The caller %s sends more than its file allows.", c.caller),
	}
}

// takesGzip reads Accept-Encoding. What it says of gzip outranks what it says of
// any coding.
func takesGzip(header http.Header) bool {
	takes := false
	for _, line := range header["Accept-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			name, weight, weighted := strings.Cut(coding, ";")
			name, weight = strings.TrimSpace(name), strings.TrimSpace(weight)
			wanted := !weighted || strings.Trim(weight, "qQ=0.") != ""
			switch {
			case strings.EqualFold(name, "gzip"):
				return wanted
			case name == "*":
				takes = wanted
			}
		}
	}
	return takes
}
