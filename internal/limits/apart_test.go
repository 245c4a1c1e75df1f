package limits

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// unreachable is a store that so many proxies share, and cannot reach.
type unreachable int

func (u unreachable) Exchange(context.Context, Key, *Statement) (*Grant, error) { return nil, ErrApart }
func (u unreachable) Size() int                                                 { return int(u) }

// While the store is gone one of three proxies is restarted, with a window that
// all three have used up. What the organization says of what remains is no
// reason to leave the newcomer without its share: the other two spend theirs.
func TestWhoStartsApartHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const windows, share, window = 9, 100, 3 * time.Second
		o := &organization{requests: 3 * share, window: window, execution: time.Hour, concurrency: 100, headers: true}
		budget := terms{Budget{Requests: 3 * share, Window: window, ExecutionTime: time.Hour, Concurrency: 100}, time.Hour}
		began := time.Now()
		var running sync.WaitGroup
		proxy := func(from, to time.Duration) *[windows + 1]int {
			var mu sync.Mutex
			served, g := new([windows + 1]int), &Gate{Store: unreachable(3)}
			l := load{g, o, budget, between(1, time.Millisecond, time.Millisecond), between(2, 5*time.Millisecond, 15*time.Millisecond)}
			g.Configure(contoso, budget.Budget)
			for range 20 {
				running.Go(func() {
					for time.Sleep(from - time.Since(began)); time.Since(began) < to; {
						if err := l.call(t.Context(), "a"); err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						served[min(time.Since(began)/window, windows)]++
						mu.Unlock()
					}
				})
			}
			return served
		}
		restart := 3*window + window/3
		one, other := proxy(0, windows*window), proxy(0, windows*window)
		proxy(0, restart)
		newcomer := proxy(restart+window/6, windows*window)
		running.Wait()
		t.Logf("a window: the newcomer %d, the others %d and %d; %d refused", *newcomer, *one, *other, o.refusals())
		for n := 5; n < windows; n++ {
			if newcomer[n] < share*3/4 || one[n] < share*3/4 || other[n] < share*3/4 {
				t.Errorf("window %d: %d, %d and %d of a share of %d", n, newcomer[n], one[n], other[n], share)
			}
		}
		if o.refusals() > share {
			t.Errorf("%d refused", o.refusals())
		}
	})
}
