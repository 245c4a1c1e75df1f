package trend

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/statedir"
)

func open(t *testing.T, root string) (*Trend, func()) {
	t.Helper()
	d := statedir.Open(root)
	trend := Open(d)
	return trend, func() { trend.Close(); d.Close() }
}

// played plays calls of some hours with pauses, restarts and kills, and tells
// each to seen.
func played(t *testing.T, root string, random *rand.Rand, hours int, seen func(Call)) *Trend {
	trend, end := open(t, root)
	for until := time.Now().Add(time.Duration(hours) * time.Hour); time.Now().Before(until); {
		pause := time.Duration(random.IntN(90)) * time.Second
		if random.IntN(40) == 0 {
			pause = time.Duration(random.IntN(7200)) * time.Second
		}
		time.Sleep(pause)
		for range random.IntN(4) {
			c := Call{Tenant: "contoso", Failed: random.IntN(5) == 0, Refused: random.IntN(9) == 0, At: time.Now(),
				Own: time.Millisecond, Upstream: time.Duration(1+random.IntN(1000)) * time.Millisecond}
			trend.Count(&c)
			seen(c)
		}
		if random.IntN(3) > 0 {
			trend.Keep()
		}
		if root != "" && random.IntN(30) == 0 {
			end()
			trend, end = open(t, root)
		}
	}
	t.Cleanup(end)
	return trend
}

// What is told of each step is what was in it, whatever restarts were between.
func TestEachStepTellsWhatWasInIt(t *testing.T) {
	for seed := range uint64(4) {
		root := ""
		if seed%2 == 1 {
			root = t.TempDir()
		}
		synctest.Test(t, func(t *testing.T) {
			var all []Call
			trend := played(t, root, rand.New(rand.NewPCG(seed, 1)), 50, func(c Call) { all = append(all, c) })
			for _, span := range Spans() {
				points := trend.Of("contoso", span, time.Now())
				if len(points) != int(span.Long/span.Step) {
					t.Fatalf("%s has %d points", span.Name, len(points))
				}
				for i, p := range points {
					if i > 0 && p.At.Sub(points[i-1].At) != span.Step {
						t.Fatalf("%s: %v after %v", span.Name, p.At, points[i-1].At)
					}
					checkPoint(t, root == "", span, p, all)
				}
			}
		})
	}
}

// checkPoint compares p with the calls that were in its step. After restarts
// within a step its durations are put together of those of the parts.
func checkPoint(t *testing.T, exact bool, span Span, p Point, all []Call) {
	t.Helper()
	want := Point{At: p.At}
	var took []time.Duration
	for _, c := range all {
		if !c.At.Before(p.At) && c.At.Before(p.At.Add(span.Step)) {
			want.Calls++
			took = append(took, c.Upstream)
			if c.Failed {
				want.Errors++
			}
			if c.Refused {
				want.Refused++
			}
		}
	}
	if p.Calls != want.Calls || p.Errors != want.Errors || p.Refused != want.Refused {
		t.Fatalf("%s at %v: %d calls, %d errors, %d refused; there were %+v", span.Name, p.At, p.Calls, p.Errors, p.Refused, want)
	}
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	low, high := took[0], took[len(took)-1]
	if exact {
		low, high = took[(len(took)-1)/2], took[(len(took)-1)/2]
	}
	if float64(p.Upstream.P50) < 0.9*float64(low) || float64(p.Upstream.P50) > 1.1*float64(high) || p.Upstream.P95 < p.Upstream.P50 {
		t.Fatalf("%s at %v: %+v of %v", span.Name, p.At, p.Upstream, took)
	}
}

// A process that is killed loses its last minute, and no more.
func TestAKillCostsAMinute(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := statedir.Open(root)
		trend := Open(d)
		for range 200 {
			trend.Count(&Call{Tenant: "contoso", At: time.Now()})
			time.Sleep(time.Minute)
			trend.Keep()
		}
		trend.Count(&Call{Tenant: "contoso", At: time.Now()})
		trend.Keep()
		trend.journal.Close() // as the system does when the process is gone
		d.Close()
		trend, end := open(t, root)
		defer end()
		for _, span := range Spans() {
			sum := 0
			for _, p := range trend.Of("contoso", span, time.Now()) {
				sum += p.Calls
			}
			if want := min(200, int(span.Long/time.Minute)-1); sum < want || sum > want+1 {
				t.Errorf("%s: %d of %d calls", span.Name, sum, want)
			}
		}
	})
}

