package emulator

import "time"

// growthSteps is how many steps of growth a window has: who keeps sending at
// a closed door for a second is told to stay away a second longer, at the
// documented window.
const growthSteps = 300

// usage is what one application user did on one web server within the window.
type usage struct {
	inFlight int
	arrivals []time.Time // of admitted requests, oldest first
	spells   []spell     // of finished requests, oldest first
	spent    time.Duration

	requests, execution, concurrency patience
}

// spell is the execution time of one request, which counts from its end.
type spell struct {
	end   time.Time
	spent time.Duration
}

// forget drops what happened at or before a moment.
func (u *usage) forget(until time.Time) {
	n := 0
	for n < len(u.arrivals) && !u.arrivals[n].After(until) {
		n++
	}
	u.arrivals = u.arrivals[n:]
	n = 0
	for n < len(u.spells) && !u.spells[n].end.After(until) {
		u.spent -= u.spells[n].spent
		n++
	}
	u.spells = u.spells[n:]
}

// judge refuses a request that arrives now if a limit is used up.
func (u *usage) judge(now time.Time, l Limits) *overuse {
	if l.Concurrency > 0 && u.inFlight >= l.Concurrency {
		return &overuse{concurrencyLimit,
			concurrencyMessage(l.Concurrency),
			u.concurrency.refuse(now, time.Second, l.Window)}
	}
	if l.Requests > 0 && len(u.arrivals) >= l.Requests {
		// When this one leaves the window there is a place again.
		leaves := u.arrivals[len(u.arrivals)-l.Requests].Add(l.Window)
		return &overuse{requestsLimit,
			requestsMessage(l.Requests, l.Window),
			u.requests.refuse(now, leaves.Sub(now), l.Window)}
	}
	if l.ExecutionTime > 0 && u.spent >= l.ExecutionTime {
		return &overuse{executionLimit,
			executionMessage(l.ExecutionTime, l.Window),
			u.execution.refuse(now, u.recovery(l).Sub(now), l.Window)}
	}
	return nil
}

// recovery is when the time spent falls below the limit if nothing is added.
func (u *usage) recovery(l Limits) time.Time {
	left := u.spent
	for _, s := range u.spells {
		if left -= s.spent; left < l.ExecutionTime {
			return s.end.Add(l.Window)
		}
	}
	return time.Now()
}

// patience lengthens the wait of those who do not wait. It never closes the
// door by itself: whoever comes when there is room gets in, so that one
// impatient client among several cannot shut out the others for good.
type patience struct {
	told  time.Time // until when the last one was told to stay away
	grown time.Time // when the wait was lengthened last
	steps int
}

// refuse returns how long to stay away: until there is room, and longer for
// every step of time during which requests went on.
func (p *patience) refuse(now time.Time, room, window time.Duration) time.Duration {
	step := window / growthSteps
	if now.Before(p.told) {
		if now.Sub(p.grown) >= step {
			p.steps++
			p.grown = now
		}
	} else {
		p.steps = 0
		p.grown = now
	}
	stay := min(room+time.Duration(p.steps)*step, max(window, room))
	p.told = now.Add(stay)
	return stay
}
