package limits

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var contoso = Key{Organization: "contoso.crm.dynamics.com", ClientID: "app"}

// served is the outcome of a call that was answered.
var served = Outcome{Sent: true, Answered: true}

// terms are a budget and how patient the calls are that ask for it.
type terms struct {
	Budget
	QueueWait time.Duration
}

// enter configures the budget and asks for a place in it.
func (b terms) enter(ctx context.Context, g *Gate, key Key, caller string, weight int) (*Pass, error) {
	g.Configure(key, b.Budget)
	return g.Enter(ctx, key, Caller{caller, weight}, b.QueueWait)
}

// enter admits a call or fails the test.
func enter(t *testing.T, g *Gate, caller string, b terms) *Pass {
	t.Helper()
	p, err := b.enter(t.Context(), g, contoso, caller, 1)
	if err != nil {
		t.Fatalf("Enter as %s: %v", caller, err)
	}
	return p
}

// refused fails the test unless the call is refused, and returns the refusal.
func refused(t *testing.T, g *Gate, caller string, b terms) *Full {
	t.Helper()
	p, err := b.enter(t.Context(), g, contoso, caller, 1)
	full, ok := errors.AsType[*Full](err)
	if !ok {
		t.Fatalf("Enter as %s gives %v, %v; want *Full", caller, p, err)
	}
	return full
}

func TestConcurrencyHoldsThePlaceUntilDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 2}, time.Minute}
		first, _ := enter(t, &g, "a", b), enter(t, &g, "a", b)
		entered := make(chan time.Duration)
		start := time.Now()
		go func() {
			enter(t, &g, "a", b)
			entered <- time.Since(start)
		}()
		time.Sleep(7 * time.Second)
		first.Done(served)
		if waited := <-entered; waited != 7*time.Second {
			t.Errorf("third call entered after %v, want 7s", waited)
		}
	})
}

func TestRequestsWindowIsSpentWholeAndNotOverspent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 100, Window: 10 * time.Second}, time.Minute}
		start := time.Now()
		for i := range 300 {
			enter(t, &g, "a", b).Done(served)
			want := time.Duration(i/100) * 10 * time.Second
			if got := time.Since(start); got < want || got > want+want/200+time.Second/10 {
				t.Fatalf("call %d entered after %v, want %v", i, got, want)
			}
		}
	})
}

func TestRateAndBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Rate: 10, Burst: 5}, time.Second}
		start := time.Now()
		for range 15 {
			enter(t, &g, "a", b).Done(served)
		}
		if got := time.Since(start).Round(time.Millisecond); got != time.Second {
			t.Errorf("15 calls took %v, want 1s (5 at once, 10 at 10 a second)", got)
		}
		b.QueueWait = 0
		if full := refused(t, &g, "a", b); full.Kind != Requests || full.RetryAfter != time.Second {
			t.Errorf("refused with %+v, want requests, 1s", full)
		}
	})
}

func TestRefusalComesAtOnceAndItsRetryAfterIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 50, Window: time.Minute}, 10 * time.Second}
		for range 50 {
			enter(t, &g, "a", b).Done(served)
		}
		start := time.Now()
		full := refused(t, &g, "a", b)
		if took := time.Since(start); took != 0 {
			t.Errorf("told after %v what was known at once", took)
		}
		if full.Kind != Requests || full.RetryAfter < time.Minute || full.RetryAfter > 61*time.Second {
			t.Errorf("refused with %+v, want requests, about 1m", full)
		}
		time.Sleep(full.RetryAfter)
		b.QueueWait = 0
		enter(t, &g, "a", b)
	})
}

func TestCancelledCallFreesItsPlaceInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1, QueueLength: 1}, time.Minute}
		first := enter(t, &g, "a", b)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := b.enter(ctx, &g, contoso, "a", 1)
			left <- err
		}()
		synctest.Wait()
		refused(t, &g, "a", b) // the queue holds one
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled call got %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			first.Done(served)
		}()
		enter(t, &g, "a", b).Done(served)
		if s := g.Snapshot(contoso); s.Concurrency.Used != 0 || s.Waiting != 0 {
			t.Errorf("left behind: %v in flight, %d waiting", s.Concurrency.Used, s.Waiting)
		}
	})
}

func TestDropTellsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1}, time.Minute}
		first := enter(t, &g, "a", b)
		told := make(chan error)
		go func() {
			_, err := b.enter(t.Context(), &g, contoso, "a", 1)
			told <- err
		}()
		synctest.Wait()
		g.remove(contoso)
		if err := <-told; !errors.Is(err, ErrDropped) {
			t.Errorf("waiting call got %v, want ErrDropped", err)
		}
		enter(t, &g, "a", b).Done(served)
		first.Done(served)
		if s := g.Snapshot(contoso); s.Concurrency.Used != 0 {
			t.Errorf("%v in flight", s.Concurrency.Used)
		}
	})
}

// Of many that are refused at once each gets a time at which it can come.
func TestRefusedCallsAreInvitedOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget: Budget{Requests: 10, Window: 20 * time.Second}}
		for range 10 {
			enter(t, &g, "a", b).Done(served)
			time.Sleep(2 * time.Second)
		}
		var wg sync.WaitGroup
		for range 25 {
			full := refused(t, &g, "a", b)
			wg.Go(func() {
				time.Sleep(full.RetryAfter)
				enter(t, &g, "a", b).Done(served)
			})
		}
		wg.Wait()
	})
}
