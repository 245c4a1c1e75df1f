package limits

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachRefusalActsOnItsOwnFacetOnly(t *testing.T) {
	b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, time.Minute}
	type limits struct{ requests, millis, places float64 }
	for _, c := range []struct {
		name, code, message string
		want                limits
		window              time.Duration
	}{
		{"requests down", "0x80072322", "exceeded the limit of 4000 over time window of 300 seconds.", limits{4000, 1.2e6, 52}, 5 * time.Minute},
		{"requests up", "0x80072322", "exceeded the limit of 8000 over time window of 300 seconds.", limits{8000, 1.2e6, 52}, 5 * time.Minute},
		{"another window", "0x80072322", "exceeded the limit of 6000 over time window of 600 seconds.", limits{6000, 1.2e6, 52}, 10 * time.Minute},
		{"time down", "0x80072321", "exceeded limit of 600,000 milliseconds over time window of 300 seconds.", limits{6000, 6e5, 52}, 5 * time.Minute},
		{"time up", "0x80072321", "exceeded limit of 2,400,000 milliseconds over time window of 300 seconds.", limits{6000, 2.4e6, 52}, 5 * time.Minute},
		{"concurrency below what was in flight", "0x80072326", "exceeded the limit of 1.", limits{6000, 1.2e6, 1}, 5 * time.Minute},
		{"concurrency up, others use the rest", "0x80072326", "exceeded the limit of 100.", limits{6000, 1.2e6, 2}, 5 * time.Minute},
		{"a refusal that names no kind", "", "busy", limits{6000, 1.2e6, 52}, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Gate
				enter(t, &g, "a", b)
				enter(t, &g, "a", b)
				enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: ReadRefusal(c.code, c.message, "7", time.Now())})
				s := g.Snapshot(contoso)
				if got := (limits{s.Requests.Limit, s.ExecutionTime.Limit, s.Concurrency.Limit}); got != c.want || s.Window != c.window {
					t.Errorf("limits %v in %v, want %v in %v", got, s.Window, c.want, c.window)
				}
				if s.ClosedFor != 7*time.Second {
					t.Errorf("closed for %v, want 7s", s.ClosedFor)
				}
				other := Key{Organization: "fabrikam.crm.dynamics.com", ClientID: "app"}
				p, err := b.enter(t.Context(), &g, other, "a", 1)
				if err != nil {
					t.Fatal(err)
				}
				p.Done(served)
				if s := g.Snapshot(other); s.ClosedFor != 0 {
					t.Errorf("another key is closed for %v", s.ClosedFor)
				}
			})
		})
	}
}

func TestWrongSettingsAreCorrectedByTheOrganization(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*terms)
		headers bool
		silent  bool
		most    int     // refusals in 8,000
		ratio   float64 // of the ideal time
	}{
		{"right", func(*terms) {}, true, false, 0, 1.05},
		{"requests too high", func(b *terms) { b.Requests = 900 }, false, false, 16, 1.05},
		{"requests too high, headers", func(b *terms) { b.Requests = 900 }, true, false, 16, 1.05},
		{"requests too high, never told", func(b *terms) { b.Requests = 900 }, false, true, 200, 1.25},
		{"requests too low, headers", func(b *terms) { b.Requests = 200 }, true, false, 0, 1.05},
		{"requests unlimited", func(b *terms) { b.Requests = 0 }, false, false, 8, 1.05},
		{"concurrency too high", func(b *terms) { b.Concurrency = 52 }, false, false, 52, 1.05},
		{"concurrency too high, never told", func(b *terms) { b.Concurrency = 52 }, false, true, 100, 1.10},
		{"window too short", func(b *terms) { b.Window = 2 * time.Second }, false, false, 20, 1.08},
		{"window too long, headers", func(b *terms) { b.Window = 4 * time.Second }, true, false, 4, 1.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := scaled()
				org.headers, org.silent = c.headers, c.silent
				b := org.budget()
				c.change(&b)
				l := load{&Gate{}, org, b, between(3, 0, 2*time.Millisecond), between(3, time.Millisecond, 12*time.Millisecond)}
				took := l.run(t, "import", 64, 8_000)
				ratio := took.Seconds() / 39 // 600 at once, then 600 more every 3 s
				t.Logf("refused %v, %.3f of the ideal time", org.refused, ratio)
				if org.refusals() > c.most {
					t.Errorf("refused %v, want at most %d", org.refused, c.most)
				}
				if ratio > c.ratio {
					t.Errorf("took %v, %.3f of the ideal time, want at most %.2f", took, ratio, c.ratio)
				}
			})
		})
	}
}

