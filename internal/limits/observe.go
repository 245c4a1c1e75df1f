package limits

import (
	"math"
	"time"
)

// Outcome is what became of a call. The zero Outcome is that of a call that
// never left: it spent nothing.
type Outcome struct {
	// Sent says that something of the request was written to the organization.
	Sent bool
	// Answered says that an answer began. A call that was sent and not
	// answered spends one request, and of execution time what calls usually
	// take, but no more than it was waited for: how long the organization
	// worked on it, if at all, nobody can tell.
	Answered bool
	// Took is how long the organization worked on the answer, as far as can
	// be told: until its first byte, or until the wait for it ended. Zero
	// means until Done.
	Took time.Duration
	// Operations counts towards the daily entitlement: the parts of a batch.
	// Zero means one.
	Operations int
	// Feedback is what the answer said about the budget.
	Feedback Feedback
}

// Done gives the place back, at the end of the answer, and takes the feedback.
// A second Done does nothing.
func (p *Pass) Done(o Outcome) {
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	l.inFlight--
	now := l.now()
	l.tick(now)
	if o.Sent {
		l.count(o)
	}
	if p.counted {
		l.counted--
		l.starts -= p.start
		p.share.inFlight--
		p.share.last = now
		if o.Sent {
			l.settle(p, o, now)
		}
		if o.Answered {
			l.observe(p, o.Feedback, now)
		}
	}
	l.dispatch(now)
	if l.inFlight == 0 && len(l.waiting) == 0 && l.wakeAt == 0 {
		l.rest(now)
	}
}

// settle moves a call from what is in flight to what the window holds.
func (l *ledger) settle(p *Pass, o Outcome, now time.Duration) {
	held := now - p.start
	busy := o.Took
	if busy <= 0 {
		busy = held
	}
	if o.Feedback.Refused != None {
		return // before it was counted, and a refusal's time is no work
	}
	millis := uint64(math.Ceil(float64(busy) / 1e6))
	if !o.Answered {
		millis = uint64(math.Ceil(math.Min(float64(busy)/1e6, l.busy)))
	}
	l.requests.add(now, 1)
	l.execution.add(now, millis)
	if l.shared != nil {
		l.shared.settle(now, l.requests.slice, 1, millis)
	}
	if !o.Answered {
		l.requests.lose(now, p.start, 1)
		l.execution.lose(now, p.start, millis)
		return
	}
	updateMean(&l.busy, float64(busy)/1e6)
	updateMean(&l.held, float64(held)/1e6)
	updateMean(&p.share.busy, float64(busy)/1e6)
}

// updateMean moves a mean by one sixteenth towards the newest value.
func updateMean(mean *float64, value float64) {
	if *mean == 0 {
		*mean = value
		return
	}
	*mean += (value - *mean) / 16
}

// observe lets each refusal act on its own limit, and on no other. Only the
// organization's wish not to be called at all concerns the whole key.
func (l *ledger) observe(p *Pass, feedback Feedback, now time.Duration) {
	if w := feedback.Window; w > 0 && w != l.span && w <= longestWindow*l.budget.Window {
		l.stretch(now, w)
	}
	if feedback.DOPHint > 0 {
		l.counters.dopHint = int32(feedback.DOPHint)
	}
	if feedback.Refused != None || feedback.RetryAfter > 0 {
		l.counters.odd().throttled[feedback.Refused]++
		l.shut(now, feedback)
		l.holdBack(p, feedback, now)
		l.evict(now)
		if l.shared != nil {
			l.shared.unmet = false // the others must hear of it
			l.hurry(now)
		}
		return
	}
	l.read(p, feedback, now)
	l.regain(p, now)
	places, _ := l.concurrency.places(now)
	l.cooldown.answered(now, places)
}

// longestWindow is how many times the configured one a named window is
// believed to be: a budget must not be spread over days by one odd answer.
const longestWindow = 4

