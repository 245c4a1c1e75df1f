package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"dynproxy/internal/limits"
)

// pace is the stage where a call waits for a place in its tenant's budget. The
// place is given back, with what the answer taught, when the answer has ended.
type pace struct {
	budgets *budgets
	next    http.RoundTripper
}

func (p *pace) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callFrom(r.Context())
	pass, err := p.budgets.enter(r.Context(), c)
	if err != nil {
		return nil, err
	}
	c.sent = 0
	resp, err := p.next.RoundTrip(r)
	dial, _ := errors.AsType[*net.OpError](err)
	neverLeft := c.sent == 0 || dial != nil && dial.Op == "dial"
	outcome := limits.Outcome{Sent: !neverLeft, Answered: err == nil, Took: c.sent, Operations: c.operations}
	if err != nil {
		pass.Done(outcome)
		return nil, err
	}
	outcome.Feedback = feedbackOf(resp)
	c.throttled = outcome.Feedback.Refused != limits.None
	resp.Body = &leaving{ReadCloser: resp.Body, pass: pass, outcome: outcome}
	return resp, nil
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

// feedbackOf reads what an answer says about the budget.
func feedbackOf(resp *http.Response) limits.Feedback {
	var feedback limits.Feedback
	if resp.StatusCode == http.StatusTooManyRequests || isFault(resp) {
		said := refusalIn(resp)
		feedback = limits.ReadRefusal(said.Code, said.Message, said.RetryAfter, time.Now())
		if resp.StatusCode == http.StatusTooManyRequests && feedback.Refused == limits.None {
			feedback.Refused = limits.Requests // a 429 is a 429, whatever its body
		}
	}
	return feedback.WithHeaders(
		resp.Header.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests"),
		resp.Header.Get("X-Ms-Ratelimit-Time-Remaining-Xrm-Requests"),
		resp.Header.Get("X-Ms-Dop-Hint"))
}
