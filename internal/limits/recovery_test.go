package limits

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/needs"
)

// moody refuses a number of calls whatever was used, and is well from then on.
type moody struct {
	*organization
	mu       sync.Mutex
	refusals int
	with     Feedback
	well     time.Time // since when
}

func (m *moody) serve(network, work time.Duration) Feedback {
	m.mu.Lock()
	if m.refusals > 0 {
		m.refusals--
		m.well = time.Now()
		m.mu.Unlock()
		time.Sleep(2 * network)
		return m.with
	}
	m.mu.Unlock()
	return m.organization.serve(network, work)
}

// Whatever the number and kind of refusals: once they end, at least nine tenths
// of the real budget are used again within one window.
func TestRefusalsThatEndAreForgottenWithinAWindow(t *testing.T) {
	kinds := map[string]Feedback{
		"requests":                     {Refused: Requests, RetryAfter: time.Second},
		"requests, the number named":   {Refused: Requests, RetryAfter: time.Second, Limit: 6000, Window: 5 * time.Minute},
		"requests, ten named":          {Refused: Requests, RetryAfter: time.Second, Limit: 10},
		"requests, one named":          {Refused: Requests, RetryAfter: time.Second, Limit: 1},
		"requests, a day's window":     {Refused: Requests, RetryAfter: time.Second, Limit: 6000, Window: 24 * time.Hour},
		"time":                         {Refused: ExecutionTime, RetryAfter: time.Second},
		"time, a second named":         {Refused: ExecutionTime, RetryAfter: time.Second, Limit: 1000},
		"concurrency":                  {Refused: Concurrency, RetryAfter: time.Second},
		"concurrency, the limit named": {Refused: Concurrency, RetryAfter: time.Second, Limit: 52},
		"concurrency, one named":       {Refused: Concurrency, RetryAfter: time.Second, Limit: 1},
		"nothing said":                 {Refused: Requests},
		"no limit named":               {RetryAfter: time.Second},
	}
	for name, with := range kinds {
		for _, refusals := range []int{1, 12, 60} {
			for _, before := range []int{0, 3000} {
				if before > 0 && refusals != 12 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d after %d", name, refusals, before), func(t *testing.T) {
					if before > 0 || refusals != 12 {
						needs.Long(t) // one of each kind is enough between two changes
					}
					synctest.Test(t, func(t *testing.T) {
						recover90(t, with, refusals, before)
					})
				})
			}
		}
	}
}

// recover90 makes calls of 64 connections without end, and counts how many are
// served in the window after the last refusal.
func recover90(t *testing.T, with Feedback, refusals, before int) {
	org := &moody{
		organization: &organization{requests: 6000, window: 5 * time.Minute, execution: 20 * time.Minute, concurrency: 52},
		with:         with,
	}
	l := load{&Gate{}, org.organization, org.budget(), between(1, 0, 4*time.Millisecond), between(1, 20*time.Millisecond, 120*time.Millisecond)}
	l.run(t, "before", 64, before)
	time.Sleep(org.window / 2)
	org.refusals = refusals
	var mu sync.Mutex
	var served []time.Time
	stop := time.Now().Add(time.Duration(refusals)*20*time.Second + 2*org.window)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for time.Now().Before(stop) {
				p, err := l.budget.enter(t.Context(), l.gate, contoso, "a", 1)
				if err != nil {
					time.Sleep(time.Second)
					continue
				}
				feedback := org.serve(l.network(), l.work())
				if feedback.Refused == None && feedback.RetryAfter == 0 {
					mu.Lock()
					served = append(served, time.Now())
					mu.Unlock()
				}
				p.Done(Outcome{Sent: true, Answered: true, Feedback: feedback})
			}
		})
	}
	wg.Wait()
	n := 0
	for _, at := range served {
		if at.After(org.well) && !at.After(org.well.Add(org.window)) {
			n++
		}
	}
	if org.well.Add(org.window).After(stop) || org.refusals > 0 {
		t.Fatalf("the refusals lasted too long to see their end: %d left", org.refusals)
	}
	if most := org.organization.requests; n < most*9/10 {
		t.Errorf("%d of %d used in the window after the last refusal", n, most)
	}
}

// One refusal is waited out for what it asks, and no longer.
func TestOneRefusalCostsNoMoreThanItAsks(t *testing.T) {
	for _, kind := range []LimitKind{Requests, ExecutionTime, Concurrency} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, time.Minute}
			for range 100 {
				enter(t, &g, "a", b).Done(served)
			}
			enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: kind, RetryAfter: time.Second}})
			start := time.Now()
			var all sync.WaitGroup
			for range 200 {
				all.Go(func() {
					p := enter(t, &g, "a", b)
					time.Sleep(50 * time.Millisecond)
					p.Done(served)
				})
			}
			all.Wait()
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("200 calls took %v after a refusal for %v with Retry-After 1 s", took, kind)
			}
		})
	}
}

