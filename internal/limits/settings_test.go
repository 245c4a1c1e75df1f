package limits

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What an operator set is not exceeded, whatever headers and refusals offer.
func TestWhatAnOperatorSetIsACeiling(t *testing.T) {
	for _, offer := range []Feedback{
		Feedback{}.WithHeaders("7999", "2400", ""),
		{Refused: Requests, Limit: 8000, RetryAfter: time.Second},
		{Refused: ExecutionTime, Limit: 4.8e6, RetryAfter: time.Second},
		{Refused: Concurrency, Limit: 100, RetryAfter: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var g Gate
			b := terms{Budget{Requests: 100, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 10, Fixed: Fixed{true, true, true}}, 0}
			for range 5 {
				enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: offer})
				time.Sleep(time.Minute) // the gate is open again
			}
			time.Sleep(5 * time.Minute)
			s := g.Snapshot(contoso)
			if s.Requests.Limit > 100 || s.ExecutionTime.Limit > 1.2e6 || s.Concurrency.Limit > 10 {
				t.Errorf("after %+v the limits are %v, %v and %v", offer, s.Requests.Limit, s.ExecutionTime.Limit, s.Concurrency.Limit)
			}
			for n := 0; ; n++ {
				p, err := b.enter(t.Context(), &g, contoso, "a", 1)
				if err != nil || n > 100 {
					if n < 90 || n > 100 {
						t.Errorf("after %+v %d calls went, 100 are allowed", offer, n)
					}
					return
				}
				p.Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{}.WithHeaders("7999", "2400", "")})
			}
		})
	}
}

// Left at its default, a limit is where the organization's own words lead from.
func TestADefaultIsAStart(t *testing.T) {
	for headers, want := range map[string]int{"promised": 7900, "silent": 6000} {
		synctest.Test(t, func(t *testing.T) {
			org := &organization{requests: 8000, window: 5 * time.Minute, execution: time.Hour, concurrency: 100, headers: headers == "promised"}
			b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, time.Hour}
			l := load{&Gate{}, org, b, between(1, 0, 2*time.Millisecond), between(1, 20*time.Millisecond, 60*time.Millisecond)}
			took := l.run(t, "a", 40, want)
			if took > time.Minute || org.refusals() > 0 {
				t.Errorf("%s: %d calls took %v, refused %v", headers, want, took, org.refused)
			}
		})
	}
}

// Headers that promise more than is enforced are believed until a refusal names
// the truth, and not again: no burst of refusals at every few windows.
func TestANumberInARefusalOutranksHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := scaled()
		org.headers, org.promised = true, 800
		l := load{&Gate{}, org, org.budget(), between(1, 0, 2*time.Millisecond), between(1, time.Millisecond, 12*time.Millisecond)}
		took := l.run(t, "import", 64, 18_000)
		ratio := took.Seconds() / 87
		t.Logf("refused %v in 30 windows, %.3f of the ideal time", org.refused, ratio)
		if n := org.refusals(); n > 8 || ratio > 1.05 {
			t.Errorf("refused %v, want at most the first burst of 8; %.3f of the ideal time", org.refused, ratio)
		}
	})
}

// Another number in a later refusal takes the place of the first.
func TestALaterRefusalNamesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		b := terms{Budget{Requests: 6000, Concurrency: 52}, time.Minute}
		for _, named := range []float64{4000, 8000, 5000} {
			enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, Limit: named, RetryAfter: time.Second}})
			if s := g.Snapshot(contoso); s.Requests.Limit != named || s.Requests.Named != named {
				t.Errorf("named %v: %+v", named, s.Requests)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestTheStricterBudgetHolds(t *testing.T) {
	a := Budget{Requests: 3000, Window: time.Minute, ExecutionTime: time.Hour, Rate: 5, Burst: 9, Mode: Report, Fixed: Fixed{Requests: true}}
	b := Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: time.Minute, Concurrency: 7, Burst: 3, Fixed: Fixed{Concurrency: true}}
	want := Budget{
		Requests: 3000, Window: 5 * time.Minute, ExecutionTime: time.Minute, Concurrency: 7, Rate: 5, Burst: 3, QueueLength: 1000,
		Fixed: Fixed{Requests: true, Concurrency: true},
	}
	if got := a.Stricter(b); got != want || b.Stricter(a) != want {
		t.Errorf("%+v and %+v, want %+v", got, b.Stricter(a), want)
	}
}

