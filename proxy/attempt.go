package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/limits"
	"dynproxy/internal/problem"
	"dynproxy/internal/refusal"
	"dynproxy/internal/retryafter"
)

// attempt is one try at the organization, and what became of it.
type attempt struct {
	result result
	resp   *http.Response // nil with err
	err    error
	token  string
	sent   bool          // whether anything of the request may have arrived
	told   time.Duration // Retry-After of an answer that is unavailable
}

// result is what an attempt came to.
type result uint8

const (
	answered     result = iota // the organization's own words, whatever they say
	failed                     // err says how
	tokenRefused               // a 401, or a way to a sign-in page
	webPage                    // a page where an answer should be
	throttled                  // refused by a service protection limit, before it was executed
	unavailable                // 502, 503 or 504
)

func (r result) String() string {
	return [...]string{"answered", "failed", "token_refused", "web_page", "throttled", "unavailable"}[r]
}

// attempt waits for a place, takes a token and sends r. The place is given
// back, with what the answer taught, when the answer has ended.
func (t *transport) attempt(r *http.Request, c *call) *attempt {
	a := &attempt{result: failed}
	c.said = refusal.Refusal{}
	c.try()
	defer c.tried(a)
	pass, err := t.budgets.enter(r.Context(), c)
	if err != nil {
		a.err = err
		return a
	}
	outcome := limits.Outcome{Operations: c.operations}
	if t.authorize(r, c, a) {
		outcome.Took = t.send(r, c, a)
	}
	outcome.Sent, outcome.Answered = a.sent, a.err == nil
	if a.err != nil {
		pass.Done(outcome)
		return a
	}
	began := time.Now()
	outcome.Feedback = feedbackOf(a.resp, c)
	a.resp.Body = &leaving{ReadCloser: a.resp.Body, pass: pass, outcome: outcome}
	a.judge(outcome.Feedback)
	c.awaited(time.Since(began))
	return a
}

// authorize takes the token. It reports whether the request may leave: a token
// goes to the organization it was minted for, and nowhere else.
func (t *transport) authorize(r *http.Request, c *call, a *attempt) bool {
	began := time.Now()
	a.token, a.err = t.tokens.Token(r.Context(), c.tenant)
	took := time.Since(began)
	c.minted += took
	c.tries[len(c.tries)-1].Token = took
	if a.err == nil && (r.URL.Scheme != "https" || r.URL.Host != c.tenant.OrgHost()) {
		a.err = problem.New(problem.TenantMisconfigured, "The call would have left the organization %s.", c.tenant.OrgHost())
	}
	return a.err == nil
}

// send puts the request on the wire and returns how long the answer took to
// begin, or the wait for it to end.
func (t *transport) send(r *http.Request, c *call, a *attempt) time.Duration {
	out := r.WithContext(r.Context())
	if len(c.tries) > 1 {
		out.Header = out.Header.Clone() // the attempt before may still be writing it
	}
	out.Header["Authorization"] = []string{a.token}
	out.Body, out.ContentLength, out.GetBody = nil, 0, nil
	if c.body != nil {
		out.Body, out.ContentLength = c.body.open(), c.body.length
		out.GetBody = c.body.reopen
	}
	c.trace.Send(len(c.tries)-1, c.started.Add(c.tries[len(c.tries)-1].Began), out.Header)
	began := time.Now()
	a.resp, a.err = t.wire.RoundTrip(out)
	took := time.Since(began)
	c.awaited(took)
	if a.sent = a.err == nil || sent(a.err); a.sent {
		c.attempts++
	}
	return took
}

// sent reports whether any of a request that ended with err may have arrived.
// What is not known to have stayed here counts as sent.
func sent(err error) bool {
	e, ok := errors.AsType[*egress.Error](err)
	return !ok || e.Sent > 0
}

// judge says what the answer is.
func (a *attempt) judge(feedback limits.Feedback) {
	switch {
	case refusesToken(a.resp):
		a.result = tokenRefused
	case feedback.Refused != limits.None:
		a.result = throttled
	case isWebPage(a.resp):
		a.result = webPage
	case a.resp.StatusCode == http.StatusBadGateway, a.resp.StatusCode == http.StatusServiceUnavailable, a.resp.StatusCode == http.StatusGatewayTimeout:
		a.result = unavailable
		a.told, _ = retryafter.Parse(a.resp.Header.Get("Retry-After"), retryafter.Clock(a.resp.Header))
	default:
		a.result = answered
	}
}

// refusesToken reports whether another token may help.
func (a *attempt) refusesToken() bool { return a.result == tokenRefused || a.result == webPage }

// refusesToken reports whether resp says that the token is no good: 401, or
// the way to a sign-in page.
func refusesToken(resp *http.Response) bool {
	if resp.StatusCode == http.StatusUnauthorized {
		return true
	}
	if resp.StatusCode < 300 || resp.StatusCode >= 400 {
		return false
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	return err == nil && to.Host != "" && (strings.HasPrefix(to.Host, "login.") || strings.Contains(to.Path, "/oauth2/"))
}

// discard reads what little may be left, so that the connection can serve
// again, and closes. The place in the budget is free then.
func (a *attempt) discard() {
	if a.resp == nil {
		return
	}
	io.CopyN(io.Discard, a.resp.Body, 64<<10)
	a.resp.Body.Close()
}

// leaving gives a place in the budget back at the end of an answer.
type leaving struct {
	io.ReadCloser
	pass    *limits.Pass
	outcome limits.Outcome
	once    sync.Once
}

func (l *leaving) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		l.done()
	}
	return n, err
}

func (l *leaving) Close() error {
	l.done()
	return l.ReadCloser.Close()
}

func (l *leaving) done() { l.once.Do(func() { l.pass.Done(l.outcome) }) }
