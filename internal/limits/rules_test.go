package limits

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file each hold one rule of the learning that the
// simulations can do without.

func told(f Feedback) Outcome { return Outcome{Sent: true, Answered: true, Feedback: f} }

// entersAtOnce fails the test unless so many calls are admitted together
// without a wait.
func entersAtOnce(t *testing.T, g *Gate, b terms, n int) {
	t.Helper()
	b.QueueWait = 0
	for i := range n {
		if _, err := b.enter(t.Context(), g, contoso, "a", 1); err != nil {
			t.Fatalf("call %d of %d at once: %v", i+1, n, err)
		}
	}
}

// An organization that once said what remains and then falls silent is
// believed for a window: neither others nor a gift are remembered for ever.
func TestWhatHeadersSaidIsForgottenAfterAWindow(t *testing.T) {
	for left, limit := range map[string]float64{"0": 0, "199": 199} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget{Requests: 100, Window: time.Minute}, 0}
			enter(t, &g, "a", b).Done(told(Feedback{}.WithHeaders(left, "", "")))
			if use := g.Snapshot(contoso).Requests; use.Limit-use.HeldBack != limit {
				t.Fatalf("after %s left: %+v, want %v open", left, use, limit)
			}
			time.Sleep(b.Window + time.Second)
			entersAtOnce(t, &g, b, 100)
			refused(t, &g, "a", b)
		})
	}
}

// Calls that an organization leaves unanswered do not use the budget of
// execution time up: there is room for those that it would answer.
func TestUnansweredCallsLeaveExecutionTimeToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, 0}
		enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Took: 100 * time.Millisecond})
		for i := range 40 {
			enter(t, &g, fmt.Sprint(i%4), b)
		}
		time.Sleep(6 * time.Minute)
		entersAtOnce(t, &g, b, 1)
	})
}

// A gate that opens softly does not wait for one slow call.
func TestASlowCallDoesNotHoldAnOpeningGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 50}, 20 * time.Second}
		enter(t, &g, "a", b).Done(told(Feedback{Refused: Requests, RetryAfter: time.Second}))
		enter(t, &g, "a", b) // goes on for long
		start := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { enter(t, &g, "a", b) })
		}
		all.Wait()
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("ten more calls entered in %v, want one each second", took)
		}
	})
}

// What is held back is tested by whoever is there, though the little that is
// risked would be kept for another caller.
func TestWhoIsThereTestsForThoseWhoAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 100, Window: time.Minute}, 0}
		for range 5 {
			enter(t, &g, "rare", b).Done(served)
			for range 10 {
				enter(t, &g, "a", b).Done(served) // its fair part, in all
			}
			time.Sleep(4 * time.Second)
		}
		enter(t, &g, "a", b).Done(told(Feedback{Refused: Requests, RetryAfter: time.Second}))
		time.Sleep(2 * time.Second)
		enter(t, &g, "a", b).Done(served)
	})
}

// Servers that count each for itself may name less than was served; the number
// is then what was served.
func TestANumberBelowWhatWasServedIsTooLow(t *testing.T) {
	for _, set := range []int{0, 100} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget{Requests: set, Window: time.Minute}, 0}
			for range 90 {
				enter(t, &g, "a", b).Done(served)
				time.Sleep(100 * time.Millisecond)
			}
			enter(t, &g, "a", b).Done(told(Feedback{Refused: Requests, Limit: 50, RetryAfter: time.Second}))
			if named := g.Snapshot(contoso).Requests.Named; named < 85 || named > 90 {
				t.Errorf("set to %d: %v taken for named when 90 had been served", set, named)
			}
		})
	}
}
