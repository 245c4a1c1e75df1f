package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestReportModeNeverWaitsAndCountsWhatWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget: Budget{Requests: 5, Window: time.Minute, Concurrency: 3, Mode: Report}}
		start := time.Now()
		for range 4 {
			enter(t, &g, "a", b) // the fourth is one too many at once
		}
		s := g.Snapshot(contoso)
		if s.WouldWait[Concurrency] != 1 || s.WouldWait[Requests] != 0 {
			t.Errorf("would have waited: %v, want one for concurrency", s.WouldWait)
		}
		b.Concurrency = 0
		for range 3 {
			enter(t, &g, "a", b)
		}
		p := enter(t, &g, "a", b)
		s = g.Snapshot(contoso)
		if s.WouldWait[Requests] != 3 || s.Requests.Used != 8 {
			t.Errorf("would have waited: %v, want 3 for requests; used %v", s.WouldWait, s.Requests.Used)
		}
		p.Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: ExecutionTime, RetryAfter: time.Hour}})
		enter(t, &g, "a", b)
		if s = g.Snapshot(contoso); s.WouldWait[ExecutionTime] != 1 || s.ClosedFor != time.Hour {
			t.Errorf("would have waited: %v, closed for %v", s.WouldWait, s.ClosedFor)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v", took)
		}
	})
}

func TestOffCountsOnlyWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget: Budget{Requests: 1, Concurrency: 1, Mode: Off}}
		p := enter(t, &g, "a", b)
		enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, RetryAfter: time.Hour}})
		enter(t, &g, "a", b)
		s := g.Snapshot(contoso)
		if s.Concurrency.Used != 2 || s.Requests.Used != 0 || s.ClosedFor != 0 || len(s.Callers) != 0 {
			t.Errorf("%+v", s)
		}
		p.Done(served)
		if s = g.Snapshot(contoso); s.Concurrency.Used != 1 {
			t.Errorf("%v in flight, want 1", s.Concurrency.Used)
		}
	})
}

func TestChangedBudgetIsFeltByWhoWaits(t *testing.T) {
	for name, change := range map[string]func(*terms){
		"more requests":  func(b *terms) { b.Requests = 3 },
		"shorter window": func(b *terms) { b.Window = 2 * time.Second },
		"limits off":     func(b *terms) { b.Mode = Off },
		"report only":    func(b *terms) { b.Mode = Report },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Gate
				b := terms{Budget{Requests: 2, Window: time.Minute}, time.Hour}
				enter(t, &g, "a", b).Done(served)
				enter(t, &g, "a", b).Done(served)
				entered := make(chan time.Duration, 1)
				start := time.Now()
				go func() {
					enter(t, &g, "a", b).Done(served)
					entered <- time.Since(start)
				}()
				time.Sleep(5 * time.Second)
				changed := b
				change(&changed)
				g.Configure(contoso, changed.Budget)
				if waited := <-entered; waited != 5*time.Second {
					t.Errorf("entered after %v, want 5s", waited)
				}
			})
		})
	}
}

func TestClosedGateKeepsThePatientAndTellsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1}, time.Minute}
		first := enter(t, &g, "a", b)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			p := enter(t, &g, "a", b)
			if at := time.Since(start); at != 45*time.Second {
				t.Errorf("the patient call entered after %v, want 45s", at)
			}
			p.Done(served)
		})
		wg.Go(func() {
			hasty := b
			hasty.QueueWait = 20 * time.Second
			full := refused(t, &g, "a", hasty)
			if at := time.Since(start); at != 15*time.Second || full.Kind != Requests || full.RetryAfter != 30*time.Second {
				t.Errorf("the hasty call was told %+v after %v, want requests, 30s after 15s", full, at)
			}
		})
		time.Sleep(15 * time.Second)
		first.Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, RetryAfter: 30 * time.Second}})
		wg.Wait()
	})
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Concurrency: 1}, 20 * time.Second}
		p := enter(t, &g, "a", b)
		start := time.Now()
		full := refused(t, &g, "a", b)
		if waited := time.Since(start); waited != b.QueueWait || full.Kind != Concurrency || full.RetryAfter < time.Second {
			t.Errorf("told %+v after %v, want concurrency after 20s", full, waited)
		}
		p.Done(served)
		if s := g.Snapshot(contoso); s.Refused[Concurrency] != 1 || s.Waited[Concurrency] != 1 {
			t.Errorf("refused %v, waited %v", s.Refused, s.Waited)
		}
	})
}

func TestUnsentCallSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget: Budget{Requests: 1, Window: time.Minute}}
		for range 10 {
			enter(t, &g, "a", b).Done(Outcome{})
		}
		if s := g.Snapshot(contoso); s.Requests.Used != 0 || s.Operations != 0 {
			t.Errorf("used %v, operations %d", s.Requests.Used, s.Operations)
		}
	})
}

// Callers come, leave at any moment and finish with all kinds of lessons;
// nothing may be left behind.
func TestNothingIsLostInAMelee(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(i)))
					for range 30 {
						melee(t, &g, r)
					}
				})
			}
			wg.Wait()
			time.Sleep(4 * time.Hour)
			synctest.Wait()
			l := g.ledger(contoso)
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.inFlight != 0 || l.counted != 0 || l.starts != 0 || l.queued != 0 || len(l.waiting) != 0 {
				t.Errorf("seed %d: in flight %d, counted %d, starts %v, queued %d", seed, l.inFlight, l.counted, l.starts, l.queued)
			}
			if l.timer != nil || l.shares.len() > 0 || !l.requests.slots.empty() {
				t.Errorf("seed %d: not at rest", seed)
			}
		})
	}
}

func melee(t *testing.T, g *Gate, r *rand.Rand) {
	some := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	b := terms{Budget{
		Requests: 50 + r.IntN(2), Window: 10 * time.Second, ExecutionTime: 20 * time.Second, Concurrency: 10, QueueLength: 60, Mode: Mode(r.IntN(20) / 18),
	}, some(time.Minute)}
	ctx, cancel := context.WithTimeout(t.Context(), some(2*time.Minute))
	defer cancel()
	p, err := b.enter(ctx, g, contoso, string(rune('a'+r.IntN(5))), r.IntN(4))
	if err != nil {
		if _, full := errors.AsType[*Full](err); !full && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(some(time.Second))
		return
	}
	time.Sleep(some(time.Second))
	var feedback Feedback
	switch r.IntN(20) {
	case 0:
		feedback = Feedback{Refused: LimitKind(r.IntN(limitKinds)), RetryAfter: some(5 * time.Second)}
	case 1:
		feedback = feedback.WithHeaders("17", "3.5", "4")
	}
	p.Done(Outcome{Sent: r.IntN(30) > 0, Answered: r.IntN(30) > 0, Feedback: feedback})
}
