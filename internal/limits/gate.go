package limits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Gate admits calls to the budgets of many application users, each budget on
// its own. The zero value is an open gate. It starts no goroutine; a key with
// nothing in flight, waiting or inside its window has no timer either.
type Gate struct {
	mu      sync.RWMutex // guards what follows
	epoch   time.Time    // origin of the ledgers' clocks
	ledgers map[Key]*ledger
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
	waited   time.Duration
	counted  bool // the windows count it
	done     bool
}

// Waited is how long the call stood in the queue.
func (p *Pass) Waited() time.Duration { return p.waited }

// Enter waits until the budget of key has room for one more request of caller
// and takes it. Callers that wait are served in turn, in proportion to their
// weight (1 if it is less); within one caller first come is first served.
//
// The budget takes effect at once, for all calls of the key that wait already
// too; only its QueueWait and QueueLength are this call's own.
//
// A call that would wait longer than b.QueueWait is refused with *Full, at once where
// that is certain beforehand. When ctx ends first its place is free again and
// the error wraps ctx's. ErrDropped says that the key was dropped meanwhile.
func (g *Gate) Enter(ctx context.Context, key Key, caller string, weight int, b Budget) (*Pass, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("enter the budget of %s: %w", key.Organization, err)
	}
	b = b.normal()
	for {
		pass, w, err := g.ledger(key).enter(caller, weight, b)
		switch {
		case errors.Is(err, errForgotten):
			continue
		case w == nil:
			return pass, err
		}
		return w.wait(ctx, key, b.QueueWait)
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

// ledger finds or opens the ledger of key.
func (g *Gate) ledger(key Key) *ledger {
	g.mu.RLock()
	l := g.ledgers[key]
	g.mu.RUnlock()
	if l != nil {
		return l
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if l = g.ledgers[key]; l != nil {
		return l
	}
	if g.ledgers == nil {
		g.ledgers = make(map[Key]*ledger)
		g.epoch = time.Now()
	}
	l = &ledger{epoch: g.epoch}
	g.ledgers[key] = l
	return l
}

// Adjust gives key a changed budget without entering, so that calls which wait
// feel it at once. A key that nobody has entered is left alone.
func (g *Gate) Adjust(key Key, b Budget) {
	g.mu.RLock()
	l := g.ledgers[key]
	g.mu.RUnlock()
	if l != nil {
		l.adjust(b.normal())
	}
}

// Drop forgets key and all that was learned about it. Calls that wait get
// ErrDropped; passes already given out stay good.
func (g *Gate) Drop(key Key) {
	g.mu.Lock()
	l := g.ledgers[key]
	delete(g.ledgers, key)
	g.mu.Unlock()
	if l != nil {
		l.forget()
	}
}

// Snapshot is the present state of key, the zero State for an unknown one.
func (g *Gate) Snapshot(key Key) State {
	g.mu.RLock()
	l := g.ledgers[key]
	g.mu.RUnlock()
	if l == nil {
		return State{}
	}
	return l.snapshot()
}
