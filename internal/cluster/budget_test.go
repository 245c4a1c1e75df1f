package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/limits"
)

// end lets the exchanges that are under way end.
func end(all []*limits.Gate) {
	for _, g := range all {
		g.Retain(func(limits.Key) bool { return false })
	}
	time.Sleep(time.Second)
}

// keep sends a request after the other until stop, and counts what was served.
func keep(t *testing.T, running *sync.WaitGroup, g *limits.Gate, caller string, workers int, work time.Duration, until time.Time) *atomic.Int64 {
	served := new(atomic.Int64)
	for range workers {
		running.Go(func() {
			for time.Now().Before(until) {
				p, err := g.Enter(t.Context(), contoso, limits.Caller{Name: caller}, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(work)
				p.Done(limits.Outcome{Sent: true, Answered: true, Took: work})
				if time.Now().Before(until) {
					served.Add(1)
				}
			}
		})
	}
	return served
}

// A caller that connects to three proxies gets no more than one that connects to
// one, and each what its weight says.
func TestSharesGoByCallersWhereverTheyConnect(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		all := gates(s, 3, limits.Budget{Requests: 200, Window: 2 * time.Second, ExecutionTime: time.Hour, Concurrency: 20})
		var running sync.WaitGroup
		until := time.Now().Add(2 * time.Minute) // in half a minute chance makes 0.03 of a part
		one := keep(t, &running, all[0], "one", 12, 5*time.Millisecond, until)
		var many []*atomic.Int64
		for _, g := range all {
			many = append(many, keep(t, &running, g, "many", 12, 5*time.Millisecond, until))
		}
		running.Wait()
		everywhere := many[0].Load() + many[1].Load() + many[2].Load()
		part := float64(one.Load()) / float64(one.Load()+everywhere)
		t.Logf("one %d, many %d (%d, %d, %d): %.2f", one.Load(), everywhere, many[0].Load(), many[1].Load(), many[2].Load(), part)
		if part < 0.4 || part > 0.6 {
			t.Errorf("the caller at one proxy got %.2f of the budget, the one at three the rest", part)
		}
		end(all)
	})
}

// call sends one request, of which becomes what o says. No gate is closed for
// longer than it has patience.
func call(t *testing.T, g *limits.Gate, o limits.Outcome) {
	t.Helper()
	p, err := g.Enter(t.Context(), contoso, limits.Caller{Name: "a"}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	o.Sent, o.Took = true, time.Millisecond
	p.Done(o)
}

// sixCalls are served, three by each of two proxies, which then know each other.
func sixCalls(t *testing.T, all []*limits.Gate) {
	for range 3 {
		call(t, all[0], limits.Outcome{Answered: true})
		call(t, all[1], limits.Outcome{Answered: true})
		time.Sleep(300 * time.Millisecond)
	}
}

// What a refusal has taught one proxy all know, and the gate is closed for all.
func TestWhatOneProxyLearnsAllKnow(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		all := gates(s, 2, limits.Budget{Requests: 600, Window: time.Minute, ExecutionTime: time.Hour, Concurrency: 20})
		sixCalls(t, all)
		call(t, all[0], limits.Outcome{Answered: true, Feedback: limits.Feedback{Refused: limits.Requests, Limit: 300, RetryAfter: 10 * time.Second}})
		time.Sleep(1100 * time.Millisecond)
		other := all[1].Snapshot(contoso)
		if other.ClosedFor < 8*time.Second || other.ClosedBy != limits.Requests || other.Requests.Named != 300 {
			t.Errorf("the other proxy knows of a gate closed for %v by %v and a limit of %v", other.ClosedFor, other.ClosedBy, other.Requests.Named)
		}
		if first := all[0].Snapshot(contoso); first.Requests.Used < 6 || other.Requests.Used < 6 {
			t.Errorf("used %v and %v, 6 were", first.Requests.Used, other.Requests.Used)
		}
		time.Sleep(12 * time.Second)
		call(t, all[1], limits.Outcome{Answered: true}) // the gate opens for the other too
		end(all)
	})
}

// What one proxy has sent after a refusal, and got no answer to, keeps nothing
// closed at another.
func TestWhatOneProxyLosesAfterARefusalClosesNoOther(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		all := gates(s, 2, limits.Budget{Requests: 600, Window: time.Minute, ExecutionTime: time.Hour, Concurrency: 20})
		sixCalls(t, all)
		call(t, all[0], limits.Outcome{Answered: true, Feedback: limits.Feedback{Refused: limits.Requests, RetryAfter: time.Second}})
		for range 3 {
			call(t, all[0], limits.Outcome{})
		}
		time.Sleep(3 * time.Second)
		began := time.Now()
		for range 50 {
			call(t, all[1], limits.Outcome{Answered: true})
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("50 calls at the other took %v", took)
		}
		end(all)
	})
}