// Those whom a refusal keeps out are told to come when it is over, one after
// the other, and not when the window is.
func TestARefusalTellsNobodyToWaitForTheWindow(t *testing.T) {
	for _, kind := range []LimitKind{Requests, ExecutionTime} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget: Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}}
			for range 200 {
				p := enter(t, &g, "a", b)
				time.Sleep(100 * time.Millisecond)
				p.Done(Outcome{Sent: true, Answered: true, Took: 100 * time.Millisecond})
			}
			enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: kind, RetryAfter: 40 * time.Second}})
			var all sync.WaitGroup
			for n := range 10 {
				full := refused(t, &g, "a", b)
				if least := 40 * time.Second; full.RetryAfter < least || full.RetryAfter > least+time.Duration(n+2)*time.Second {
					t.Errorf("number %d is told to come in %v: %v", n+1, full.RetryAfter, full)
				}
				all.Go(func() {
					time.Sleep(full.RetryAfter)
					p := enter(t, &g, "a", b)
					time.Sleep(100 * time.Millisecond)
					p.Done(served)
				})
			}
			all.Wait()
		})
	}
}

// A burst that is refused at once is one piece of news, not a row of refusals.
func TestABurstOfRefusalsIsOnePieceOfNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, Concurrency: 52}, time.Minute}
		for range 100 {
			enter(t, &g, "a", b).Done(served)
		}
		var passes []*Pass
		for range 40 {
			passes = append(passes, enter(t, &g, "a", b))
		}
		time.Sleep(10 * time.Millisecond)
		for _, p := range passes {
			p.Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, RetryAfter: time.Second}})
		}
		if use := g.Snapshot(contoso).Requests; use.HeldBack != 5900 || use.TestIn > 3*time.Second {
			t.Errorf("after one burst %v are held back for %v, want 5900 for no more than 3 s", use.HeldBack, use.TestIn)
		}
	})
}

// What is held back, times how long it is left untested, is at most a
// sixteenth of a window's budget; and nothing is for more than four windows.
func TestPausesKeepTheLaw(t *testing.T) {
	const span, limit = 5 * time.Minute, 6000
	for _, used := range []float64{0, 100, 3000, 5900, 5999} {
		var c ceiling
		c.configure(limit, false)
		now := time.Hour
		for range 20 {
			c.refused(refusal{now: now, started: now - time.Second, span: span, most: used}, 0)
			pause := c.others.probeAt - now
			if held := c.others.held; held*float64(pause) > limit*float64(span)/16+1 || pause > 4*span {
				t.Errorf("%v of %d held back for %v", held, limit, pause)
			}
			now = c.others.probeAt + time.Second
		}
	}
	// A named number that is really served is believed longer each time.
	var c ceiling
	c.configure(900, false)
	now, pause := time.Hour, time.Duration(0)
	for range 20 {
		c.refused(refusal{now: now, started: now - time.Second, span: span, named: 600, most: 600, least: 600, proven: true}, 0)
		pause = c.doubt.probeAt - now
		now = c.doubt.probeAt + time.Second
	}
	if pause != 4*span {
		t.Errorf("a number that is proven again and again is tested after %v, want %v", pause, 4*span)
	}
}

// Headers that say that nothing is left, while calls are served, are believed
// for no longer than a window.
func TestHeadersThatSayNothingIsLeftLockNobodyOut(t *testing.T) {
	for _, c := range []struct{ name, requests, seconds string }{{"requests", "0", ""}, {"time", "", "0.00"}, {"both", "0", "0.00"}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				org := &organization{requests: 3000, window: 5 * time.Minute, execution: 20 * time.Minute, concurrency: 52}
				b := org.budget()
				var g Gate
				began := time.Now()
				var second atomic.Int64
				var all sync.WaitGroup
				for range 64 {
					all.Go(func() {
						for time.Since(began) < 2*org.window {
							p, err := b.enter(t.Context(), &g, contoso, "a", 1)
							if err != nil {
								time.Sleep(time.Second)
								continue
							}
							feedback := org.serve(time.Millisecond, 50*time.Millisecond)
							if feedback.Refused == None {
								feedback = feedback.WithHeaders(c.requests, c.seconds, "")
								if time.Since(began) > org.window {
									second.Add(1)
								}
							}
							p.Done(Outcome{Sent: true, Answered: true, Feedback: feedback})
						}
					})
				}
				all.Wait()
				if n := int(second.Load()); n < org.requests*9/10 || org.refused[Requests] > 0 {
					t.Errorf("%d of %d used in the second window, %v refused", n, org.requests, org.refused)
				}
			})
		})
	}
}

// Where others really leave nothing, asking anew stays seldom.
func TestWhereNothingIsLeftItIsSeldomAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := &organization{requests: 600, window: time.Minute, execution: time.Hour, concurrency: 52, headers: true}
		began := time.Now()
		const windows = 8
		var stranger, all sync.WaitGroup
		for range 4 { // who do not care for refusals
			stranger.Go(func() {
				for time.Since(began) < windows*org.window {
					org.serve(0, 10*time.Millisecond)
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		time.Sleep(org.window)
		var g Gate
		b := org.budget()
		var refused atomic.Int64
		for range 20 {
			all.Go(func() {
				for time.Since(began) < windows*org.window {
					p, err := b.enter(t.Context(), &g, contoso, "a", 1)
					if err != nil {
						time.Sleep(time.Second)
						continue
					}
					feedback := org.serve(time.Millisecond, 10*time.Millisecond)
					if feedback.Refused != None {
						refused.Add(1)
					}
					p.Done(Outcome{Sent: true, Answered: true, Feedback: feedback})
				}
			})
		}
		all.Wait()
		stranger.Wait()
		t.Logf("%d refused", refused.Load())
		if n := int(refused.Load()); n > org.concurrency+testShare*windows {
			t.Errorf("%d were refused in %d windows", n, windows-1)
		}
	})
}