// An outage of an organization spends nothing that calls after it lack.
func TestAnOutageSpendsNoBudget(t *testing.T) {
	for _, c := range []struct {
		name string
		Outcome
	}{
		{"no connection", Outcome{Took: 10 * time.Second}},
		{"no answer", Outcome{Sent: true, Took: 6 * time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Gate
				b := terms{Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, 0}
				for range 100 {
					enter(t, &g, "a", b).Done(Outcome{Sent: true, Answered: true, Took: 100 * time.Millisecond})
				}
				for range 10 {
					var passes []*Pass
					for i := range 40 {
						passes = append(passes, enter(t, &g, fmt.Sprint(i%4), b))
					}
					time.Sleep(c.Took)
					for _, p := range passes {
						p.Done(c.Outcome)
					}
				}
				s := g.Snapshot(contoso)
				if !c.Sent && (s.Requests.Used > 100 || s.ExecutionTime.Used > 10_000) || s.ExecutionTime.Used > 60_000 {
					t.Errorf("400 calls with %s spent %v requests and %v ms", c.name, s.Requests.Used, s.ExecutionTime.Used)
				}
				enter(t, &g, "a", b)
			})
		})
	}
}

// What keeps a call out is told.
func TestARefusalSaysWhy(t *testing.T) {
	full := Budget{Requests: 2, Window: time.Minute, Concurrency: 20}
	for _, c := range []struct {
		want   Reason
		budget Budget
		before func(*testing.T, *Gate, terms)
	}{
		{Spent, full, func(t *testing.T, g *Gate, b terms) {
			enter(t, g, "a", b).Done(served)
			enter(t, g, "a", b).Done(served)
		}},
		{Cooldown, full, func(t *testing.T, g *Gate, b terms) {
			enter(t, g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{Refused: Requests, RetryAfter: time.Minute}})
		}},
		{Learned, Budget{Requests: 100, Window: time.Minute, Concurrency: 20}, func(t *testing.T, g *Gate, b terms) {
			enter(t, g, "a", b).Done(Outcome{Sent: true, Answered: true, Feedback: Feedback{}.WithHeaders("0", "", "")})
		}},
		{Share, full, func(t *testing.T, g *Gate, b terms) {
			b.Requests = 0
			g.Configure(contoso, b.Budget)
			for range 17 {
				enter(t, g, "a", b)
			}
		}},
		{Rate, Budget{Rate: 1}, func(t *testing.T, g *Gate, b terms) { enter(t, g, "a", b).Done(served) }},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Gate
				b := terms{c.budget, 0}
				c.before(t, &g, b)
				if c.want == Share {
					b.Requests = 0
				}
				full := refused(t, &g, "a", b)
				if full.Reason != c.want {
					t.Errorf("refused for %v (%v), want %v", full.Reason, full, c.want)
				}
				if n := g.Snapshot(contoso).RefusedFor[c.want]; n != 1 {
					t.Errorf("counted %d", n)
				}
			})
		})
	}
}

func TestRestraintsAreToldInWords(t *testing.T) {
	if words := (State{Requests: Use{Limit: 6000, Used: 5999, HeldBack: 1}}).Restraints(); len(words) != 0 {
		t.Errorf("a budget that is only used: %q", words)
	}
	s := State{
		ClosedFor: 12 * time.Second, ClosedBy: ExecutionTime,
		Requests:    Use{Limit: 6000, HeldBack: 1800, TestIn: 45 * time.Second},
		Concurrency: Use{Limit: 40, HeldBack: 10},
	}
	words := strings.Join(s.Restraints(), "\n")
	for _, part := range []string{"its limit of execution time", "alone for 12s", "30 % of the limit of requests is", "tried in 45s", "25 % of the limit of requests at once"} {
		if !strings.Contains(words, part) {
			t.Errorf("%q is not in\n%s", part, words)
		}
	}
}
