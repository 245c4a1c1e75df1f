package status

import (
	"context"
	"math/rand/v2"
	"time"

	"dynproxy/internal/panics"
	"dynproxy/tenants"
)

const (
	// sweepWithin is how long a tenant goes unseen at most: neither called nor
	// checked.
	sweepWithin = 55 * time.Minute
	sweepBroken = 5 * time.Minute // likewise, for one that is broken, while these are few
	fewBroken   = 500
	sweepLook   = 15 * time.Second
	sweepAtOnce = 16

	checkCosts = 4    // requests of one check, at most
	sweepPart  = 1000 // of the budget: the sweep takes no more than one request in so many
)

// Sweep checks until ctx ends what nobody calls: each tenant now and then, at
// times that are spread.
func (b *Board) Sweep(ctx context.Context) {
	b.begun.Do(b.begin)
	s := sweep{board: b, plans: make(map[string]plan), places: make(chan struct{}, sweepAtOnce)}
	look := time.NewTicker(sweepLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if !b.quiet.Load() {
			s.round(ctx)
		}
	}
}

type sweep struct {
	board  *Board
	plans  map[string]plan // by the tenant's name
	broken int             // tenants, in the last round
	places chan struct{}
}

// plan says when a tenant is to be checked: not before a time, and when so much
// has passed since a call or a check has shown how it is.
type plan struct {
	notBefore time.Time
	after     time.Duration
}

// round starts the checks that are due, as places for them come free.
func (s *sweep) round(ctx context.Context) {
	now, sharers := time.Now(), make(map[string]int)
	for t := range s.board.Tenants.All() {
		sharers[t.Organization()]++
	}
	before, broken := s.plans, 0
	s.plans = make(map[string]plan, len(before))
	for t := range s.board.Tenants.All() {
		down := s.board.isDown(t.Name)
		if down {
			broken++
		}
		every := sweepEvery(t, sharers[t.Organization()], down, s.broken)
		p, known := before[t.Name]
		if !known || p.after > every { // not all after the start, nor when the network is gone
			p = plan{now.Add(first(every)), jitter(every)}
		}
		due := s.board.seen(t.Name).Add(p.after)
		if !now.Before(due) && !now.Before(p.notBefore) && !s.board.busy(t) && !s.board.quiet.Load() {
			p = plan{now.Add(jitter(every)), jitter(every)}
			s.start(ctx, t)
		}
		s.plans[t.Name] = p
	}
	s.broken = broken
}

// start checks t in the background, when there is a place.
func (s *sweep) start(ctx context.Context, t *tenants.Tenant) {
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return
	}
	if _, already := s.board.polling.LoadOrStore(t.Name, struct{}{}); already {
		<-s.places
		return
	}
	s.board.polls.Go(func() {
		defer func() { <-s.places }()
		defer s.board.polling.Delete(t.Name)
		defer panics.Recover(s.board.Log, "sweep", nil)
		s.board.check(ctx, t)
	})
}

// first is when the first check of many is due that are made so often: not at
// once, since somebody may be about to call.
func first(every time.Duration) time.Duration {
	least := min(every/4, 2*time.Minute)
	return least + time.Duration(rand.Int64N(int64(every-least)))
}

// jitter is a time of up to d, and not much less.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d/4)))
}

// sweepEvery is how long t may go unseen, one of sharers that spend its budget;
// and if it is down, one of broken that are.
func sweepEvery(t *tenants.Tenant, sharers int, down bool, broken int) time.Duration {
	every := sweepWithin
	if down {
		every = min(sweepBroken*time.Duration(max(1, broken/fewBroken)), sweepWithin)
	}
	costs := time.Duration(float64(t.Window) / float64(t.Requests) * checkCosts * sweepPart * float64(sharers))
	if 3*every/4 < costs { // jitter takes a quarter
		every = 4 * costs / 3
	}
	return every
}

// isDown reports whether the tenant is broken, or was when it was last known how
// it is.
func (b *Board) isDown(name string) bool {
	state := b.State(name)
	if state == Unchecked && b.History != nil { // since the start
		last, _ := b.History.Last(name)
		state = State(last.State)
	}
	return state == Broken
}

// seen is when a call or a check has last shown how the tenant is.
func (b *Board) seen(name string) time.Time {
	seen := b.traffic.success(name)
	if failing := b.traffic.trouble(name); failing != nil && failing.Last.After(seen) {
		seen = failing.Last
	}
	if last := b.last(name); last != nil && last.At.After(seen) {
		seen = last.At
	}
	return seen
}

// busy reports whether the tenant has no budget to spare: it is in use.
func (b *Board) busy(t *tenants.Tenant) bool {
	spent, _ := b.Budget(t)
	return spent.ClosedFor > 0 || spent.Waiting > 0
}
