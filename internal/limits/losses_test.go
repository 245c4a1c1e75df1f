package limits

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A call that gets no answer after a refusal, because the connection tears or
// its caller leaves, is neither proof nor a refusal: the budget comes back as if
// it had not been sent. It did not for a whole window, where it was the test of
// whether the refusals have ended.
func TestWhatIsLostAfterARefusalKeepsNothingClosed(t *testing.T) {
	for _, kind := range []LimitKind{Requests, ExecutionTime} {
		for _, lost := range []int{1, 2, 9} {
			for _, workers := range []int{1, 8} {
				t.Run(fmt.Sprint(kind, "/", lost, " by ", workers), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { recoverFromLoss(t, kind, lost, workers) })
				})
			}
		}
	}
}

// recoverFromLoss makes one call that is refused, beside others that are lost,
// then so many that are lost, and counts how many are served in the minute after.
func recoverFromLoss(t *testing.T, kind LimitKind, lost, workers int) {
	var g Gate
	g.Configure(contoso, Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52})
	enter := func() *Pass {
		p, err := g.Enter(t.Context(), contoso, Caller{Name: "a"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	answered := Outcome{Sent: true, Answered: true, Took: 100 * time.Millisecond}
	unanswered := Outcome{Sent: true, Took: 100 * time.Millisecond}
	enter().Done(answered)
	refused, beside := enter(), enter()
	refused.Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: kind, RetryAfter: time.Second}})
	beside.Done(unanswered)
	for range lost {
		p := enter()
		time.Sleep(100 * time.Millisecond)
		p.Done(unanswered)
	}
	var served atomic.Int64
	var running sync.WaitGroup
	stop := time.Now().Add(time.Minute)
	for range workers {
		running.Go(func() {
			for time.Now().Before(stop) {
				p := enter()
				time.Sleep(100 * time.Millisecond)
				p.Done(answered)
				served.Add(1)
			}
		})
	}
	running.Wait()
	if least := int64(workers) * 600 * 8 / 10; served.Load() < least {
		t.Errorf("%d were served in a minute, at least %d can be", served.Load(), least)
	}
}

// refusedGate is a gate of so many requests. What it is asked for is answered,
// refused or lost as the test says.
type refusedGate struct {
	*Gate
	t *testing.T
}

func newRefusedGate(t *testing.T, requests int) refusedGate {
	g := refusedGate{new(Gate), t}
	g.Configure(contoso, Budget{Requests: requests, Window: 5 * time.Minute, ExecutionTime: time.Hour, Concurrency: 52})
	return g
}

func (g refusedGate) enter() *Pass {
	p, err := g.Enter(g.t.Context(), contoso, Caller{Name: "a"}, time.Minute)
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

// atOnce is how many may be in flight at once, which then are over unsent.
func (g refusedGate) atOnce() int {
	var all []*Pass
	for len(all) < 40 {
		p, err := g.Enter(g.t.Context(), contoso, Caller{Name: "a"}, 0)
		if err != nil {
			break
		}
		all = append(all, p)
	}
	for _, p := range all {
		p.Done(Outcome{})
	}
	return len(all)
}

var (
	isServed  = Outcome{Sent: true, Answered: true, Took: time.Millisecond}
	isLost    = Outcome{Sent: true, Took: time.Millisecond}
	isRefused = Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, RetryAfter: time.Second}}
)

// What was lost gives back what a test may use, and no more than that.
func TestWhatIsLostGivesBackNoMoreThanItTook(t *testing.T) {
	for name, c := range map[string]struct {
		requests int
		course   func(refusedGate)
		want     int // calls at once, when the pause is over
	}{
		"nothing is lost": {6000, func(g refusedGate) {
			g.enter().Done(isServed)
			g.enter().Done(isRefused)
		}, 1},
		"one is": {6000, func(g refusedGate) {
			g.enter().Done(isServed)
			g.enter().Done(isRefused)
			g.enter().Done(isLost)
		}, 1},
		"one that the refusal has counted": {6000, func(g refusedGate) {
			before := g.enter()
			time.Sleep(time.Millisecond)
			g.enter().Done(isRefused)
			before.Done(isLost)
		}, 1},
		"one beside two that are refused": {6000, func(g refusedGate) {
			g.enter().Done(isServed)
			first, lost, second := g.enter(), g.enter(), g.enter()
			time.Sleep(time.Millisecond)
			first.Done(isRefused)
			lost.Done(isLost)
			time.Sleep(time.Millisecond)
			second.Done(isRefused)
		}, 1},
		"many are, and one is served, which lets one more be risked": {6000, func(g refusedGate) {
			g.enter().Done(isServed)
			g.enter().Done(isRefused)
			for range 9 {
				g.enter().Done(isLost)
			}
			g.enter().Done(isServed)
		}, 2},
		"all of the limit is": {10, func(g refusedGate) {
			for range 7 {
				g.enter().Done(isServed)
			}
			g.enter().Done(isRefused)
			for range 3 {
				g.enter().Done(isLost)
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRefusedGate(t, c.requests)
				c.course(g)
				time.Sleep(20 * time.Second)
				if n := g.atOnce(); n != c.want {
					t.Errorf("%d may be in flight at once, want %d", n, c.want)
				}
			})
		})
	}
}

// What was lost leaves the window when the rest does, also where that has become
// shorter since.
func TestWhatIsLostFadesWithTheWindow(t *testing.T) {
	var m budgetCounter
	m.stretch(0, 5*time.Minute)
	m.configure(100, false)
	m.refused(refusal{now: time.Second, started: time.Second, span: 5 * time.Minute, most: 10})
	m.lose(2*time.Second, 2*time.Second, 3)
	m.stretch(3*time.Second, 10*time.Second)
	for at, want := range map[time.Duration]float64{4 * time.Second: 3, 11 * time.Second: 3, 13 * time.Second: 0} {
		c := m
		c.lost = &losses{}
		*c.lost = *m.lost
		c.lost.slots = slots{few: append(c.lost.slots.few[:0:0], m.lost.slots.few...)}
		if got := c.lostNow(at); got != want {
			t.Errorf("after %v %v are lost, want %v", at, got, want)
		}
	}
}

// A proxy that has a refusal from another, and cannot ask it any more, loses
// calls of its own as if it had been refused itself.
func TestWhatIsLostAfterARefusalOfAnotherProxy(t *testing.T) {
	var m budgetCounter
	m.stretch(0, 5*time.Minute)
	m.configure(100, false)
	m.hear(lesson{Others: heldBack{Held: 90, Since: time.Second, ProbeAt: 2 * time.Second, Step: 1}}, 0)
	before := m.open(3*time.Second, 1)
	m.lose(3*time.Second, 3*time.Second, 1)
	if open := m.open(3*time.Second, 1); before != 11 || open != 12 {
		t.Errorf("%v were open, and %v when one was lost", before, open)
	}
}
