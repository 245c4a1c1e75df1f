package entra

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/panics"
)

// Authority is where an organization's tokens come from.
type Authority struct{ Login, TenantID string }

// AuthorityResolver asks organizations which tenant they belong to: an anonymous request
// is answered with a challenge that names it. What was found is kept, until there
// is reason to doubt it.
type AuthorityResolver struct {
	Transport http.RoundTripper
	// LoginAllowed reports whether a login host may be spoken to.
	LoginAllowed func(hostport string) bool
	Log          zerolog.Logger

	mu    sync.Mutex // guards what follows
	found map[string]*entry
}

type entry struct {
	done      chan struct{} // of the question under way, nil without one
	authority Authority
	asked     time.Time // for it, last
	doubted   bool      // so that the next Find asks again
	failed    *Error
	until     time.Time
	faults    int
}

const (
	findWithin = 20 * time.Second
	doubtEvery = time.Minute // at most, of one organization
)

// Find returns the authority of the organization org ("https://host"). One
// question serves all who ask at the same time, and a failure is remembered
// for a while. Its errors are *Error, of class Configuration when the answer
// is none of an organization, Transient when there is none; or ctx's own.
func (f *AuthorityResolver) Find(ctx context.Context, org string) (Authority, error) {
	f.mu.Lock()
	g := f.found[org]
	if g == nil {
		if f.found == nil {
			f.found = make(map[string]*entry)
		}
		g = &entry{}
		f.found[org] = g
	}
	if g.authority.TenantID != "" && !g.doubted {
		defer f.mu.Unlock()
		return g.authority, nil
	}
	if left := time.Until(g.until); g.failed != nil && g.done == nil && left > 0 {
		defer f.mu.Unlock()
		return Authority{}, g.failed.after(left)
	}
	if g.done == nil {
		g.done = make(chan struct{})
		go f.ask(org, g) // ends within findWithin
	}
	done := g.done
	f.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return Authority{}, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.failed != nil {
		return Authority{}, g.failed
	}
	return g.authority, nil
}

// Remembered returns the failure that Find would tell of org at once, nil if it
// knows the authority or would ask.
func (f *AuthorityResolver) Remembered(org string) *Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.found[org]
	if g == nil || g.authority.TenantID != "" || g.failed == nil || g.done != nil {
		return nil
	}
	if left := time.Until(g.until); left > 0 {
		return g.failed.after(left)
	}
	return nil
}

// Doubt says that what org told of its tenant seems to be wrong, and reports
// whether the next Find asks again. Until another answer comes the old one
// holds.
func (f *AuthorityResolver) Doubt(org string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.found[org]
	if g == nil || g.authority.TenantID == "" || time.Since(g.asked) < doubtEvery {
		return false
	}
	g.doubted = true
	return true
}

// Forget lets the next Find of org ask again.
func (f *AuthorityResolver) Forget(org string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.found, org)
}

// Retain forgets the organizations that keep does not keep.
func (f *AuthorityResolver) Retain(keep func(org string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.found, func(org string, _ *entry) bool { return !keep(org) })
}

func (f *AuthorityResolver) ask(org string, g *entry) {
	ctx, cancel := context.WithTimeout(context.Background(), findWithin)
	defer cancel()
	authority, failed := f.guarded(ctx, org)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case failed == nil:
		if g.doubted && authority != g.authority {
			f.Log.Warn().Str("organization", org).Str("was", g.authority.TenantID).Str("tenant_id", authority.TenantID).Msg("the organization belongs to another tenant now")
		}
		g.authority, g.failed = authority, nil
	case !g.doubted:
		g.remember(failed)
	}
	g.doubted, g.asked = false, time.Now()
	close(g.done)
	g.done = nil
}

// remember notes that there is no answer: for no long time where nothing was
// reached, since that bothers nobody and may be over at any moment.
func (g *entry) remember(failed *Error) {
	g.faults++
	longest := longestMemory
	if failed.Class == Transient && failed.Status == 0 {
		longest = longestOutage
	}
	wait := max(failed.RetryAfter, backOff(Transient, g.faults, longest))
	g.failed, g.until = failed.after(wait), time.Now().Add(wait)
}

// guarded is challenge, whose faults cost one answer and not the process.
func (f *AuthorityResolver) guarded(ctx context.Context, org string) (authority Authority, failed *Error) {
	defer panics.Recover(f.Log, "challenge", func() { authority, failed = Authority{}, &Error{Class: Transient, Reason: ownFault} })
	return f.challenge(ctx, org)
}

// ownFault is the reason of a failure that is a panic, which the log tells of.
const ownFault = "a fault of the proxy itself; the log says where"

// challenge asks org once, and remembers nothing.
func (f *AuthorityResolver) challenge(ctx context.Context, org string) (Authority, *Error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, org+"/api/data/v9.2/WhoAmI", nil)
	if err != nil {
		return Authority{}, &Error{Class: Configuration, Reason: "the organization's address cannot be used", Cure: "Correct ORG_URL."}
	}
	r.Close = true                        // nothing more is asked there for long, and of ten thousand tenants each kept connection counts
	resp, err := f.Transport.RoundTrip(r) // which follows no redirect
	if err != nil {
		return Authority{}, &Error{Class: Transient, Reason: "the organization cannot be reached", Err: plain(err)}
	}
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return Authority{}, &Error{Class: Transient, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header), Reason: "the organization does not answer"}
	case resp.StatusCode != http.StatusUnauthorized:
		return Authority{}, &Error{Class: Configuration, Status: resp.StatusCode, Reason: "the address does not answer as an organization does, with a challenge"}
	}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		if authority, ok := readChallenge(challenge); ok {
			if !f.LoginAllowed(authority.Login) {
				return Authority{}, &Error{Class: Configuration, Reason: fmt.Sprintf("the organization names the login host %s, which is not allowed; if it is right, add it to DYNPROXY_ALLOWED_LOGIN_HOSTS", authority.Login), Cure: "Correct ORG_URL, or allow the login host."}
			}
			return authority, nil
		}
	}
	return Authority{}, &Error{Class: Configuration, Status: resp.StatusCode, Reason: "the organization's challenge names no tenant; set TENANT_ID"}
}

var (
	authorizationURI = regexp.MustCompile(`(?i)\bauthorization(?:_uri)?\s*=\s*"?([^",\s]+)`)
	tenantSegment    = regexp.MustCompile(`^[0-9a-z][0-9a-z.-]*$`)
	hostAndPort      = regexp.MustCompile(`^([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?$`)
)

// readChallenge finds login host and tenant in a Bearer challenge, leniently in
// form and strictly in content.
func readChallenge(challenge string) (Authority, bool) {
	if scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " "); !strings.EqualFold(scheme, "Bearer") {
		return Authority{}, false
	}
	match := authorizationURI.FindStringSubmatch(challenge)
	if match == nil {
		return Authority{}, false
	}
	u, err := url.Parse(match[1])
	if err != nil || u.Scheme != "https" || u.User != nil {
		return Authority{}, false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":443")
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	tenant = strings.ToLower(tenant)
	if !hostAndPort.MatchString(host) || !isTenant(tenant) {
		return Authority{}, false
	}
	return Authority{Login: strings.Clone(host), TenantID: strings.Clone(tenant)}, true // which keep no header alive
}

// isTenant reports whether s, in lower case, names one tenant by its id or a
// domain, and is nothing else in a path.
func isTenant(s string) bool {
	switch s {
	case "common", "organizations", "consumers":
		return false
	}
	return tenantSegment.MatchString(s)
}
