package limits

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func documented() terms {
	return terms{Budget{
		Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52,
	}, 30 * time.Second}
}

// BenchmarkAdmission is one Enter and its Done with every limit in force and
// room in all of them, besides so many other recent callers.
func BenchmarkAdmission(b *testing.B) {
	for _, callers := range []int{1, 2, 100} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var g Gate
			budget := documented()
			budget.Requests, budget.ExecutionTime = 1e9, 1e9*time.Second
			budget.Rate, budget.Burst = 1e9, 1e9
			names := make([]string, callers)
			for i := range names {
				names[i] = fmt.Sprint("caller", i)
			}
			g.Configure(contoso, budget.Budget)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p, err := g.Enter(b.Context(), contoso, Caller{Name: names[i%callers]}, budget.QueueWait)
				if err != nil {
					b.Fatal(err)
				}
				p.Done(Outcome{Sent: true, Answered: true, Took: time.Millisecond})
			}
		})
	}
}

// heap is what is live.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestTenantsAreSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{}
		before := heap()
		const busy = 200
		for i := range busy {
			key := Key{Organization: fmt.Sprint("busy", i)}
			for n := range 6000 {
				p, err := documented().enter(t.Context(), g, key, []string{"a", "b", "c"}[n%3], 1)
				if err != nil {
					t.Fatal(err)
				}
				p.Done(Outcome{Sent: true, Answered: true, Took: 20 * time.Millisecond})
			}
		}
		each := (heap() - before) / busy
		t.Logf("%d bytes a tenant with 6,000 requests in its window", each)
		if each > 4500 {
			t.Errorf("%d bytes a busy tenant, want at most 4500", each)
		}
		time.Sleep(time.Hour)
		synctest.Wait()

		before = heap()
		const idle = 100_000
		for i := range idle {
			p, err := documented().enter(t.Context(), g, Key{Organization: fmt.Sprint("idle", i)}, "a", 1)
			if err != nil {
				t.Fatal(err)
			}
			p.Done(served)
			if i%5000 == 0 {
				time.Sleep(10 * time.Minute) // let those before come to rest
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		each = (heap() - before) / idle
		t.Logf("%d bytes a tenant at rest", each)
		if each > 1400 {
			t.Errorf("%d bytes a tenant at rest", each)
		}
		runtime.KeepAlive(g)
	})
}
