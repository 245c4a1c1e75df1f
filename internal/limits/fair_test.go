package limits

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// interactive sends one request every pause until stop is closed, and returns
// how long each took.
func (l load) interactive(t *testing.T, caller string, pause time.Duration, stop <-chan struct{}) []time.Duration {
	var took []time.Duration
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return took
		case <-ticker.C:
			start := time.Now()
			if err := l.call(t.Context(), caller); err != nil {
				t.Errorf("%s: %v", caller, err)
				return took
			}
			took = append(took, time.Since(start))
		}
	}
}

func p95(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*95/100]
}

func TestInteractiveCallerKeepsItsPaceBesideAnImport(t *testing.T) {
	full := func() *organization {
		return &organization{requests: 6000, window: 5 * time.Minute, execution: 20 * time.Minute, concurrency: 52}
	}
	for _, c := range []struct {
		name  string
		org   func() *organization
		pause time.Duration
		total int
		slow  time.Duration
		most  time.Duration // for the import
	}{
		{"scaled", scaled, time.Second, 6000, 12 * time.Millisecond, 31 * time.Second},
		{"scaled and busy", scaled, 100 * time.Millisecond, 6000, 12 * time.Millisecond, 33 * time.Second},
		{"documented limits", full, time.Second, 15_000, 120 * time.Millisecond, 12 * time.Minute},
		{"bound by execution time", full, time.Second, 4_000, 2 * time.Second, 30 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := c.org()
				l := load{&Gate{}, org, org.budget(), between(1, 0, 4*time.Millisecond), between(1, c.slow/4, c.slow)}
				stop := make(chan struct{})
				var wg sync.WaitGroup
				var took []time.Duration
				wg.Go(func() { took = l.interactive(t, "form", c.pause, stop) })
				time.Sleep(5 * c.pause)
				spent := l.run(t, "import", 64, c.total)
				close(stop)
				wg.Wait()
				unloaded := c.slow + 2*4*time.Millisecond
				worst := slices.Max(took)
				t.Logf("p95 %v, worst %v of %d calls, unloaded at most %v; import took %v", p95(took), worst, len(took), unloaded, spent)
				// The worst, since a caller that waits sends nothing
				// meanwhile, which flatters its p95.
				if worst > 3*unloaded {
					t.Errorf("worst is %v, unloaded %v", worst, unloaded)
				}
				if n := org.refusals(); n > 0 {
					t.Errorf("refused %v", org.refused)
				}
				if spent > c.most {
					t.Errorf("the import took %v, want at most %v", spent, c.most)
				}
			})
		})
	}
}

func TestCallersShareByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1}, time.Hour}
		admitted := map[string]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for caller, weight := range map[string]int{"a": 1, "b": 3} {
			for range 10 {
				wg.Go(func() {
					for range 100 {
						p, err := b.enter(t.Context(), &g, contoso, caller, weight)
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(time.Second)
						mu.Lock()
						admitted[caller]++
						if admitted["a"]+admitted["b"] == 800 && (admitted["a"] < 195 || admitted["a"] > 205) {
							t.Errorf("after 800 calls %v, want 200 and 600", admitted)
						}
						mu.Unlock()
						p.Done(served)
					}
				})
			}
		}
		wg.Wait()
	})
}

func TestOneCallersCallsAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1}, time.Hour}
		first := enter(t, &g, "a", b)
		var order []int
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				p := enter(t, &g, "a", b)
				order = append(order, i) // one at a time: Concurrency is 1
				p.Done(served)
			})
			synctest.Wait()
		}
		first.Done(served)
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 20 {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestFullQueueLosesTheLongestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1, QueueLength: 10}, time.Hour}
		first := enter(t, &g, "import", b)
		var wg sync.WaitGroup
		var refusals int
		var mu sync.Mutex
		join := func(caller string) {
			wg.Go(func() {
				p, err := b.enter(t.Context(), &g, contoso, caller, 1)
				if err != nil {
					mu.Lock()
					refusals++
					mu.Unlock()
					return
				}
				p.Done(served)
			})
			synctest.Wait()
		}
		for range 15 {
			join("import")
		}
		join("form")
		s := g.Snapshot(contoso)
		if s.Waiting != 10 || refusals != 6 {
			t.Errorf("%d wait and %d were refused, want 10 and 6", s.Waiting, refusals)
		}
		for _, c := range s.Callers {
			if c.Name == "form" && c.Waiting != 1 {
				t.Errorf("the form's call is not in the queue: %+v", s.Callers)
			}
		}
		first.Done(served)
		wg.Wait()
	})
}

func TestWhatWasKeptBackIsSpentWhenTheOthersAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := scaled()
		l := load{&Gate{}, org, org.budget(), between(1, 0, 2*time.Millisecond), between(1, time.Millisecond, 12*time.Millisecond)}
		l.run(t, "form", 1, 30)
		time.Sleep(2 * org.window)
		took := l.run(t, "import", 64, 6000)
		if ideal := time.Duration(6000/org.requests-1)*org.window + time.Second; took > ideal*105/100 {
			t.Errorf("took %v, ideal is %v", took, ideal)
		}
	})
}

func TestTwoImportsShareTheWindowAndLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := scaled()
		l := load{&Gate{}, org, org.budget(), between(1, 0, 2*time.Millisecond), between(1, time.Millisecond, 12*time.Millisecond)}
		start := time.Now()
		var wg sync.WaitGroup
		var first, second time.Duration
		wg.Go(func() { first = l.run(t, "first", 64, 3000) })
		wg.Go(func() { second = l.run(t, "second", 8, 3000) })
		wg.Wait()
		took := time.Since(start)
		t.Logf("first %v, second %v; refused %v", first, second, org.refused)
		if ideal := 9*org.window + time.Second; took > ideal*105/100 {
			t.Errorf("both took %v, ideal is %v", took, ideal)
		}
		if d := (first - second).Abs(); d > org.window+org.window/3 {
			t.Errorf("first took %v, second %v", first, second)
		}
		if org.refusals() > 0 {
			t.Errorf("refused %v", org.refused)
		}
	})
}
