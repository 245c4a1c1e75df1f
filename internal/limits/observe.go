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
	l.requests.add(now, 1)
	if !o.Answered {
		l.execution.add(now, uint64(math.Ceil(math.Min(float64(busy)/1e6, l.busy))))
		return
	}
	l.execution.add(now, uint64(math.Ceil(float64(busy)/1e6)))
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
	if feedback.Window > 0 && feedback.Window != l.span {
		l.stretch(now, feedback.Window)
	}
	if feedback.DOPHint > 0 {
		l.counters.dopHint = int32(feedback.DOPHint)
	}
	switch feedback.Refused {
	case Requests:
		l.requests.refused(now, p.requests, feedback.Limit, l.span)
	case ExecutionTime:
		l.execution.refused(now, p.millis, feedback.Limit, l.span)
	case Concurrency:
		l.concurrency.refused(now, p.inFlight, int(math.Min(feedback.Limit, math.MaxInt32)), l.span)
	}
	if feedback.Refused != None || feedback.RetryAfter > 0 {
		l.counters.throttled[feedback.Refused]++
		l.shut(now, feedback)
		return
	}
	l.read(p, feedback, now)
	limit, _ := l.concurrency.limit(now)
	l.cooldown.answered(now, limit)
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
	l.evict(now)
}

// read compares what the organization says remains with our own count.
//
// What it must have counted of ours is what was answered before this call was
// admitted. What is about to leave our window may have left its own.
func (l *ledger) read(p *Pass, feedback Feedback, now time.Duration) {
	if now-p.start > l.span/4 {
		return // the count of then says little about now
	}
	fading := 2 * time.Duration(l.held*1e6)
	if feedback.HasRequests {
		w := &l.requests.slidingWindow
		least := float64(w.sum) - float64(w.newest(p.start)) - float64(w.oldest(fading))
		r := reading{remaining: feedback.RequestsLeft, most: p.requests, least: math.Max(0, least)}
		l.requests.remains(now, r, l.span)
	}
	if feedback.HasTime {
		w := &l.execution.slidingWindow
		least := float64(w.sum) - float64(w.newest(p.start)) - float64(w.oldest(fading))
		r := reading{remaining: float64(feedback.TimeLeft) / 1e6, most: p.millis, least: math.Max(0, least)}
		l.execution.remains(now, r, l.span)
	}
}

// count adds to the day's operations.
func (l *ledger) count(o Outcome) {
	if day := today(); day != l.counters.day {
		l.counters.day, l.counters.operations = day, 0
	}
	l.counters.operations += uint64(max(o.Operations, 1))
}
