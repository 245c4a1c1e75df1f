package calls

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func failed(id, tenant string) *Call {
	return &Call{
		ID: id, Tenant: tenant, Caller: "webform", Remote: "10.0.0.7", Status: 502, Error: "upstream_unreachable", Attempts: 2,
		Path: "/" + tenant + "/api/data/v9.2/accounts", Message: strings.Repeat("why it failed ", 20), Tries: []Try{{Result: "failed", Reason: "reset"}, {Result: "failed", Reason: "reset"}},
	}
}

func ids(found []*Call) string {
	var all []string
	for _, c := range found {
		all = append(all, c.ID)
	}
	return strings.Join(all, " ")
}

func TestTheRingIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := NewRing()
	r.Add(failed("of-fabrikam", "fabrikam"))
	const flood = 25_000
	for i := range flood {
		r.Add(failed(fmt.Sprint("c", i), "contoso"))
		r.Add(failed(fmt.Sprint("s", i), ""))
		r.Add(&Call{ID: fmt.Sprint("w", i), Tenant: "contoso", Status: 200, Total: slow, Path: strings.Repeat("x", 300)})
	}
	n, bytes := r.Size()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int(after.HeapAlloc - before.HeapAlloc); bytes > 64<<20 || took > 64<<20 || took < bytes/2 {
		t.Errorf("%d calls of %d bytes take %d", n, bytes, took)
	}
	for id, want := range map[string]bool{
		"of-fabrikam":               true, // neither another tenant's failures, nor strangers, nor successes push it out
		fmt.Sprint("c", flood-1):    true,
		fmt.Sprint("s", flood-1):    true,
		fmt.Sprint("w", flood-1):    true,
		"c0":                        false,
		"s0":                        false,
		"w0":                        false,
		fmt.Sprint("c", flood-5000): true, // a quarter of the room for failures holds some thousands
	} {
		if c, times := r.find(id); (c != nil) != want || c != nil && (c.ID != id || times != 1) {
			t.Errorf("%s: remembered %v", id, c != nil)
		}
	}
	// Many tenants share the room.
	for i := range flood {
		r.Add(failed(fmt.Sprint("m", i), fmt.Sprint("tenant", i%1000)))
	}
	if r.kinds[failure].bytes > mostOfFailures || r.kinds[failure].bytes < mostOfFailures*9/10 {
		t.Errorf("failures take %d bytes", r.kinds[failure].bytes)
	}
	runtime.KeepAlive(r)
}

// Evicting one by one to the last leaves nothing behind.
func TestWhatIsForgottenLeavesNothing(t *testing.T) {
	r := NewRing()
	for i := range 300 {
		r.Add(failed(fmt.Sprint("id", i%7), fmt.Sprint("tenant", i%5)))
		r.Add(&Call{ID: "same", Status: 404})
		r.Add(&Call{ID: "same", Status: 200, Attempts: 2})
	}
	// In an order that is none of the chains'.
	for r.all.n > 0 {
		e := r.all.oldest
		for range r.all.n * 2 / 3 {
			if e.links[byEnd].newer == nil {
				break
			}
			e = e.links[byEnd].newer
		}
		r.forget(e)
	}
	if len(r.ids) > 0 || len(r.tenants) > 0 || r.all.bytes != 0 || r.all.oldest != nil || r.all.newest != nil {
		t.Errorf("%d ids, %d tenants, %+v", len(r.ids), len(r.tenants), r.all)
	}
	for kind, c := range r.kinds {
		if c.n != 0 || c.bytes != 0 || c.oldest != nil || c.newest != nil {
			t.Errorf("kind %d: %+v", kind, c)
		}
	}
}

func TestAShareOfSuccessesIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRing()
		kept := func() int { n, _ := r.Size(); return n }
		quick := &Call{ID: "q", Status: 200, Attempts: 1, Total: time.Millisecond}
		for range 5000 {
			r.Add(quick)
		}
		if kept() != successesAtOnce {
			t.Errorf("%d of a burst", kept())
		}
		for range 1000 { // a call a millisecond
			time.Sleep(time.Millisecond)
			r.Add(quick)
		}
		if n := kept() - successesAtOnce; n < successesASecond-1 || n > successesASecond+1 {
			t.Errorf("%d in a second", n)
		}
		before := kept()
		r.Add(&Call{ID: "slow", Status: 200, Attempts: 1, Total: slow})
		r.Add(&Call{ID: "again", Status: 200, Attempts: 1, Tries: make([]Try, 2)})
		for range 50 {
			r.Add(&Call{ID: "failed", Status: 404, Attempts: 1})
		}
		if kept() != before+52 {
			t.Errorf("of what is remarkable %d of 52 are remembered", kept()-before)
		}
	})
}

func TestOfTheSameIDTheLatestIsFound(t *testing.T) {
	r := NewRing()
	for status := 400; status < 410; status++ {
		r.Add(&Call{ID: "chosen", Status: status})
	}
	c, times := r.find("chosen")
	if c == nil || c.Status != 409 || times != 10 {
		t.Errorf("%+v, %d times", c, times)
	}
	if d, known := r.Explain("chosen"); !known || d.SameID != 10 || d.Call.Status != 409 {
		t.Errorf("%+v", d)
	}
	if c, _ := r.find("nobody"); c != nil {
		t.Error(c)
	}
	if _, known := r.Explain("nobody"); known {
		t.Error("what is not there is known")
	}
}

