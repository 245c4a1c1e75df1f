package limits

import (
	"math"
	"time"
)

const (
	calm        = time.Second           // between exchanges while there is room
	pressed     = 50 * time.Millisecond // while somebody waits
	ahead       = 4                     // requests that are asked for beside those that are needed
	reserve     = 2                     // likewise, for each caller for whom some are kept back
	inStatement = 16                    // callers that wait
)

// report tells the store what was done and what is wanted. What the pocket
// holds beyond that is given back by it.
func (l *ledger) statement(now time.Duration) *Statement {
	x := l.shared
	x.measure(now)
	if now := l.requests.ever() + uint64(l.counted); x.allow < now && !x.isApart {
		x.allow = now // what Report has let in beyond
	}
	x.sequence++
	r := &Statement{
		Sequence: x.sequence, Generation: x.generation, Clock: x.clock, After: now - x.got, Before: now - x.sent,
		Span: l.span, Requests: l.requests.ever(), Millis: l.execution.ever(), Settled: l.unconfirmed(now),
		InFlight: l.counted, Pending: l.pending(now), Guess: l.guess(), Rate: l.budget.Rate, Burst: l.budget.Burst,
		Limit:       l.requests.open(now, 1) + l.requests.biasNow(now),
		MillisLimit: l.execution.open(now, l.guess()) + l.execution.biasNow(now),
		Testing:     l.requests.testing(now) || l.execution.testing(now),
		Kept:        l.kept,
	}
	if x.isApart {
		r.Among = x.among()
	}
	if x.isApart && x.why != errYoung {
		r.Away = max(time.Microsecond, now-x.since)
	}
	l.wish(r, now)
	l.wishPlaces(r, now)
	r.Learned, r.Learning = l.lessons(now), x.learning.number
	x.sent, x.told = now, len(x.news)
	return r
}

// measure takes the pace of admissions.
func (x *sharing) measure(now time.Duration) {
	if since := (now - x.sent).Seconds(); x.sent > 0 && since > 0.01 {
		latest := float64(x.admitted) / since
		weight := math.Min(1, since) // a second is as long as it remembers
		x.pace += (latest - x.pace) * math.Max(weight, 0.1)
		x.admitted = 0
	}
}

// unconfirmed is what the store does not know, or the whole window where it
// knows nothing.
func (l *ledger) unconfirmed(now time.Duration) []Amount {
	x := l.shared
	if x.generation == "" {
		return l.windowful(now)
	}
	amounts := make([]Amount, len(x.news))
	for i, n := range x.news {
		amounts[i] = Amount{now - n.at, n.requests, n.millis}
	}
	return amounts
}

// windowful is all that the window holds, by its slices.
func (l *ledger) windowful(now time.Duration) []Amount {
	var amounts []Amount
	r, e := &l.requests.slidingWindow, &l.execution.slidingWindow
	for number := r.last - int64(r.n); number <= r.last; number++ {
		if requests, millis := r.at(number), e.at(number); requests > 0 || millis > 0 {
			age := max(0, now-time.Duration(number+1)*r.slice)
			amounts = append(amounts, Amount{age, uint64(requests), uint64(millis)})
		}
	}
	return amounts
}

// wish works out how many requests are needed until the next exchange is over,
// and gives the rest back.
func (l *ledger) wish(r *Statement, now time.Duration) {
	x := l.shared
	d := l.demand(r, now)
	tick := calm
	if x.short {
		tick = pressed
	}
	soon := int(math.Ceil(2 * tick.Seconds() * x.pace))
	if l.active() {
		soon = max(soon, ahead)
	} else {
		d.keepers, d.others, soon = 0, 0, 0
	}
	// No more than can go until then, whatever the number of those that wait.
	most := float64(max(x.places, l.inFlight, 1))
	if l.held > 0 {
		most *= 1 + 2*tick.Seconds()*1000/l.held
	} else {
		most *= 2
	}
	d.waiting, d.privileged = min(d.waiting, int(most)), min(d.privileged, int(most))
	reserved := d.privileged
	if d.keepers > 0 {
		reserved = min(int(math.Ceil(l.kept)), d.privileged+max(soon, reserve*d.keepers))
	}
	if d.others == 0 {
		soon = min(soon, ahead)
	}
	if x.isApart { // what the pocket held is given up
		r.Need, r.Want, r.NeedReserved, r.WantReserved = d.waiting, soon, d.privileged, max(0, reserved-d.privileged)
		return
	}
	r.Need, r.Want = l.top(l.pocket()-x.reserved, d.waiting, d.waiting+soon)
	r.NeedReserved, r.WantReserved = l.top(x.reserved, d.privileged, reserved)
	x.reserved = min(x.reserved, reserved)
	r.Pocket = max(0, l.pocket())
}

// top is what is missing of what is needed, and then of what is wanted. What is
// there beyond that it takes out of the pocket.
func (l *ledger) top(there, need, want int) (missing, wanted int) {
	if there > want {
		l.shared.allow -= uint64(there - want)
	}
	missing = max(0, need-there)
	return missing, max(0, want-max(there, need))
}

// demand is who waits and who is likely to come.
type demand struct {
	waiting    int // calls
	privileged int // calls that wait, for whose callers some are kept back
	keepers    int // callers for whom some are kept back
	others     int // other callers
}

func (l *ledger) demand(r *Statement, now time.Duration) (d demand) {
	for s := range l.shares.all() {
		r.Weight += s.weight
		first := 0
		if s.kept > 0 {
			d.keepers++
			first = min(len(s.queue), int(math.Ceil(s.kept)))
			hold := min(max(8*time.Duration(float64(l.span)/s.predicted(now, l.span)), l.span/10), 4*l.span)
			r.KeptFor = max(r.KeptFor, min(hold-(now-s.last), l.span))
		} else {
			d.others++
		}
		d.privileged += first
		d.waiting += len(s.queue) - first
		if len(s.queue) > 0 && len(r.Waiting) < inStatement {
			r.Waiting = append(r.Waiting, Waiting{callerID(s.caller), s.weight * math.Max(s.split, 1)})
		}
	}
	return d
}

// active reports whether anything has happened since the last report or goes
// on now.
func (l *ledger) active() bool {
	return l.counted > 0 || l.queued > 0 || l.shared.admitted > 0 || l.shared.pace >= 0.5
}

// wishPlaces asks for the places that are in use, for those who wait and for
// who may come, and gives the rest back.
func (l *ledger) wishPlaces(r *Statement, now time.Duration) {
	x := l.shared
	limit, _ := l.concurrency.places(now)
	r.InUse, r.PlacesLimit = l.inFlight, limit
	r.PlacesWant = max(x.peak, l.inFlight+l.queued)
	if l.active() {
		r.PlacesWant += 2
	}
	x.peak = l.inFlight
	free := limit - x.others.places
	if limit >= sharePlaces {
		free = free * sharePlaces / (sharePlaces + 1)
	}
	r.PlacesWant = max(l.inFlight, min(r.PlacesWant, max(free, 1)))
	if !l.active() {
		r.PlacesWant = l.inFlight
	}
	if x.target > 0 {
		x.places = min(x.places, x.target)
	}
	x.places = max(l.inFlight, min(x.places, r.PlacesWant))
	r.Places = x.places
}