// Whoever is kept out by a refusal, at any proxy, is told to come when it is
// over, and not when the window is.
func TestARefusalTellsNobodyToWaitForTheWindow(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		all := gates(s, 2, limits.Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: time.Hour, Concurrency: 20})
		call := func(g *limits.Gate, patience time.Duration, f limits.Feedback) error {
			p, err := g.Enter(t.Context(), contoso, limits.Caller{Name: "a"}, patience)
			if err == nil {
				p.Done(limits.Outcome{Sent: true, Answered: true, Took: time.Millisecond, Feedback: f})
			}
			return err
		}
		for i := range 100 {
			if err := call(all[i%2], time.Minute, limits.Feedback{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err := call(all[0], time.Minute, limits.Feedback{Refused: limits.Requests, RetryAfter: 40 * time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		for i, g := range all {
			full, is := errors.AsType[*limits.Full](call(g, 0, limits.Feedback{}))
			if !is || full.RetryAfter < 38*time.Second || full.RetryAfter > 43*time.Second {
				t.Errorf("proxy %d says %v", i, full)
			}
		}
		end(all)
	})
}

// A proxy that ends gives back at once what it holds.
func TestAProxyThatLeavesGivesBackWhatItHolds(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		all := gates(s, 2, limits.Budget{Requests: 100, Window: 5 * time.Minute, ExecutionTime: time.Hour, Concurrency: 4})
		enter := func(g *limits.Gate) bool {
			p, err := g.Enter(t.Context(), contoso, limits.Caller{Name: "a"}, time.Second)
			if err != nil {
				return false
			}
			p.Done(limits.Outcome{Sent: true, Answered: true, Took: time.Millisecond})
			return true
		}
		for range 20 {
			enter(all[0])
			time.Sleep(20 * time.Millisecond)
		}
		all[0].Leave()
		n := 0
		for enter(all[1]) {
			n++
		}
		if n != 80 {
			t.Errorf("the other got %d of the 80 that were left", n)
		}
		end(all)
	})
}

// Without Redis each proxy goes on with its share, and no call waits for longer
// than half a second to find that out.
func TestWithoutRedisEachKeepsItsShare(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		all := make([]*limits.Gate, 3)
		s.size = 3
		for i := range all {
			all[i] = &limits.Gate{Store: &Budgets{client: &member{simulated: s, name: fmt.Sprint("p", i), down: func() error {
				if gone.Load() {
					time.Sleep(exchangeWithin)
					return errors.New("no answer")
				}
				return nil
			}}}}
			all[i].Configure(contoso, limits.Budget{Requests: 300, Window: time.Minute, ExecutionTime: time.Hour, Concurrency: 12})
		}
		enter := func(g *limits.Gate, patience time.Duration) bool {
			p, err := g.Enter(t.Context(), contoso, limits.Caller{Name: "a"}, patience)
			if err != nil {
				return false
			}
			p.Done(limits.Outcome{Sent: true, Answered: true, Took: time.Millisecond})
			return true
		}
		for _, g := range all {
			for range 10 {
				enter(g, time.Second)
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(2 * time.Second) // all is told
		gone.Store(true)
		time.Sleep(10 * time.Second) // so that nothing is left in a pocket
		total, longest := 30, time.Duration(0)
		for _, g := range all {
			for {
				began := time.Now()
				if !enter(g, time.Second) {
					break
				}
				longest = max(longest, time.Since(began))
				total++
			}
			if apart := g.Snapshot(contoso); apart.Apart == 0 || len(apart.Restraints()) == 0 {
				t.Error("it does not say that it is apart")
			}
		}
		t.Logf("%d of 300 were let in, the longest wait %v", total, longest)
		if total > 300 || total < 280 || longest > 510*time.Millisecond {
			t.Errorf("%d of 300 were let in, the longest wait %v", total, longest)
		}
		gone.Store(false)
		time.Sleep(70 * time.Second)
		if !enter(all[0], time.Second) || all[0].Snapshot(contoso).Apart > 0 && !enter(all[0], time.Second) {
			t.Error("it has not come back")
		}
		end(all)
	})
}

// A record of a version that is not known is left as it is: the proxy keeps to
// its share, and says so once.
func TestARecordOfAnotherVersionIsLeftAlone(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := &member{simulated: s, name: "p0"}
		s.size = 2
		g := &limits.Gate{Store: &Budgets{client: m, log: zerolog.New(&log)}}
		g.Configure(contoso, limits.Budget{Requests: 100, Window: time.Minute, Concurrency: 10})
		tag := contoso.Organization + "/" + contoso.ClientID
		foreign := Script{Source: "redis.call('SET', KEYS[1], cmsgpack.pack({2, 'news'})) return redis.call('GET', KEYS[1])"}
		before, err := s.eval(&foreign, []string{s.client.Key(tag, "budget")})
		if err != nil {
			t.Fatal(err)
		}
		let := 0
		for range 100 {
			p, err := g.Enter(t.Context(), contoso, limits.Caller{Name: "a"}, time.Second)
			if err != nil {
				break
			}
			p.Done(limits.Outcome{Sent: true, Answered: true, Took: time.Millisecond})
			let++
			time.Sleep(10 * time.Millisecond)
		}
		reads := Script{Source: "return redis.call('GET', KEYS[1])"}
		after, err := s.eval(&reads, []string{s.client.Key(tag, "budget")})
		if err != nil || after != before {
			t.Errorf("the record was changed (%v)", err)
		}
		if let != 50 || strings.Count(log.String(), "Another version") != 1 {
			t.Errorf("%d of a share of 50 were let in; said: %s", let, log.String())
		}
		end([]*limits.Gate{g})
	})
}
