package limits

import (
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// errForgotten sends a call that found a dropped ledger to a new one.
var errForgotten = errors.New("ledger dropped")

// maxShares bounds the shares of a ledger: callers beyond it share one.
const maxShares = 1024

// ledger is the account of one key. Its instants are durations since its gate's epoch,
// which the monotonic clock measures.
//
// A request counts in the windows from its admission until one span after its
// answer's end. Whenever in between the organization counted it, the sum is
// never less than the organization's own, so a budget that is kept here is
// kept there. The price is small: what is in flight counts a little longer,
// which is at most Concurrency out of Requests.
type ledger struct {
	gate *Gate

	mu          sync.Mutex    // guards what follows
	budget      *Budget       // shared, never changed
	span        time.Duration // of the window: configured, or the organization's word
	requests    budgetCounter
	execution   budgetCounter // milliseconds
	concurrency concurrencyLimit
	rate        *rate.Limiter // nil without Rate
	shared      *sharing      // nil: nobody else spends the budget

	inFlight int
	counted  int           // of these, counted by the windows
	starts   time.Duration // sum of the starts of the counted ones
	busy     float64       // mean execution time, milliseconds
	held     float64       // mean time from admission to Done, milliseconds

	cooldown cooldown
	retries  retrySchedule
	gone     bool // dropped by its gate
	shares   shares
	kept     float64 // sum of the shares' kept
	heaviest float64 // weight, of callers that were here lately
	virtual  float64 // start of the share served last
	waiting  []*share
	queued   int

	timer    *time.Timer
	wakeAt   time.Duration // zero: not armed
	counters counters
}

func (l *ledger) now() time.Duration { return time.Since(l.gate.epoch) }

// enter admits the call at once (a pass), lets it wait (a waiter) or refuses it.
func (l *ledger) enter(who Caller, patience time.Duration) (*Pass, *waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil, nil, errForgotten
	}
	now := l.now()
	if l.budget.Mode == Off {
		l.inFlight++
		return &Pass{ledger: l, start: now}, nil, nil
	}
	l.tick(now)
	s := l.share(who.Name, now)
	s.weight = float64(max(who.Weight, 1)) / math.Max(s.split, 1)
	s.last = now
	if len(l.waiting) == 0 {
		b := l.blocked(s, now)
		if b.kind != None && l.budget.Mode == Report {
			l.counters.odd().wouldWait[b.kind]++
			b.kind = None
		}
		if b.kind == None {
			s.start = math.Max(l.virtual, s.finish)
			return l.admit(s, now), nil, nil
		}
	}
	return l.line(s, now, patience)
}

// admit takes a place for the next call of s.
func (l *ledger) admit(s *share, now time.Duration) *Pass {
	l.virtual = s.start
	s.spend(now)
	if s.kept > 0 {
		less := math.Min(1, s.kept)
		s.kept -= less
		l.kept -= less
	}
	if l.rate != nil {
		l.rate.AllowN(l.gate.epoch.Add(now), 1)
	}
	l.inFlight++
	l.counted++
	l.starts += now
	placesElsewhere := 0
	if l.shared != nil {
		l.shared.admit(s, l.inFlight)
		l.refill(now)
		placesElsewhere = l.shared.others.inUse
	}
	p := &Pass{
		ledger:   l,
		share:    s,
		start:    now,
		counted:  true,
		requests: float64(l.requests.sum) + float64(l.counted) + l.elsewhere(Requests, now),
		millis:   float64(l.execution.sum) + l.pending(now) + l.elsewhere(ExecutionTime, now),
		inFlight: l.inFlight + placesElsewhere,

		requestsBefore: l.requests.ever(),
		millisBefore:   l.execution.ever(),
		elsewhere:      l.certainElsewhere(now),
	}
	p.risked = [limitKinds]bool{
		Requests:      l.requests.risked(now, p.requests),
		ExecutionTime: l.execution.risked(now, p.millis),
		Concurrency:   float64(p.inFlight) > l.concurrency.firm(),
	}
	return p
}

// pending estimates the execution time of what is in flight: its age, or what
// calls usually take if that is more. Calls that an organization leaves
// unanswered grow old without being worked on, so age beyond the usual counts
// for half of the budget at most.
func (l *ledger) pending(now time.Duration) float64 {
	n := time.Duration(l.counted)
	usual := float64(n) * l.busy
	age := float64(n*now-l.starts) / 1e6
	return math.Max(usual, math.Min(age, usual+l.execution.limit()/2))
}

// block is what keeps a call out, and the instant at which time alone may
// change that (zero if only an answer can).
type block struct {
	kind   LimitKind
	reason Reason
	until  time.Duration
}

