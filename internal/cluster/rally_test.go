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
	alone := 0 // most in a window until the others come
	running.Go(func() {
		time.Sleep(back[0] + min(others, lease) - ago())
		o.mu.Lock()
		defer o.mu.Unlock()
		alone = o.most
	})
	running.Wait()
	t.Logf("%d served, %d in a window at most, %d until the others came; the first served %d in its last two windows", o.served, o.most, alone, late.Load())
	if others < lease && alone > requests {
		t.Errorf("%d in a window of %d", alone, requests)
	}
	if others > lease && late.Load() < 3*requests/2 {
		t.Errorf("in two windows the only one has served %d", late.Load())
	}
	time.Sleep(time.Second) // for exchanges that are under way
}
