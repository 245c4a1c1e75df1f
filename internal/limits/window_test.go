package limits

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The organization of these tests has the documented limits at 1/100 scale.
func scaled() *organization {
	return &organization{requests: 600, window: 3 * time.Second, execution: 12 * time.Second, concurrency: 8}
}

func (o *organization) budget() terms {
	return terms{Budget{
		Requests: o.requests, Window: o.window, ExecutionTime: o.execution, Concurrency: o.concurrency,
	}, 30 * time.Second}
}

func TestOrganizationNeverRefusesAndTheCeilingIsReached(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			org := scaled()
			l := load{&Gate{}, org, org.budget(), between(seed, 0, 4*time.Millisecond), between(seed, time.Millisecond, 12*time.Millisecond)}
			const total = 20_000
			took := l.run(t, "import", 64, total)
			if n := org.refusals(); n > 0 {
				t.Errorf("refused %v of %d", org.refused, total)
			}
			// 600 at once, then 600 more every 3 s.
			ideal := time.Duration(total/org.requests) * org.window
			t.Logf("took %v of %v ideal: %.3f", took, ideal, took.Seconds()/ideal.Seconds())
			if took > ideal*105/100 {
				t.Errorf("took %v, ideal is %v", took, ideal)
			}
		})
	}
}

// Whatever the limits and the traffic, an organization whose limits are known
// refuses nothing of a lone proxy's requests and concurrency.
func TestKnownLimitsAreNeverExceeded(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			org := &organization{
				requests:    1 + r.IntN(300),
				window:      time.Second + time.Duration(r.Int64N(int64(10*time.Second))),
				concurrency: 1 + r.IntN(20),
				headers:     seed%2 == 0,
			}
			slow := time.Duration(r.Int64N(int64(300 * time.Millisecond)))
			l := load{&Gate{}, org, org.budget(), between(seed, 0, slow/3), between(seed, 0, slow)}
			l.run(t, "a", 1+r.IntN(40), 3*org.requests)
			if n := org.refusals(); n > 0 {
				t.Errorf("seed %d, limits %d in %v, %d at once: refused %v", seed, org.requests, org.window, org.concurrency, org.refused)
			}
		})
	}
}

func TestExecutionTimeIsPacedByBusySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := scaled()
		l := load{&Gate{}, org, org.budget(), between(1, 0, 2*time.Millisecond), between(1, 50*time.Millisecond, 150*time.Millisecond)}
		const total = 1200
		took := l.run(t, "import", 64, total)
		// 100 ms each make 120 in a window; the last 120 run 8 at once. What
		// is in flight is counted beforehand, which costs a thirtieth here.
		ideal := time.Duration(total/120-1)*org.window + 1500*time.Millisecond
		t.Logf("took %v of %v ideal: %.3f, refused %v", took, ideal, took.Seconds()/ideal.Seconds(), org.refused)
		if took > ideal*115/100 || org.refusals() > 0 {
			t.Errorf("took %v of %v, refused %v", took, ideal, org.refused)
		}
	})
}

func TestWindowForgetsNothingTooSoon(t *testing.T) {
	w := newSlidingWindow(256*time.Second, 256)
	w.advance(1000 * time.Second)
	w.add(1000500*time.Millisecond, 3)
	w.add(1001*time.Second, 4)
	for at, want := range map[time.Duration]uint64{
		1100 * time.Second:                      7,
		1256500 * time.Millisecond:              7,
		1257 * time.Second:                      4,
		1258*time.Second - time.Nanosecond:      4,
		1258 * time.Second:                      0,
		9999 * time.Second:                      0,
		1257*time.Second - 100*time.Microsecond: 7,
		1000600 * time.Millisecond:              7,
		1257*time.Second + 100*time.Microsecond: 4,
	} {
		c := w
		c.slots = slots{few: slices.Clone(w.slots.few)}
		if c.advance(at); c.sum != want {
			t.Errorf("at %v: %d, want %d", at, c.sum, want)
		}
	}
	for amount, want := range map[float64]time.Duration{1: 1257 * time.Second, 3: 1257 * time.Second, 4: 1258 * time.Second, 7: 1258 * time.Second} {
		if got := w.freed(amount, 10); got != want {
			t.Errorf("%v freed at %v, want %v", amount, got, want)
		}
	}
}