// blocked is what keeps the next call of s out.
func (l *ledger) blocked(s *share, now time.Duration) block {
	if l.budget.Mode == Off {
		return block{}
	}
	if kind, until := l.cooldown.blocks(now, l.counted); kind != None {
		return block{kind, Cooldown, until}
	}
	if b := l.crowded(s, now); b.kind != None {
		return b
	}
	if l.shared != nil && !l.shared.isApart {
		return l.emptied(s, now)
	}
	if wait := l.rateWait(now, 1); wait > 0 {
		return block{Requests, Rate, now + wait}
	}
	if l.shared != nil {
		return l.emptiedApart(now)
	}
	requests, millis := l.keptFrom(s)
	if b := l.requests.blocked(now, float64(l.counted), requests, 1); b != NoReason {
		return block{Requests, b, l.requests.nextTick()}
	}
	if b := l.execution.blocked(now, l.pending(now), millis, l.guess()); b != NoReason {
		return block{ExecutionTime, b, l.execution.nextTick()}
	}
	return block{}
}

// crowded is the block by the number of calls in flight.
func (l *ledger) crowded(s *share, now time.Duration) block {
	if l.inFlight == 0 && (l.shared == nil || l.shared.isApart) {
		return block{}
	}
	places, rise := l.concurrency.places(now)
	here, free := l.mine(places)
	switch {
	case l.inFlight < here && s.spared(places, free, l.heaviest):
		return block{}
	case l.inFlight < here:
		return block{Concurrency, Share, rise}
	case float64(l.inFlight) < l.concurrency.limit():
		return block{Concurrency, Learned, rise}
	}
	return block{Concurrency, Spent, rise}
}

// rounding is less than any amount that counts.
const rounding = 1e-6

// blocked is what leaves no room for unit beside what is pending and kept for
// other callers. Whoever is there may test what is held back, or all would
// wait for those that are not.
func (m *budgetCounter) blocked(now time.Duration, pending, kept, unit float64) Reason {
	room := m.room(now, pending, unit)
	switch {
	case room-kept >= unit-rounding, room >= unit-rounding && pending == 0 && m.testing(now):
		return NoReason
	case room >= unit:
		return Share
	case m.limit()-float64(m.sum)-pending >= unit:
		return Learned
	}
	return Spent
}

// guess is the execution time to set aside for one more call: what calls
// usually take, but no more than there is.
func (l *ledger) guess() float64 {
	return math.Max(1, math.Min(l.busy, l.execution.limit()))
}

// rateWait is how long RATE makes the n-th call from now wait.
func (l *ledger) rateWait(now time.Duration, n float64) time.Duration {
	if l.rate == nil {
		return 0
	}
	short := n - l.rate.TokensAt(l.gate.epoch.Add(now))
	if short <= 1e-6 { // the bucket's own rounding
		return 0
	}
	return time.Duration(math.Min(short/float64(l.rate.Limit())*1e9, 1e18)) + 1
}

// tick moves the windows on and, once a slice, works out anew what is kept
// back for whom.
func (l *ledger) tick(now time.Duration) {
	l.execution.advance(now)
	if l.requests.advance(now) {
		l.reserve(now)
	}
}

// configure takes a changed budget, of which the callers that wait feel the
// effect at once.
func (l *ledger) configure(b *Budget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.budget != nil && *b == *l.budget {
		return
	}
	now := l.now()
	if l.budget == nil || b.Window != l.budget.Window {
		l.stretch(now, b.Window)
	}
	l.requests.configure(float64(b.Requests), b.Fixed.Requests)
	l.execution.configure(float64(b.ExecutionTime)/1e6, b.Fixed.ExecutionTime)
	l.concurrency.configure(float64(b.Concurrency), b.Fixed.Concurrency)
	l.applyRate(now, b)
	l.budget = b
	if len(l.waiting) > 0 {
		l.tick(now)
		l.dispatch(now)
	}
}

func (l *ledger) applyRate(now time.Duration, b *Budget) {
	switch {
	case b.Rate <= 0:
		l.rate = nil
	case l.rate == nil:
		l.rate = rate.NewLimiter(rate.Limit(b.Rate), b.Burst)
	default:
		l.rate.SetLimitAt(l.gate.epoch.Add(now), rate.Limit(b.Rate))
		l.rate.SetBurstAt(l.gate.epoch.Add(now), b.Burst)
	}
}

// stretch changes the window's span.
func (l *ledger) stretch(now, span time.Duration) {
	l.span = span
	l.requests.stretch(now, span)
	l.execution.stretch(now, span)
	for s := range l.shares.all() {
		s.used.stretch(now, span)
	}
}

// forget ends the ledger: who waits is told, who is in flight goes on.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	for _, s := range l.waiting {
		for _, w := range s.queue {
			w.ready <- result{err: ErrDropped}
		}
		s.queue = nil
	}
	l.waiting, l.queued = nil, 0
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.shared != nil && l.shared.timer != nil {
		l.shared.timer.Stop()
	}
}
