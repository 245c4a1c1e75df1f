package limits

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A caller that never gives its places back does not keep others from theirs,
// nor do two.
func TestStalledCallersStarveNobody(t *testing.T) {
	for _, stalled := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget{Concurrency: 52}, 0}
			held := 0
			for n := range 60 * stalled {
				if _, err := b.enter(t.Context(), &g, contoso, fmt.Sprint("stalled", n/60), 1); err == nil {
					held++
				}
			}
			if held < 46 {
				t.Errorf("%d callers hold %d of 52 places that nobody else wants", stalled, held)
			}
			for range 100 {
				enter(t, &g, "form", b).Done(served)
			}
		})
	}
}

// Callers with many calls in flight share the places by their weights, however
// long each holds what it has.
func TestPlacesAreSharedByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 52}, time.Hour}
		stop := time.Now().Add(10 * time.Minute)
		var all sync.WaitGroup
		for _, c := range []struct {
			name   string
			weight int
			holds  time.Duration
		}{{"slow", 1, 20 * time.Second}, {"quick", 1, 100 * time.Millisecond}, {"heavy", 3, time.Second}} {
			for range 60 {
				all.Go(func() {
					for time.Now().Before(stop) {
						p, err := b.enter(t.Context(), &g, contoso, c.name, c.weight)
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(c.holds)
						p.Done(served)
					}
				})
			}
		}
		time.Sleep(5 * time.Minute)
		places := map[string]int{}
		for range 100 {
			for _, c := range g.Snapshot(contoso).Callers {
				places[c.Name] += c.InFlight
			}
			time.Sleep(time.Second + 7*time.Millisecond)
		}
		t.Logf("on average %d, %d and %d hundredths of a place", places["slow"], places["quick"], places["heavy"])
		if slow, heavy := places["slow"], places["heavy"]; slow > heavy/2 || places["slow"]+places["quick"]+heavy < 4600 {
			t.Errorf("places of 52, summed 100 times: %v", places)
		}
		all.Wait()
	})
}
