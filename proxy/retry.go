package proxy

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/tenants"
)

// maxTries bounds how often a call is sent whose fate, whatever it was, harms
// nobody.
const maxTries = 3

// question is what decides, besides the attempts, whether a call may be sent
// again.
type question struct {
	method     string
	ifMatch    string
	replayable bool          // the body is kept, the caller is still there
	renewed    bool          // the token was refused, and there is or will be another
	enforce    bool          // the tenant's limits are kept
	patience   time.Duration // longest pause that an organization may ask for
}

// writes reports whether the call may change something.
func (q question) writes() bool {
	return q.method != http.MethodGet && q.method != http.MethodHead && q.method != http.MethodOptions
}

// idempotent reports whether sending the call twice is the same as once: reads
// are, and writes that If-Match lets through only once.
func (q question) idempotent() bool {
	switch q.method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPatch, http.MethodPut, http.MethodDelete:
		return q.ifMatch != "" && q.ifMatch != "*"
	}
	return false
}

// history is what the attempts before taught.
type history struct {
	renewed bool // another token was asked for
	faults  int  // attempts without a usable answer
	lost    bool // one may have been carried out although its answer was lost
}

func (h history) with(a *attempt) history {
	switch a.result {
	case tokenRefused, webPage:
		h.renewed = true
	case failed, unavailable:
		h.faults++
		h.lost = h.lost || a.sent
	}
	return h
}

// step is what retry decides.
type step struct {
	again bool
	pause time.Duration
}

// retry decides whether a call is sent once more. It is the only place that
// does, and depends on nothing but its arguments, but for the jitter of the
// pause.
//
// A refused token, a web page and a throttled call were not carried out: any
// method may go again. So may what never left. What may have been carried out
// goes again only where that is the same as once.
func retry(q question, past history, a *attempt) step {
	if !q.replayable {
		return step{}
	}
	switch a.result {
	case tokenRefused, webPage:
		return step{again: q.renewed && !past.renewed}
	case throttled:
		// The budget has learnt of it; the next attempt waits there.
		return step{again: q.enforce}
	case unavailable:
		pause := max(backOff(past.faults), a.told)
		return step{again: past.faults+1 < maxTries && q.idempotent() && pause <= q.patience, pause: pause}
	case failed:
		e, ok := errors.AsType[*egress.Error](a.err)
		again := ok && e.Transient() && past.faults+1 < maxTries && (e.Sent == 0 || q.idempotent())
		return step{again: again, pause: backOff(past.faults)}
	}
	return step{}
}

func backOff(faults int) time.Duration {
	base := 400 * time.Millisecond << faults
	return base/2 + rand.N(base/2)
}

// unanswered says what became of a call that got no answer.
func unanswered(t *tenants.Tenant, q question, past history, err error) error {
	e, ok := errors.AsType[*egress.Error](err)
	if !ok || errors.Is(err, errNotKept) {
		return err
	}
	fate := "Nothing of the request was sent."
	switch {
	case e.Sent == 0 && !past.lost:
	case !q.writes():
		fate = "The request changes nothing and can be sent again."
	default:
		fate = "The request may have been carried out: look at the record before you send it again."
	}
	return upstreamProblem(t, e, fate)
}
