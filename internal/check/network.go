package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"syscall"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/problem"
)

const (
	skewTold  = time.Minute
	skewGrave = 5 * time.Minute // Entra ID takes no assertion that is off by more
)

// stages are the moments of one request on a connection of its own.
type stages struct {
	began, named, connected, secured time.Time
	proxied                          bool
}

// network asks the organization anonymously and notes all links from its name
// to its challenge. It reports whether the organization answered.
func (r *run) network(ctx context.Context) bool {
	ctx, cancel := r.checker.within(ctx)
	defer cancel()
	way := r.checker.Organization.Clone()
	way.DisableKeepAlives = true
	defer way.CloseIdleConnections()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, r.t.Org+"/api/data/v9.2/WhoAmI", nil)
	if err != nil {
		r.note(Name, Broken, "the organization's address cannot be used", "Correct ORG_URL.")
		return false
	}
	s := stages{began: time.Now()}
	if way.Proxy != nil {
		out, err := way.Proxy(ask)
		s.proxied = err == nil && out != nil
	}
	// A dial goes on for a while when its request has been given up.
	var mu sync.Mutex // guards seen
	seen := s
	note := func(at *time.Time, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil && at.IsZero() {
			*at = time.Now()
		}
	}
	resp, err := way.RoundTrip(ask.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart:     func(string, string) { note(&seen.named, nil) },
		ConnectDone:      func(_, _ string, err error) { note(&seen.connected, err) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { note(&seen.secured, err) },
	})))
	mu.Lock()
	s = seen
	mu.Unlock()
	if err != nil {
		r.unreached(s, err)
		return false
	}
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	r.passed(s, 3)
	r.clock(resp)
	r.challenge(resp)
	return true
}

// passed notes how many of name, connection and TLS hold.
func (r *run) passed(s stages, n int) {
	by := ""
	if s.proxied {
		by = " by the proxy of HTTPS_PROXY"
	}
	for i, l := range []struct {
		name, finding string
		from, to      time.Time
	}{
		{Name, r.t.OrgHost() + " is resolved" + by, s.began, s.named},
		{Connection, "made" + by, s.named, s.connected},
		{TLS, "verified", s.connected, s.secured},
	} {
		if i < n {
			r.noteTook(l.name, OK, l.finding, "", max(0, l.to.Sub(l.from)))
		}
	}
	r.began = time.Now()
}

// unreached notes which of the links to the organization is broken.
func (r *run) unreached(s stages, err error) {
	r.callersGet(string(problem.UpstreamUnreachable))
	host := r.t.OrgHost()
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		r.note(Name, Broken, dns.Name+": "+egress.Explain(err), "Check ORG_URL for a slip, and this machine's name service; where names are resolved by a proxy, set HTTPS_PROXY.")
		return
	}
	if late(err) {
		r.report.Error = string(problem.UpstreamTimeout)
	}
	// Only a connection that stood can be reset, however early.
	stood := !s.connected.IsZero() || errors.Is(err, syscall.ECONNRESET)
	switch {
	case !stood:
		r.passed(s, 1)
		next := "Let this machine connect to " + withPort(host) + ", or set HTTPS_PROXY where a proxy leads out."
		if errors.Is(err, egress.ErrPrivate) {
			next = "If a private address is right for it, add " + host + " to ALLOWED_ORG_HOSTS; else look why the name leads there."
		}
		r.note(Connection, Broken, "no connection to "+host+": "+egress.Explain(err), next)
	case s.secured.IsZero():
		r.passed(s, 2)
		finding, next := insecure(err)
		r.note(TLS, Broken, finding, next)
	default:
		r.passed(s, 3)
		r.note(Challenge, Broken, "the connection was made and no answer came: "+egress.Explain(err), "Try again; if it stays, look whether something between closes connections to "+host+".")
	}
}

// late reports whether err is that nothing came in time.
func late(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// insecure says why a TLS connection failed.
func insecure(err error) (finding, next string) {
	finding = egress.Explain(err)
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if len(cert.UnverifiedCertificates) > 0 {
			if name := cert.UnverifiedCertificates[0].Issuer.String(); name != "" {
				finding += "; it was issued by " + name
			}
		}
		return finding, "If that is your company's inspecting proxy, name its CA in TRUSTED_CA_FILE; if not, somebody answers in the organization's name."
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return finding, "Check host and port of ORG_URL, and whether something between answers in the organization's place."
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return finding, "Look whether something between speaks TLS 1.2 or later, and whether the address is right."
	}
	return "in the middle of the TLS handshake: " + finding,
		"Look whether something between ends such connections (a firewall that goes by the name of the host often does), and whether the address is right."
}

// withPort says host and port as a firewall's rule names them.
func withPort(authority string) string {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		host, port = authority, "443"
	}
	return host + " on port " + port
}

func (r *run) clock(resp *http.Response) {
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		r.note(Clock, OK, "the organization does not tell its time", "")
		return
	}
	skew := time.Since(there).Round(time.Second)
	size := max(skew, -skew)
	which := "fast"
	if skew < 0 {
		which = "slow"
	}
	switch {
	case size > skewGrave:
		r.note(Clock, Warning, fmt.Sprintf("this machine's clock is %v %s", size, which), "Set the clock: certificates and assertions are refused when it is off by more than five minutes, and tokens end at the wrong time.")
	case size > skewTold:
		r.note(Clock, Warning, fmt.Sprintf("this machine's clock is %v %s", size, which), "Set the clock, or have it set by a time service.")
	default:
		r.note(Clock, OK, "right", "")
	}
}

// challenge judges the answer to a request without a token.
func (r *run) challenge(resp *http.Response) {
	bearer := false
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		bearer = bearer || strings.HasPrefix(strings.ToLower(challenge), "bearer")
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && bearer:
		r.note(Challenge, OK, "the organization asks for a token", "")
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		r.note(Challenge, Warning, fmt.Sprintf("status %d to a request without a token", resp.StatusCode), "The organization is busy or down: try again, and look at its status in the Power Platform admin center.")
	default:
		r.note(Challenge, Broken, fmt.Sprintf("status %d to a request without a token: that is no answer of an organization", resp.StatusCode), "Check ORG_URL: it must be the organization's address, such as https://contoso.crm.dynamics.com.")
	}
}
