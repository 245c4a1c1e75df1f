package limits

import (
	"math"
	"time"
)

// Outcome is what became of a call.
type Outcome struct {
	// Took is how long the organization worked on the answer, as far as can
	// be told: until its first byte. Zero means until Done.
	Took time.Duration
	// Unsent says that the request never left, so that nothing was spent.
	Unsent bool
	// Operations counts towards the daily entitlement: the parts of a batch.
	// Zero means one.
	Operations int
	// Lesson is what the answer said about the budget.
	Lesson Lesson
}

// Done gives the place back, at the end of the answer, and takes the lesson.
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
	if !o.Unsent {
		l.count(o)
	}
	if p.metered {
		l.metered--
		l.starts -= p.start
		p.share.inFlight--
		p.share.last = now
		if !o.Unsent {
			l.settle(p, o, now)
			l.learn(p, o.Lesson, now)
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
	if o.Lesson.Refused != None {
		return // before it was counted, and a refusal's time is no work
	}
	l.requests.add(now, 1)
	l.execution.add(now, uint64(math.Ceil(float64(busy)/1e6)))
	learnMean(&l.busy, float64(busy)/1e6)
	learnMean(&l.held, float64(held)/1e6)
	learnMean(&p.share.busy, float64(busy)/1e6)
}

// learnMean moves a mean by one sixteenth towards the newest value.
func learnMean(mean *float64, value float64) {
	if *mean == 0 {
		*mean = value
		return
	}
	*mean += (value - *mean) / 16
}

// learn lets each refusal act on its own facet, and on no other. Only the
// organization's wish not to be called at all concerns the whole key.
func (l *ledger) learn(p *Pass, lesson Lesson, now time.Duration) {
	if lesson.Window > 0 && lesson.Window != l.span {
		l.stretch(now, lesson.Window)
	}
	if lesson.DOPHint > 0 {
		l.tally.dopHint = int32(lesson.DOPHint)
	}
	switch lesson.Refused {
	case Requests:
		l.requests.refused(now, p.requests, lesson.Limit, l.span)
	case ExecutionTime:
		l.execution.refused(now, p.millis, lesson.Limit, l.span)
	case Concurrency:
		l.crowd.refused(now, p.inFlight, int(math.Min(lesson.Limit, math.MaxInt32)), l.span)
	}
	if lesson.Refused != None || lesson.RetryAfter > 0 {
		l.tally.throttled[lesson.Refused]++
		l.shut(now, lesson)
		return
	}
	l.read(p, lesson, now)
	limit, _ := l.crowd.limit(now)
	l.closure.answered(now, limit)
}

// shut obeys Retry-After. Where the organization named none the gate pauses
// for a sixtieth of the window, or a second for concurrency, which can be
// better at once.
func (l *ledger) shut(now time.Duration, lesson Lesson) {
	d := lesson.RetryAfter
	if d <= 0 {
		d = min(l.span/60, time.Second)
		if lesson.Refused != Concurrency {
			d = max(d, l.span/60)
		}
	}
	l.closure.shut(now, lesson.Refused, d)
	l.evict(now)
}

// read compares what the organization says remains with our own count.
//
// What it must have counted of ours is what was answered before this call was
// admitted. What is about to leave our window may have left its own.
func (l *ledger) read(p *Pass, lesson Lesson, now time.Duration) {
	if now-p.start > l.span/4 {
		return // the count of then says little about now
	}
	fading := 2 * time.Duration(l.held*1e6)
	if lesson.HasRequests {
		w := &l.requests.window
		least := float64(w.sum) - float64(w.newest(p.start)) - float64(w.oldest(fading))
		r := reading{remaining: lesson.RequestsLeft, most: p.requests, least: math.Max(0, least)}
		l.requests.remains(now, r, l.span)
	}
	if lesson.HasTime {
		w := &l.execution.window
		least := float64(w.sum) - float64(w.newest(p.start)) - float64(w.oldest(fading))
		r := reading{remaining: float64(lesson.TimeLeft) / 1e6, most: p.millis, least: math.Max(0, least)}
		l.execution.remains(now, r, l.span)
	}
}

// count adds to the day's operations.
func (l *ledger) count(o Outcome) {
	if day := today(); day != l.tally.day {
		l.tally.day, l.tally.operations = day, 0
	}
	l.tally.operations += uint64(max(o.Operations, 1))
}
