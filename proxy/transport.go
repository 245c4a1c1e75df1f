package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/problem"
	"dynproxy/internal/retryafter"
)

// transport is the loop of attempts. Each waits for its own place in the
// budget and then takes its own token: one can expire while the other is
// waited for.
type transport struct {
	budgets *budgets
	tokens  TokenSource
	wire    http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callFrom(r.Context())
	asked := question{method: r.Method, ifMatch: r.Header.Get("If-Match"), patience: c.tenant.QueueWait, enforce: c.tenant.Limits == "enforce"}
	if c.overridden {
		asked.method = http.MethodPost // nobody here knows what it will be taken for
		r = r.WithContext(egress.Once(r.Context()))
	}
	var past history
	for {
		a := t.attempt(r, c)
		asked.replayable = c.body.replayable() && r.Context().Err() == nil
		asked.renewed = a.refusesToken() && !past.renewed && t.tokens.Invalidate(c.tenant, a.token, a.resp.Header["Www-Authenticate"])
		next := retry(asked, past, a)
		if !next.again {
			if a.err == nil {
				c.answered = time.Now()
			}
			return t.answer(c, asked, past, a)
		}
		past = past.with(a)
		c.drop(a)
		if err := c.pause(r.Context(), next.pause); err != nil {
			return nil, err
		}
	}
}

// answer is what the caller gets after the last attempt. A 401 never: it would
// start a password prompt.
func (t *transport) answer(c *call, asked question, past history, a *attempt) (*http.Response, error) {
	host := c.tenant.OrgHost()
	switch {
	case a.err != nil && c.body.failure() != nil:
		return nil, a.err
	case past.lost && asked.writes() && a.hides():
		a.discard()
		return nil, &problem.Error{Code: problem.UpstreamUnreachable, Err: a.err, Message: "The answer of " + host + " was lost: the request may have been carried out. Look at the record before you send it again."}
	case a.err != nil:
		return nil, unanswered(c.tenant, asked, past, a.err)
	case a.result == tokenRefused && asked.renewed:
		a.discard()
		return nil, problem.New(problem.TokenRefused, "The organization %s refused the token, and the request's body is not kept, so that it cannot be sent a second time by itself; a new token is on its way: send the request again.", host)
	case a.result == tokenRefused:
		a.discard()
		return nil, problem.New(problem.TokenRefused, "The organization %s refuses a fresh token. Check that ORG_URL and TENANT_ID belong together: dynproxy check %s", host, c.tenant.Name)
	case a.result == webPage:
		a.discard()
		return nil, problem.New(problem.NotAnAnswer, "A web page came in place of %s's answer: a sign-in page, or something between this machine and the organization, such as a proxy that inspects or a portal that wants to be clicked. Next: dynproxy check %s", host, c.tenant.Name)
	}
	return a.resp, nil
}

// hides reports whether the attempt's own end would hide what became of one
// before it, whose answer was lost. That may have done what this one finds
// done, and a refusal for any other reason says that nothing was.
func (a *attempt) hides() bool {
	switch a.result {
	case failed:
		_, told := errors.AsType[*egress.Error](a.err) // these say what may have become of the request
		return !told && !errors.Is(a.err, context.Canceled)
	case tokenRefused, webPage, throttled:
		return true
	}
	return a.resp.StatusCode == http.StatusPreconditionFailed || a.resp.StatusCode == http.StatusNotFound
}

// pause waits before the next attempt.
func (c *call) pause(ctx context.Context, d time.Duration) error {
	began := time.Now()
	err := retryafter.Sleep(ctx, d)
	took := time.Since(began)
	c.tries[len(c.tries)-1].Pause = took
	c.paused += took
	return err
}

// drop lets go of an answer that is not passed on.
func (c *call) drop(a *attempt) {
	began := time.Now()
	a.discard()
	c.awaited(time.Since(began))
}
