package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/limits"
)

// All were alone, and one is back before the others. What they spend meanwhile
// it cannot see, and leaves to them; once they are back, or do not come, the
// whole budget is used again.
func TestWhoIsBackFirstLeavesTheOthersTheirShare(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	for name, others := range map[string]time.Duration{"the others come": 2 * time.Second, "the others never come": time.Hour} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { backFirst(t, s, others) }) })
	}
}

func backFirst(t *testing.T, s *simulated, others time.Duration) {
	const requests, places, window = 60, 12, 3 * time.Second
	key := limits.Key{Organization: t.Name(), ClientID: "app"}
	o := &organization{requests: requests, places: places, window: window}
	began := time.Now()
	ago := func() time.Duration { return time.Since(began) }
	s.size = 3
	gone := 5 * time.Second // since then Redis has been away
	back := []time.Duration{gone + 6*time.Second, gone + 6*time.Second + others, gone + 6*time.Second + others}
	var late atomic.Int64 // served by the first, in the end
	var running sync.WaitGroup
	for i := range 3 {
		m := &member{simulated: s, name: fmt.Sprint("p", i)}
		m.down = func() error {
			if ago() > gone && ago() < back[i] {
				return errors.New("away")
			}
			return nil
		}
		g := &limits.Gate{Store: &Budgets{client: m}}
		g.Configure(key, limits.Budget{Requests: requests, Window: window, ExecutionTime: time.Hour, Concurrency: places})
		t.Cleanup(func() { g.Retain(func(limits.Key) bool { return false }) })
		until := min(back[i]+4*lease, back[0]+4*lease)
		if others > lease && i > 0 {
			until = back[0] + lease
		}
		for range places {
			running.Go(func() {
				for ago() < until {
					pass, err := g.Enter(t.Context(), key, limits.Caller{Name: "a"}, time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					o.serve(10 * time.Millisecond)
					pass.Done(limits.Outcome{Sent: true, Answered: true, Took: 10 * time.Millisecond})
					if i == 0 && ago() > until-2*window {
						late.Add(1)
					}
				}
			})
		}
	}
	most, expected := 0, back[0]+2*lease // in a window, for as long as the others are expected
	if others < lease {
		expected = back[0] + 4*lease
	}
	running.Go(func() {
		time.Sleep(expected - ago())
		o.mu.Lock()
		defer o.mu.Unlock()
		most = o.most
	})
	running.Wait()
	t.Logf("%d served, %d in a window at most, and %d at once; the first served %d in its last two windows", o.served, most, o.mostIn, late.Load())
	if most > requests {
		t.Errorf("%d in a window of %d", most, requests)
	}
	if others > lease && late.Load() < 3*requests/2 {
		t.Errorf("in two windows the only one has served %d", late.Load())
	}
	time.Sleep(time.Second) // for exchanges that are under way
}

// Who was told to keep to its share may spend all of it before it is heard
// again: that is left to it when the last comes who was expected.
func TestAShareIsLeftToWhomItWasPromised(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		const limit, window, away = 60, 3 * time.Second, 6 * time.Second
		sequence, last := int64(0), new(limits.Grant)
		tell := func(name string, r limits.Statement) *limits.Grant {
			t.Helper()
			sequence++
			r.Sequence, r.Generation, r.Clock, r.Before = sequence, last.Generation, last.Clock, time.Hour
			r.Span, r.Guess, r.Limit, r.MillisLimit, r.PlacesWant, r.PlacesLimit = window, 1, limit, 1e9, 1, 12
			g, err := (&Budgets{client: &member{simulated: s, name: name}}).Exchange(t.Context(), contoso, &r)
			if err != nil {
				t.Fatal(err)
			}
			last = g
			return g
		}
		s.size = 3
		for _, name := range []string{"a", "b", "c"} {
			last.Generation = "" // which a newcomer does not know
			tell(name, limits.Statement{})
		}
		time.Sleep(away)
		for _, name := range []string{"a", "b"} {
			if g := tell(name, limits.Statement{Among: 3, Away: away}); !g.Young {
				t.Errorf("%s need not keep to its share", name)
			}
		}
		if g := tell("c", limits.Statement{Need: limit, Among: 3, Away: away}); g.Young || g.Requests != limit/3 {
			t.Errorf("the last is granted %d, young %v", g.Requests, g.Young)
		}
	})
}

// Whoever was away for so long that it has been forgotten tells at once what its
// window holds, and does not go by its share for another pause.
func TestWhoWasForgottenIsBackAtOnce(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		var heard atomic.Int64 // when the first exchange went through again
		m := &member{simulated: s, name: "p0"}
		m.down = func() error {
			if away.Load() {
				return errors.New("away")
			}
			heard.CompareAndSwap(0, time.Now().UnixNano())
			return nil
		}
		budget := limits.Budget{Requests: 300, Window: time.Second, ExecutionTime: time.Hour, Concurrency: 4}
		all := append(gates(s, 2, budget)[1:], &limits.Gate{Store: &Budgets{client: m}})
		all[1].Configure(contoso, budget)
		var running sync.WaitGroup
		for _, g := range all {
			keep(t, &running, g, "a", 1, 100*time.Millisecond, time.Now().Add(time.Minute))
		}
		time.Sleep(3 * time.Second)
		away.Store(true)
		time.Sleep(30 * time.Second)
		heard.Store(0)
		away.Store(false)
		for all[1].Snapshot(contoso).Apart > 0 {
			time.Sleep(time.Millisecond)
		}
		if since := time.Duration(time.Now().UnixNano() - heard.Load()); since > 100*time.Millisecond {
			t.Errorf("it is one again %v after the store has answered", since)
		}
		running.Wait()
		end(all)
	})
}
