package limits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dynproxy/internal/panics"

	"github.com/rs/zerolog"
)

// Gate admits calls to the budgets of many application users, each budget on
// its own. The zero value is ready for Configure. It starts no goroutine; a key
// with nothing in flight, waiting or inside its window has no timer either.
type Gate struct {
	Log   zerolog.Logger // of faults of the program
	Store Store          // where other proxies spend the same budgets; nil: there are none

	epoch time.Time // origin of the ledgers' clocks, from before there is one

	mu      sync.RWMutex    // guards what follows
	budgets map[Key]*Budget // never changed
	latest  *Budget         // configured; most of many keys have the same
	ledgers map[Key]*ledger // of the keys that were entered
}

// waiter is a call in a queue. Exactly one value is sent to ready.
type waiter struct {
	ready chan result
	since time.Duration
	until time.Duration // the instant at which its patience ends
	share *share
}

// result ends a wait.
type result struct {
	pass *Pass
	err  error
}

// Pass is a place in a budget. It must be given back by Done.
type Pass struct {
	ledger   *ledger
	share    *share
	start    time.Duration
	requests float64 // own requests counted at admission, this one included
	millis   float64 // own execution time counted at admission
	inFlight int     // own calls in flight at admission, this one included

	requestsBefore uint64 // settled before admission, ever
	millisBefore   uint64
	elsewhere      [limitKinds]float64 // that other proxies had surely spent

	risked  [limitKinds]bool
	counted bool // the windows count it
	done    bool
}

// Configure tells the budget of key, which takes effect at once, for calls that
// wait too. What was learned about a limit is kept unless its number changes.
func (g *Gate) Configure(key Key, b Budget) {
	b = b.normal()
	g.mu.Lock()
	if g.budgets == nil {
		g.budgets = make(map[Key]*Budget)
		g.ledgers = make(map[Key]*ledger)
		g.epoch = time.Now()
	}
	if g.latest == nil || *g.latest != b {
		g.latest = &b
	}
	shared := g.latest
	g.budgets[key] = shared
	l := g.ledgers[key]
	g.mu.Unlock()
	if l != nil {
		l.configure(shared)
	}
}

// Retain forgets the keys that keep does not keep, and all that was learned
// about them. Calls that wait get ErrDropped; passes already given out stay
// good.
func (g *Gate) Retain(keep func(Key) bool) {
	var gone []Key
	g.mu.RLock()
	for key := range g.budgets {
		if !keep(key) {
			gone = append(gone, key)
		}
	}
	g.mu.RUnlock()
	for _, key := range gone {
		g.remove(key)
	}
}

func (g *Gate) remove(key Key) {
	g.mu.Lock()
	l := g.ledgers[key]
	delete(g.ledgers, key)
	delete(g.budgets, key)
	g.mu.Unlock()
	if l != nil {
		l.forget()
	}
}

// Caller is who calls, for a fair share of the budget.
type Caller struct {
	Name   string
	Weight int // beside other callers; 1 if it is less
}

// Enter waits until the budget of key has room for one more request of who and
// takes it. Callers that wait are served in turn, in proportion to their
// weight; within one caller first come is first served.
//
// A call that would wait longer than its patience is refused with *Full, at
// once where that is certain beforehand. When ctx ends first its place is free
// again and the error wraps ctx's. ErrDropped says that the key was removed
// meanwhile, ErrUnknown that it has no budget.
func (g *Gate) Enter(ctx context.Context, key Key, who Caller, patience time.Duration) (*Pass, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("enter the budget of %s: %w", key.Organization, err)
	}
	for {
		l := g.ledger(key)
		if l == nil {
			return nil, fmt.Errorf("enter the budget of %s: %w", key.Organization, ErrUnknown)
		}
		pass, w, err := l.enter(who, patience)
		switch {
		case errors.Is(err, errForgotten):
			continue
		case w == nil:
			return pass, err
		}
		return w.wait(ctx, key, patience)
	}
}

// wait blocks until the result, the end of ctx or the end of patience.
func (w *waiter) wait(ctx context.Context, key Key, patience time.Duration) (*Pass, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	l := w.share.ledger
	select {
	case v := <-w.ready:
		return v.pass, v.err
	case <-timer.C:
		if full := l.expire(w); full != nil {
			return nil, full
		}
		v := <-w.ready
		return v.pass, v.err
	case <-ctx.Done():
		l.abandon(w)
		return nil, fmt.Errorf("wait for the budget of %s: %w", key.Organization, ctx.Err())
	}
}

// ledger finds or opens the ledger of key, nil for one without a budget.
func (g *Gate) ledger(key Key) *ledger {
	g.mu.RLock()
	l := g.ledgers[key]
	g.mu.RUnlock()
	if l != nil {
		return l
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.budgets[key]
	if l = g.ledgers[key]; l != nil || b == nil {
		return l
	}
	l = &ledger{gate: g}
	if g.Store != nil {
		l.shared = newSharing(g.Store, key)
	}
	l.configure(b)
	g.ledgers[key] = l
	return l
}

// Retell tells the Store anew of every budget of which this gate has spent in
// the window, one after the other: it has lost what it knew.
func (g *Gate) Retell() {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, l := range g.ledgers {
		if l.shared != nil {
			l.retell()
		}
	}
}

// Leave gives back to the Store what this gate holds and has not used: it is
// about to end. It takes a second at most.
func (g *Gate) Leave() {
	if g.Store == nil {
		return
	}
	g.mu.RLock()
	holders := make(chan *ledger, len(g.ledgers))
	for _, l := range g.ledgers {
		holders <- l
	}
	g.mu.RUnlock()
	close(holders)
	began := time.Now()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			defer panics.Recover(g.Log, "end of shared budgets", nil)
			for l := range holders {
				if time.Since(began) < time.Second-patience {
					l.giveUp()
				}
			}
		})
	}
	all.Wait()
}

// Snapshot is the present state of key, the zero State for one that nobody
// entered.
func (g *Gate) Snapshot(key Key) State {
	g.mu.RLock()
	l := g.ledgers[key]
	g.mu.RUnlock()
	if l == nil {
		return State{}
	}
	return l.snapshot()
}
