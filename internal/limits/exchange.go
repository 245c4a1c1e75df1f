package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"dynproxy/internal/panics"
)

const (
	patience  = 250 * time.Millisecond // with the store
	keepLease = 2 * time.Second        // between exchanges while something is held that no call uses
	enough    = 2                      // failures in a row
)

// asking is the rhythm of a ledger's exchanges.
type asking struct {
	busy   bool // an exchange is under way
	again  bool // and another is needed at once
	told   int  // of the news, that are in the report under way
	timer  *time.Timer
	nextAt time.Duration // zero: never
}

// hurry asks the store now, unless it has just said that there is no more.
func (l *ledger) hurry(now time.Duration) {
	x := l.shared
	switch {
	case x.isApart, l.gone:
		l.next(now, x.returnAt)
	case x.busy:
		x.again = true
	case x.unmet && x.nextAt > 0:
	default:
		l.ask()
	}
}

// refill asks the store before the pocket is empty.
func (l *ledger) refill(now time.Duration) {
	x := l.shared
	switch {
	case x.busy, l.gone, x.isApart && x.nextAt > 0:
	case x.isApart:
		l.next(now, x.returnAt)
	case x.nextAt == 0:
		l.next(now, now+calm)
	case now-x.sent > pressed && float64(l.pocket()-x.reserved) < x.pace*calm.Seconds()/4:
		l.ask()
	}
}

// ask begins an exchange.
func (l *ledger) ask() {
	x := l.shared
	x.busy, x.again, x.nextAt = true, false, 0
	if x.timer != nil {
		x.timer.Stop()
	}
	go l.exchange()
}

// exchange is one report and its grant.
func (l *ledger) exchange() {
	defer panics.Recover(l.gate.Log, "shared budget", nil)
	l.mu.Lock()
	x := l.shared
	now := l.now()
	l.tick(now)
	report := l.statement(now)
	l.mu.Unlock()

	grant, err := x.store.Exchange(context.Background(), x.key, report)

	l.mu.Lock()
	defer l.mu.Unlock()
	x.busy = false
	now = l.now()
	l.tick(now)
	if err != nil {
		l.unheard(now, err)
	} else {
		l.take(report, grant, now)
	}
	if l.gone {
		return
	}
	l.dispatch(now)
	if err == nil {
		less := grant.Requests < report.Need || grant.Reserved < report.NeedReserved || grant.Places < report.PlacesWant
		x.unmet = len(l.waiting) > 0 && (less || !x.again)
	}
	l.schedule(now, err)
}

// giveUp returns what the pocket holds, and the places that are not in use.
func (l *ledger) giveUp() {
	l.mu.Lock()
	x, now := l.shared, l.now()
	if x == nil || x.busy || x.isApart || x.generation == "" || l.pocket() <= 0 && x.places <= l.inFlight && len(x.news) == 0 {
		l.mu.Unlock()
		return
	}
	x.busy, x.reserved, x.allow, x.admitted, x.pace = true, 0, l.requests.ever()+uint64(l.counted), 0, 0
	report := l.statement(now)
	report.Want, report.WantReserved = 0, 0
	l.mu.Unlock()
	grant, err := x.store.Exchange(context.Background(), x.key, report)
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.busy = false; err == nil {
		l.take(report, grant, l.now())
	}
}

// schedule says when to ask again.
func (l *ledger) schedule(now time.Duration, err error) {
	x := l.shared
	switch {
	case err == nil && x.generation == "":
		l.ask() // it answers, and wants all that the window holds
	case x.isApart:
		x.returnAt = now + x.pause()
		if l.counted > 0 || l.queued > 0 || len(x.news) > 0 {
			l.next(now, x.returnAt)
		}
	case x.generation == "" || x.again && !x.unmet || err != nil && l.queued > 0:
		l.ask() // what was wanted meanwhile was in no report
	case l.queued > 0 && x.places >= x.limit-x.others.places && l.pocket() > 0:
		l.next(now, now+pressed*5) // nobody else has what they wait for
	case l.queued > 0:
		l.next(now, now+min(pressed, max(x.edge, 2*time.Millisecond)))
	case x.short && l.active():
		l.next(now, now+pressed)
	case l.active():
		l.next(now, now+calm)
	case l.inFlight > 0 || l.pocket() > 0 || x.places > 0:
		l.next(now, now+keepLease)
	case len(x.news) > 0:
		l.next(now, now+pressed)
	}
}

// next lets the store be asked at the instant, or before.
func (l *ledger) next(now, at time.Duration) {
	x := l.shared
	if l.gone || x.busy || x.nextAt > 0 && x.nextAt <= at {
		return
	}
	x.nextAt = max(at, now+1)
	if x.timer == nil {
		x.timer = time.AfterFunc(x.nextAt-now, l.due)
		return
	}
	x.timer.Reset(x.nextAt - now)
}

// retell asks the store soon, if it must hear of what was spent.
func (l *ledger) retell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.tick(now); l.requests.sum > 0 {
		l.next(now, now+soonest+rand.N(latest-soonest))
	}
}

// due is the timer's.
func (l *ledger) due() {
	defer panics.Recover(l.gate.Log, "shared budget", nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.shared; !x.busy && !l.gone && x.nextAt > 0 {
		l.ask()
	}
}

// take fills the pocket.
func (l *ledger) take(r *Statement, g *Grant, now time.Duration) {
	x := l.shared
	x.clock, x.got = g.Clock, now
	if g.Unknown {
		x.generation = ""
		return
	}
	x.generation = g.Generation
	x.news = append(x.news[:0], x.news[x.told:]...)
	x.told, x.failures = 0, 0
	x.learning.number = g.Learning
	if r.Learned != nil && g.Learned == nil {
		x.learning.told = x.learning.telling
	}
	if g.Learned != nil {
		l.learn(g.Learned, now)
	}
	if g.Young { // what it says is less than what was known here
		l.goApart(now, errYoung)
		return
	}
	x.ring, x.read, x.offset = g.Ring, false, g.Clock-now
	x.requestsThen, x.millisThen = r.Requests, r.Millis
	x.edge, x.short = g.Edge, g.Short
	x.others = others{
		served: max(0, g.Sum-float64(l.requests.sum)), held: g.HeldByOthers,
		millisServed: max(0, g.Millis-float64(l.execution.sum)), millisHeld: g.MillisHeldByOthers,
		places: g.PlacesHeldByOthers, inUse: g.PlacesUsedByOthers, weight: g.WeightOfOthers,
	}
	l.rejoin(now)
	if l.requests.holds()+l.execution.holds() > 0 {
		l.proven(now, l.certainElsewhere(now)) // what others have served may not have been known here when a refusal came
	}
	x.allow += uint64(g.Requests + g.Reserved)
	x.reserved += g.Reserved
	x.base, x.limit = r.Limit, r.PlacesLimit
	x.places, x.target = g.Places, g.Target
	for s := range l.shares.all() {
		for i, n := range g.Gates {
			if callerID(s.caller) == r.Waiting[i].Caller {
				s.divide(float64(n))
			}
		}
	}
}

// unheard takes it that the store has not answered.
func (l *ledger) unheard(now time.Duration, err error) {
	x := l.shared
	x.told = 0
	if x.failures++; x.failures >= enough || errors.Is(err, ErrApart) {
		l.goApart(now, err)
	}
}

// errYoung is why a proxy keeps to its share although the store answers.
var errYoung = errors.New("what is shared was lost and is being gathered anew")