// holdBack takes a refusal's word about its limit.
func (l *ledger) holdBack(p *Pass, feedback Feedback, now time.Duration) {
	r := refusal{now: now, started: p.start, until: l.cooldown.until, span: l.span, named: feedback.Limit}
	switch feedback.Refused {
	case Requests:
		r.most, r.least = p.requests-1, l.requests.certain(p.requestsBefore, l.fading())+p.elsewhere[Requests]
		r.proven = about(r.least, r.named)
		l.requests.refused(r)
	case ExecutionTime:
		r.most, r.least = p.millis, l.execution.certain(p.millisBefore, l.fading())+p.elsewhere[ExecutionTime]
		r.proven = about(r.least, r.named)
		l.execution.refused(r)
	case Concurrency:
		r.most, r.places = float64(p.inFlight-1), true
		if l.shared != nil {
			r.most += float64(l.shared.others.places - l.shared.others.inUse)
		}
		r.proven = about(float64(l.inFlight), r.named)
		l.concurrency.refused(r, 0)
	}
}

// about reports whether what was served shows a named number to be true. Some
// calls are in flight.
func about(served, named float64) bool { return served >= named*0.9 && served <= named*1.1 }

// regain takes an answer: what was served is proof, and a call that was risked
// lets another be risked.
func (l *ledger) regain(p *Pass, now time.Duration) {
	l.proven(now, p.elsewhere)
	if p.risked[Requests] {
		l.requests.answered(p, 1)
	}
	if p.risked[ExecutionTime] {
		l.execution.answered(p, l.guess())
	}
	if p.risked[Concurrency] {
		l.concurrency.answered(p, 1)
	}
}

// proven takes what was served, here and so much elsewhere, for proof.
func (l *ledger) proven(now time.Duration, elsewhere [limitKinds]float64) {
	l.requests.served(now, l.fading(), elsewhere[Requests])
	l.execution.served(now, l.fading(), elsewhere[ExecutionTime])
}

// shut obeys Retry-After. Where the organization named none the gate pauses
// for a sixtieth of the window, or a second for concurrency, which can be
// better at once.
func (l *ledger) shut(now time.Duration, feedback Feedback) {
	d := feedback.RetryAfter
	if d <= 0 {
		d = min(l.span/60, time.Second)
		if feedback.Refused != Concurrency {
			d = max(d, l.span/60)
		}
	}
	l.cooldown.shut(now, feedback.Refused, d)
}

// read compares what the organization says remains with our own count.
func (l *ledger) read(p *Pass, feedback Feedback, now time.Duration) {
	if now-p.start > l.span/4 {
		return // the count of then says little about now
	}
	certain := func(kind LimitKind, m *budgetCounter, before uint64) float64 {
		return m.certain(before, l.fading()) + p.elsewhere[kind]
	}
	if feedback.HasRequests {
		l.requests.remains(now, reading{feedback.RequestsLeft, p.requests, certain(Requests, &l.requests, p.requestsBefore), l.unseen(Requests, now)})
	}
	if feedback.HasTime {
		l.execution.remains(now, reading{float64(feedback.TimeLeft) / 1e6, p.millis, certain(ExecutionTime, &l.execution, p.millisBefore), l.unseen(ExecutionTime, now)})
	}
}

// fading is how near to leaving our window what has left the organization's
// may be.
func (l *ledger) fading() time.Duration { return 2 * time.Duration(l.held*1e6) }

// certain is what the organization must have counted of ours when it answered
// a call: what was answered before that was admitted, when ever was all that
// had been counted, and is not about to leave.
func (m *budgetCounter) certain(ever uint64, fading time.Duration) float64 {
	return math.Max(0, float64(m.left(ever))-float64(m.oldest(fading)))
}

// count adds to the day's operations.
func (l *ledger) count(o Outcome) {
	if day := today(); day != l.counters.day {
		l.counters.day, l.counters.operations = day, 0
	}
	l.counters.operations += uint64(max(o.Operations, 1))
}