func TestWindowKeepsItsAmountsWhenStretched(t *testing.T) {
	w := newSlidingWindow(10*time.Second, 256)
	for i := range 10 {
		w.add(100*time.Second+time.Duration(i)*time.Second, 1)
	}
	w.stretch(110*time.Second, time.Minute)
	if w.sum != 10 {
		t.Errorf("%d after a stretch to 1m, want 10", w.sum)
	}
	if w.advance(170*time.Second + w.slice); w.sum != 0 {
		t.Errorf("%d left a minute later", w.sum)
	}
	for i := range 10 {
		w.add(200*time.Second+time.Duration(i)*time.Second, 1)
	}
	w.stretch(210*time.Second, 5*time.Second)
	if w.sum < 5 || w.sum > 6 {
		t.Errorf("%d after a cut to 5s, want the newest 5 or 6", w.sum)
	}
}

// Whatever is added when, the window holds what a list of all amounts would
// say, and what has left takes no memory.
func TestWindowHoldsWhatAListWould(t *testing.T) {
	for _, n := range []int{1, 7, 8, 15, 16, 17, windowSlices} {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		w := newSlidingWindow(time.Duration(n)*time.Second, n)
		now := 1000 * time.Second
		w.advance(now)
		list := make(map[int64]uint64) // by slice
		for range 3000 {
			now += time.Duration(random.Int64N(int64(time.Second) * int64(1+n/8)))
			amount := uint64(random.IntN(3))
			w.add(now, amount)
			list[w.number(now)] += amount
			want := uint64(0)
			for number, amount := range list {
				if number < w.number(now)-int64(n) {
					delete(list, number)
					continue
				}
				want += amount
			}
			if w.sum != want {
				t.Fatalf("%d slices: %d, want %d", n, w.sum, want)
			}
			if want == 0 && !w.slots.empty() {
				t.Fatalf("%d slices: an empty window takes memory", n)
			}
		}
		if w.advance(now + 2*w.span()); w.sum != 0 || !w.slots.empty() {
			t.Errorf("%d slices: %d are left", n, w.sum)
		}
	}
}

// empty reports whether nothing is held, and no memory for it.
func (s *slots) empty() bool { return s.few == nil && s.ring == nil }

// When the n-th of those that wait finds room is foretold to a slice for each
// span until then, also where the window holds more than the limit, which was
// lowered.
func TestWhenThereWillBeRoom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		w := newSlidingWindow(10*time.Second, 20)
		now := time.Minute
		for range r.IntN(30) {
			now += time.Duration(r.IntN(900)) * time.Millisecond
			w.add(now, uint64(r.IntN(4)))
		}
		w.add(now, 1) // where it is empty what is in flight may never count
		limit, calls := float64(1+r.IntN(20)), 1+r.IntN(60)
		var foretold []time.Duration
		for n := range calls {
			at := now
			if short := float64(n+1) + float64(w.sum) - limit; short > 0 {
				at = w.freed(short, limit)
			}
			foretold = append(foretold, at)
		}
		for n := 0; n < calls; now = w.nextTick() {
			for w.advance(now); n < calls && float64(w.sum) < limit; n++ {
				spans := 1 + (now-foretold[n])/w.span()
				spans += (foretold[n] - time.Minute) / w.span() // each ends up to a slice late
				if early := now - foretold[n]; early < -w.slice || early > (1+spans)*w.slice {
					t.Fatalf("call %d of %d with a limit of %v: foretold for %v, there is room at %v", n, calls, limit, foretold[n], now)
				}
				w.add(now, 1)
			}
		}
	}
}