// A client outside the proxy takes its part whatever we do; the gate has to
// live on the rest.
func TestForeignClientThatEatsHalfTheBudget(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers bool
		most    int
		ratio   float64
	}{
		{"with headers", true, 20, 1.10},
		{"without headers", false, 200, 1.35},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := scaled()
				org.headers = c.headers
				l := load{&Gate{}, org, org.budget(), between(3, 0, 2*time.Millisecond), between(3, time.Millisecond, 12*time.Millisecond)}
				stop := make(chan struct{})
				var foreign, foreignRefused int
				var wg sync.WaitGroup
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(10 * time.Millisecond):
							if org.admit().Refused != None {
								foreignRefused++
								continue
							}
							foreign++
							org.finish(0)
						}
					}
				})
				const total = 6000
				took := l.run(t, "import", 64, total)
				close(stop)
				wg.Wait()
				ratio := took.Seconds() / (float64(total)/300 - 1) / 3
				t.Logf("ours refused %d, foreign %d (%d refused), %.3f of the ideal time", org.refusals()-foreignRefused, foreign, foreignRefused, ratio)
				if n := org.refusals() - foreignRefused; n > c.most {
					t.Errorf("refused %d, want at most %d", n, c.most)
				}
				if ratio > c.ratio {
					t.Errorf("took %v, %.3f of the ideal time", took, ratio)
				}
			})
		})
	}
}

func TestGateOpensSoftly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 50}, time.Minute}
		p := enter(t, &g, "a", b)
		p.Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, RetryAfter: 10 * time.Second}})
		start := time.Now()
		var mu sync.Mutex
		inFlight, peak := 0, map[time.Duration]int{}
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				p := enter(t, &g, "a", b)
				mu.Lock()
				inFlight++
				at := time.Since(start)
				peak[at] = max(peak[at], inFlight)
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
				mu.Lock()
				inFlight--
				mu.Unlock()
				p.Done(served)
			})
		}
		wg.Wait()
		for i, most := range []int{1, 2, 4, 8, 16, 32, 50} {
			at := 10*time.Second + time.Duration(i)*100*time.Millisecond
			if peak[at] < 1 || peak[at] > most {
				t.Errorf("%v after the refusal %d in flight, want 1 to %d", at, peak[at], most)
			}
		}
		for at := range peak {
			if at < 10*time.Second {
				t.Errorf("a call entered %v after a refusal for 10s", at)
			}
		}
	})
}

func TestHeadersAndHintsShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget: Budget{Requests: 6000, ExecutionTime: 20 * time.Minute, Concurrency: 52}}
		p := enter(t, &g, "a", b)
		p.Done(Outcome{Sent: true, Answered: true, Operations: 7, Feedback: Feedback{}.WithHeaders("7,999", "1,500.00", "4")})
		p.Done(Outcome{Sent: true, Answered: true, Operations: 7}) // a second Done changes nothing
		s := g.Snapshot(contoso)
		if s.Requests.Limit != 7999 || s.ExecutionTime.Limit != 1.5e6 || s.Concurrency.Limit != 52 {
			t.Errorf("limits %v, %v, %v", s.Requests.Limit, s.ExecutionTime.Limit, s.Concurrency.Limit)
		}
		if s.DOPHint != 4 || s.Operations != 7 || s.Concurrency.Used != 0 || s.Requests.Used != 1 {
			t.Errorf("hint %d, operations %d, in flight %v, used %v", s.DOPHint, s.Operations, s.Concurrency.Used, s.Requests.Used)
		}
		time.Sleep(24 * time.Hour)
		if s := g.Snapshot(contoso); s.Operations != 0 {
			t.Errorf("%d operations on a new day", s.Operations)
		}
	})
}

// A stranger that holds one or two of eight places for good is made room for:
// what is refused grows far slower than what is served.
func TestPlacesThatAStrangerHoldsAreLeftToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := scaled()
		org.headers = true
		l := load{&Gate{}, org, org.budget(), between(1, time.Millisecond, 2*time.Millisecond), between(1, 10*time.Millisecond, 13*time.Millisecond)}
		stop := make(chan struct{})
		var strangersRefused atomic.Int64
		var strangers sync.WaitGroup
		strangers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				strangers.Go(func() {
					if org.serve(time.Millisecond, 10*time.Millisecond).Refused != None {
						strangersRefused.Add(1)
					}
				})
			}
		})
		time.Sleep(org.window)
		took := l.run(t, "import", 64, 6000)
		close(stop)
		strangers.Wait()
		ours := org.refusals() - int(strangersRefused.Load())
		t.Logf("took %v of 57 s at best, %d of ours refused", took, ours)
		if ours > 60 || took > 2*time.Minute {
			t.Errorf("%d of 6,000 refused, in %v", ours, took)
		}
	})
}
