package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"dynproxy/internal/retryafter"
	"dynproxy/internal/secret"
)

const (
	answerWithin = 10 * time.Second
	restFirst    = time.Second
	restMost     = time.Minute           // between tries at a receiver that may be back any moment
	restRefused  = 10 * time.Minute      // at one that refuses what it is sent
	restTold     = time.Hour             // the longest Retry-After that is obeyed
	lookAtLeast  = time.Minute           // once in so long
	lookAtMost   = 50 * time.Millisecond // likewise

	// burst messages may follow one upon the other; then one every so often, with
	// all that has come together.
	burst      = 5
	burstEvery = time.Minute
)

// gather is how long a message waits for more of the same: what many tenants
// have in common reaches them one after the other.
const gather = 2 * time.Second

// wait is how long there is nothing to do. What there is to tell waits for an
// address, which wakes Run when it is set.
func (n *Notifier) wait(now time.Time) time.Duration {
	if n.url.Load().Empty() {
		return lookAtLeast
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return min(max(n.next(now).Sub(now), lookAtMost), lookAtLeast)
}

// next is when there is something to tell: when the first news has waited for
// its like, or all have settled. n.mu is held.
func (n *Notifier) next(now time.Time) time.Time {
	if len(n.pending) > 0 { // these wait for nobody
		return later(now, n.mayAt())
	}
	first := now.Add(lookAtLeast)
	for _, t := range n.tenants {
		if due := t.due(); !due.IsZero() && due.Before(first) {
			first = due
		}
	}
	last := first
	for _, t := range n.tenants {
		if due := t.due(); due.After(last) && !due.After(first.Add(gather)) {
			last = due
		}
	}
	return later(last, n.mayAt())
}

// mayAt is when the next message may be sent. n.mu is held.
func (n *Notifier) mayAt() time.Time {
	at := n.resting
	if len(n.sent) >= burst {
		at = later(at, n.sent[len(n.sent)-burst].Add(burst*burstEvery))
	}
	return at
}

// tell sends what there is to tell, if it is time.
func (n *Notifier) tell(ctx context.Context, to secret.Text) {
	now := time.Now()
	n.mu.Lock()
	if n.next(now).After(now) {
		n.mu.Unlock()
		return
	}
	var news []Notice
	for name, t := range n.tenants {
		if one, due := t.notice(name, now); due {
			news = append(news, one)
		}
	}
	others := len(n.pending)
	news = append(news, n.pending...)
	dropped := n.dropped
	n.mu.Unlock()
	if len(news) == 0 {
		return
	}
	wait, why := n.post(ctx, to, n.message(news, dropped))
	switch {
	case why == "":
		n.isTold(news, others, dropped)
	case ctx.Err() == nil:
		n.rest(wait, why)
	}
}

// isTold notes that news were told, the last others of which were pending.
func (n *Notifier) isTold(news []Notice, others, dropped int) {
	now := time.Now()
	var kept []byte
	n.mu.Lock()
	for _, one := range news[:len(news)-others] {
		if t := n.tenants[one.Tenant]; t != nil {
			t.isTold(one, now)
			kept = appendMark(kept, mark{Tenant: one.Tenant, Broken: t.told, At: now})
		}
	}
	for _, one := range n.pending[:others] {
		if one.key != "" {
			n.marks[one.key] = now
			kept = appendMark(kept, mark{Key: one.key, At: now})
		}
	}
	n.pending = append([]Notice(nil), n.pending[others:]...)
	n.dropped -= dropped
	n.sent = append(n.sent[max(0, len(n.sent)-burst):], now)
	again := n.failing != ""
	n.failing, n.tries, n.resting = "", 0, time.Time{}
	n.mu.Unlock()
	n.journal.Append(kept)
	if again {
		n.Log.Info().Msg("notices reach NOTIFY_URL again")
	}
}

// rest waits before the next try: as long as the receiver asks for, or longer
// each time.
func (n *Notifier) rest(wait time.Duration, why string) {
	n.mu.Lock()
	if wait == 0 {
		wait = min(restFirst<<min(n.tries, 10), restMost)
	}
	n.tries++
	n.resting = time.Now().Add(wait)
	news := n.failing != why
	n.failing = why
	n.mu.Unlock()
	e := n.Log.Debug()
	if news {
		e = n.Log.Warn()
	}
	e.Str("reason", why).Dur("again_ms", wait).Msg("notices do not reach NOTIFY_URL; what is to be told is kept")
}

// post sends a message. why is "" if it was taken; wait is how long to leave the
// receiver alone, 0 if it does not say.
func (n *Notifier) post(ctx context.Context, to secret.Text, m message) (wait time.Duration, why string) {
	target, err := url.Parse(to.Reveal())
	if err != nil { // its text would quote it
		return restRefused, "NOTIFY_URL is no address"
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(m.shaped(target.Hostname())))
	if err != nil {
		return restRefused, "NOTIFY_URL is no address"
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dynproxy")
	if user := target.User; user != nil {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	resp, err := n.Wire.RoundTrip(r)
	if err != nil {
		if ctx.Err() != nil {
			return 0, "no answer came in time"
		}
		return 0, err.Error()
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be kept
	if told, ok := retryafter.Parse(resp.Header.Get("Retry-After"), retryafter.Clock(resp.Header)); ok {
		wait = min(max(told, restFirst), restTold)
	}
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300:
		return 0, ""
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		return wait, fmt.Sprintf("it answers with status %d", status)
	default:
		return max(wait, restRefused), fmt.Sprintf("it answers with status %d: is the address right?", status)
	}
}
