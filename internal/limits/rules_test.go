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

// What an operator sets holds at once, whatever the organization granted beyond
// the number before it.
func TestANewCeilingHoldsBesideAnOldGift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 6000, Window: time.Minute}, 0}
		enter(t, &g, "a", b).Done(told(Feedback{}.WithHeaders("7999", "", "")))
		b.Requests, b.Fixed.Requests = 100, true
		entersAtOnce(t, &g, b, 99)
		refused(t, &g, "a", b)
	})
}

// What was served within a gift of the organization is no proof against a later
// refusal: the gift counts with it.
func TestWhatAGiftLetInIsNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 100, Window: time.Minute}, 0}
		enter(t, &g, "a", b).Done(told(Feedback{}.WithHeaders("199", "", "")))
		for range 119 {
			enter(t, &g, "a", b).Done(served)
		}
		early := enter(t, &g, "a", b)
		enter(t, &g, "a", b).Done(told(Feedback{Refused: Requests, RetryAfter: time.Second}))
		early.Done(served)
		if use := g.Snapshot(contoso).Requests; use.Limit != 199 || use.HeldBack < 70 {
			t.Errorf("after a refusal at 121 of 199: %+v", use)
		}
	})
}

// A call that takes more execution time than a window has goes alone.
func TestACallOfMoreThanAWindowsTimeGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Window: 10 * time.Second, ExecutionTime: time.Second}, time.Minute}
		for range 3 {
			p := enter(t, &g, "a", b)
			time.Sleep(3 * time.Second)
			p.Done(served)
		}
	})
}

// Refusals that lie far apart are no row: each is waited out as if it were the
// first.
func TestRefusalsFarApartAreNoRow(t *testing.T) {
	const span = 5 * time.Minute
	var c ceiling
	c.configure(6000, false)
	now := time.Hour
	for i := range 10 {
		c.refused(refusal{now: now, started: now - time.Second, span: span, most: 3000}, 0)
		if pause := c.others.probeAt - now; pause > 3*time.Second {
			t.Errorf("refusal %d, three windows after the last, is heeded for %v", i+1, pause)
		}
		now += 3 * span
	}
}

// What others used is forgotten when nothing was asked for a window: after the
// night all may go at once.
func TestRestForgetsWhatOthersUsed(t *testing.T) {
	for _, kind := range []LimitKind{Requests, ExecutionTime, Concurrency} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, 0}
			for range 3 {
				enter(t, &g, "a", b).Done(told(Feedback{Refused: kind, RetryAfter: time.Second}))
				time.Sleep(time.Minute)
			}
			time.Sleep(8 * time.Hour)
			entersAtOnce(t, &g, b, 40)
		})
	}
}

// Others hold places for good. What little is left to them is tested seldom,
// and where much is a test that fails costs no more than a sixteenth of the
// time: the gate is closed for as long as Retry-After says.
func TestPlacesThatOthersHoldForGoodCostLittle(t *testing.T) {
	for _, c := range []struct {
		held   int
		silent bool // no Retry-After
		most   int  // refusals in some 45 windows
	}{{2, true, 40}, {4, true, 40}, {2, false, 40}, {6, false, 60}} {
		synctest.Test(t, func(t *testing.T) {
			org := &organization{window: 3 * time.Second, concurrency: 8, silent: c.silent, inFlight: c.held}
			b := terms{Budget{Window: org.window, Concurrency: org.concurrency}, 30 * time.Second}
			l := load{&Gate{}, org, b, between(1, time.Millisecond, 2*time.Millisecond), between(1, 40*time.Millisecond, 52*time.Millisecond)}
			took := l.run(t, "import", 64, 2400*(org.concurrency-c.held))
			t.Logf("%d of 8 held: refused %v, took %v of 118 s", c.held, org.refused, took)
			if org.refusals() > c.most || took > 150*time.Second {
				t.Errorf("%d of 8 held, silent %v: refused %v, took %v of 118 s", c.held, c.silent, org.refused, took)
			}
		})
	}
}

// A limit of places that is named, and shown to be true by what is in flight, is
// tested seldom: each test costs a refusal.
func TestProvenPlacesAreTestedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := &organization{window: 30 * time.Second, concurrency: 8}
		b := terms{Budget{Window: org.window, Concurrency: 9}, 5 * time.Minute}
		l := load{&Gate{}, org, b, between(1, time.Millisecond, 2*time.Millisecond), between(1, 100*time.Millisecond, 300*time.Millisecond)}
		var callers sync.WaitGroup
		for i := range 6 { // who is alone leaves a place to others
			callers.Go(func() { l.run(t, fmt.Sprint(i), 3, 8000) })
		}
		callers.Wait()
		t.Logf("refused %v in some 45 windows", org.refused)
		if org.refusals() > 30 {
			t.Errorf("refused %v in some 45 windows", org.refused)
		}
	})
}

// What is left after a slow call was used by those beside it, of which its own
// count knows nothing: it is not taken for the use of others.
func TestASlowCallsHeadersSayNothingOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 100, Window: time.Minute}, 0}
		slow := enter(t, &g, "a", b)
		for range 50 {
			enter(t, &g, "a", b).Done(served)
		}
		time.Sleep(20 * time.Second)
		slow.Done(told(Feedback{}.WithHeaders("49", "", "")))
		entersAtOnce(t, &g, b, 49)
	})
}

// A later refusal that names more than was set leaves no doubt of an earlier
// one that named less.
func TestALaterGreaterNumberLeavesNoDoubt(t *testing.T) {
	var c ceiling
	c.configure(6000, false)
	for i, named := range []float64{4000, 8000} {
		now := time.Duration(i+1) * time.Minute
		c.refused(refusal{now: now, started: now - time.Second, span: 5 * time.Minute, named: named, most: named, least: named}, 0)
	}
	if c.firm() != 8000 {
		t.Errorf("%v of 8000 are firm", c.firm())
	}
}