// Two processes on one directory, as in a rolling restart, are one picture.
func TestTwoProcessesAreOnePicture(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, endA := open(t, root)
		b, endB := open(t, root)
		for range 10 {
			a.Count(&Call{Tenant: "contoso", At: time.Now()})
			b.Count(&Call{Tenant: "contoso", At: time.Now(), Failed: true})
			time.Sleep(time.Minute)
			a.Keep()
			b.Keep()
		}
		endB()
		sum := func(trend *Trend, span Span) (calls, errors int) {
			for _, p := range trend.Of("contoso", span, time.Now()) {
				calls, errors = calls+p.Calls, errors+p.Errors
			}
			return
		}
		for range 2 {
			for _, span := range Spans() {
				if calls, errors := sum(a, span); calls != 20 || errors != 10 {
					t.Errorf("%s: %d calls, %d errors", span.Name, calls, errors)
				}
			}
			endA()
			a, endA = open(t, root)
		}
		a.Retain(func(string) bool { return false })
		a.Keep()
		endA()
		a, endA = open(t, root)
		defer endA()
		if calls, _ := sum(a, Spans()[2]); calls != 0 {
			t.Errorf("%d calls of a tenant that is gone", calls)
		}
	})
}

// Who is called no more takes no room after a week.
func TestSilenceTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trend, end := open(t, "")
		defer end()
		for i := range 100 {
			trend.Count(&Call{Tenant: fmt.Sprint("t", i), At: time.Now()})
		}
		time.Sleep(8 * 24 * time.Hour)
		trend.Keep()
		for name := range trend.tenants.Range {
			t.Errorf("%v is still there", name)
		}
	})
}

func TestTheBudgetsHighestIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trend, end := open(t, "")
		defer end()
		for _, used := range []float64{10, 400, 20} {
			trend.Count(&Call{Tenant: "contoso", At: time.Now()})
			if active := trend.Active(time.Now()); len(active) != 1 {
				t.Fatal(active)
			}
			trend.Level("contoso", used, int(used)/100, time.Now())
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Hour)
		if len(trend.Active(time.Now())) != 0 {
			t.Error("still active")
		}
		points := trend.Of("contoso", Spans()[1], time.Now())
		if !slices.ContainsFunc(points, func(p Point) bool { return p.Used == 400 && p.Waiting == 4 && p.Calls == 3 }) {
			t.Errorf("%+v", points)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"t":"contoso","s":1,"at":900,"n":1,"d":[[1,2],[0,0],[3,4]]}`))
	f.Add([]byte(`{"t":"contoso","s":9,"at":1}`))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		trend, end := open(t, "")
		defer end()
		trend.Load(text)
		for _, span := range Spans() {
			trend.Of("contoso", span, time.Now())
		}
		trend.Whole()
	})
}

func BenchmarkCount(b *testing.B) {
	trend, end := Open(statedir.Open("")), func() {}
	defer end()
	b.ReportAllocs()
	for i := range b.N {
		trend.Count(&Call{Tenant: "contoso", At: time.Now(), Own: 100 * time.Microsecond, Upstream: time.Duration(i%100) * time.Millisecond})
	}
}

// A line that no process has written is left out: a step that does not begin
// where steps do, durations that cannot be, a level that there is not.
func TestLinesThatMakeNoSenseAreLeftOut(t *testing.T) {
	now := time.Now()
	at := now.Unix() - now.Unix()%steps[0]
	for line, want := range map[string]bool{
		fmt.Sprintf(`{"t":"contoso","s":0,"at":%d,"n":1,"d":[[1,2],[0,0],[3,4]]}`, at):                    true,
		fmt.Sprintf(`{"t":"contoso","s":0,"at":%d,"n":1,"d":[[1,2],[0,0],[3,4]]}`, at+1):                  false,
		fmt.Sprintf(`{"t":"contoso","s":0,"at":%d,"n":1,"d":[[1,%d],[0,0],[3,4]]}`, at, finest+1):         false,
		fmt.Sprintf(`{"t":"contoso","s":0,"at":%d,"n":1,"d":[[%d,2],[0,0],[3,4]]}`, at, finest+1):         false,
		fmt.Sprintf(`{"t":"contoso","s":3,"at":%d,"n":1,"d":[[1,2],[0,0],[3,4]]}`, at):                    false,
		fmt.Sprintf(`{"t":"","s":0,"at":%d,"n":1,"d":[[1,2],[0,0],[3,4]]}`, at):                           false,
		fmt.Sprintf(`{"t":"contoso","s":0,"at":%d,"n":1,"d":[[1,2],[0,0],[3,4]]}`, at-kept[0]-2*steps[0]): false,
		fmt.Sprintf(`{"t":"contoso","s":0,"at":%d,"n":1,"d":[[1,2],[0,0],[3,4]]}`, at+2*steps[0]):         false,
	} {
		if _, _, ok := read([]byte(line), now); ok != want {
			t.Errorf("%s: %v", line, ok)
		}
	}
}