func TestTheLastCallsAreFoundByWhatTheyAre(t *testing.T) {
	r := NewRing()
	for i := range 2000 {
		r.Add(&Call{ID: fmt.Sprint(i), Tenant: []string{"contoso", "fabrikam"}[i%2], Caller: []string{"a", "b", "c"}[i%3], Status: []int{200, 404}[i/1000], Attempts: 2})
	}
	for _, c := range []struct {
		f     Filter
		limit int
		want  string
	}{
		{Filter{}, 3, "1999 1998 1997"},
		{Filter{Tenant: "contoso"}, 2, "1998 1996"},
		{Filter{Caller: "a"}, 2, "1998 1995"},
		{Filter{Caller: "a", Tenant: "fabrikam"}, 2, "1995 1989"},
		{Filter{Tenant: "nobody"}, 2, ""},
	} {
		if got := ids(r.Last(c.f, c.limit)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.f, got, c.want)
		}
	}
	if got := r.Last(Filter{Failed: true}, 5000); len(got) != 1000 || got[999].ID != "1000" {
		t.Errorf("%d failed", len(got))
	}
	if got := r.Last(Filter{}, 5000); len(got) != 2000 || got[1999].ID != "0" {
		t.Errorf("%d in all", len(got))
	}
}

// What is remembered keeps nothing else alive: a path is a piece of what was
// asked, query included.
func TestWhatIsRememberedIsACopy(t *testing.T) {
	asked := "/contoso/api/data/v9.2/accounts?$filter=secret"
	path, _, _ := strings.Cut(asked, "?")
	c := full()
	c.Path, c.OrgPath, c.Tries = path, path, []Try{{Result: "failed", Reason: asked[:5]}}
	r := NewRing()
	r.Add(&c)
	kept, _ := r.find(c.ID)
	if kept.Path != path || unsafe.StringData(kept.Path) == unsafe.StringData(asked) || kept.OrgPath != "" || unsafe.StringData(kept.Tries[0].Reason) == unsafe.StringData(asked) {
		t.Errorf("%+v", kept)
	}
	c.Tries[0].Reason = "changed"
	if kept.Tries[0].Reason != asked[:5] || kept.Hint != c.Hint || kept.Service != c.Service || kept.Agent != c.Agent {
		t.Errorf("%+v", kept)
	}
}

// A reader that is slow loses calls, is told of each, and holds nobody up.
func TestASlowReaderLosesCalls(t *testing.T) {
	r := NewRing()
	w := r.Watch(Filter{Failed: true})
	other := r.Watch(Filter{Tenant: "fabrikam"})
	defer other.Close()
	const sent = 3 * watched
	for i := range sent {
		r.Add(failed(fmt.Sprint(i), "contoso"))
		r.Add(&Call{ID: "well", Tenant: "contoso", Status: 200})
	}
	got := len(w.Calls)
	if lost := w.Lost(); got != watched || int(lost) != sent-watched || w.Lost() != 0 {
		t.Errorf("%d wait, %d are lost", got, lost)
	}
	if c := <-w.Calls; c.ID != "0" || c.Tries[1].Reason != "reset" {
		t.Errorf("the first is %+v", c)
	}
	if len(other.Calls) != 0 || other.Lost() != 0 {
		t.Error("somebody hears of what it did not ask for")
	}
	w.Close()
	for len(w.Calls) > 0 {
		<-w.Calls
	}
	r.Add(failed("late", "contoso"))
	if len(w.Calls) != 0 {
		t.Error("who has left still hears")
	}
	for range mostWatchers - 1 {
		if r.Watch(Filter{}) == nil {
			t.Fatal("there is no room")
		}
	}
	if r.Watch(Filter{}) != nil {
		t.Error("the watchers are not bounded")
	}
}

// Calls end, are looked for and watched at the same time, and the oldest make
// room meanwhile.
func TestTheRingUnderEverybody(t *testing.T) {
	r := NewRing()
	var enders, lookers sync.WaitGroup
	end := make(chan struct{})
	for i := range 4 {
		enders.Go(func() {
			for n := range 5_000 {
				r.Add(failed(fmt.Sprint(i, "-", n%3000), fmt.Sprint("tenant", n%3)))
			}
		})
	}
	for range 2 {
		lookers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				for _, c := range r.Last(Filter{Tenant: "tenant1"}, 1000) {
					if c.Tenant != "tenant1" {
						t.Error(c)
					}
				}
				r.Explain("1-77")
				w := r.Watch(Filter{})
				w.Close()
			}
		})
	}
	enders.Wait()
	close(end)
	lookers.Wait()
	if n, bytes := r.Size(); n == 0 || bytes > mostOfFailures {
		t.Errorf("%d calls, %d bytes", n, bytes)
	}
}

func TestWhatNobodyReadsCostsNothing(t *testing.T) {
	r := NewRing()
	well := &Call{ID: "w", Tenant: "contoso", Status: 200, Attempts: 1}
	for range successesAtOnce {
		r.Add(well)
	}
	r.share.SetLimit(0)
	if n := testing.AllocsPerRun(1000, func() { r.Add(well) }); n != 0 {
		t.Errorf("%v allocations for what is not remembered", n)
	}
	broken := failed("b", "contoso")
	if n := testing.AllocsPerRun(1000, func() { r.Add(broken) }); n > 4 {
		t.Errorf("%v allocations for what is", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	r := NewRing()
	c := failed("b", "contoso")
	b.ReportAllocs()
	for b.Loop() {
		r.Add(c)
	}
}
