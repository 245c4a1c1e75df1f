package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/limits"
	"dynproxy/internal/needs"
	"dynproxy/internal/secret"
)

var documented = limits.Budget{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}

func connect(t testing.TB, server *redistest.Server) *Client {
	t.Helper()
	c, err := Open(Options{URL: secret.New(server.URL()), Prefix: "dynproxy", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.Join(t.Context())
	return c
}

// BenchmarkSharedAdmission is one Enter and its Done: alone, out of a pocket
// that has room, and for a budget of which nothing is in the pocket.
func BenchmarkSharedAdmission(b *testing.B) {
	server := redistest.Start(b)
	run := func(name string, store limits.Store, keys func(int) limits.Key) {
		b.Run(name, func(b *testing.B) {
			g := &limits.Gate{Store: store}
			took := make([]time.Duration, 0, b.N)
			budget := documented
			budget.Requests, budget.ExecutionTime = 1e9, 1e9*time.Second
			for i := 0; b.Loop(); i++ {
				key := keys(i)
				if i == 0 || keys(0) != keys(1) {
					g.Configure(key, budget)
				}
				began := time.Now()
				p, err := g.Enter(b.Context(), key, limits.Caller{Name: "a"}, time.Minute)
				took = append(took, time.Since(began))
				if err != nil {
					b.Fatal(err)
				}
				p.Done(limits.Outcome{Sent: true, Answered: true, Took: time.Microsecond})
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-us")
			b.ReportMetric(float64(took[len(took)*95/100].Nanoseconds())/1000, "p95-us")
		})
	}
	same := func(int) limits.Key { return contoso }
	run("alone", nil, same)
	c := connect(b, server)
	run("room", c.Budgets(), same)
	run("empty", c.Budgets(), func(i int) limits.Key { return limits.Key{Organization: fmt.Sprint("org", i), ClientID: "a"} })
}

// BenchmarkExchange is a statement and its grant, of one of three proxies that
// all have callers: its time, and Redis's own.
func BenchmarkExchange(b *testing.B) {
	server := redistest.Start(b)
	budgets := connect(b, server).Budgets()
	s := &simulated{client: budgets.client.(*Client), script: Script{Source: budgetSource}, size: 3}
	var all []*Budgets
	for i := range 3 {
		all = append(all, &Budgets{client: &plain{s, fmt.Sprint("p", i)}, script: Script{Source: budgetSource}})
	}
	generation := make([]string, 3)
	clock := make([]time.Duration, 3)
	before := spent(b, server)
	for i := 0; b.Loop(); i++ {
		p := i % 3
		g, err := all[p].Exchange(b.Context(), contoso, &limits.Statement{
			Sequence: int64(i + 1), Generation: generation[p], Clock: clock[p], Before: time.Second,
			Span: 5 * time.Minute, Requests: uint64(20 * (i / 3)), Millis: uint64(400 * (i / 3)), Settled: []limits.Amount{{Age: time.Second / 2, Requests: 20, Millis: 400}},
			InFlight: 2, Pocket: 5, Pending: 40, Guess: 20, Limit: 1e9, MillisLimit: 1e9, Want: 35, Kept: 20, KeptFor: time.Minute, Weight: 3, InUse: 2, Places: 6, PlacesWant: 6, PlacesLimit: 52,
		})
		if err != nil {
			b.Fatal(err)
		}
		generation[p], clock[p] = g.Generation, g.Clock
	}
	b.ReportMetric((spent(b, server)-before)/float64(b.N), "redis-cpu-us")
}

// plain is a member with the real clock.
type plain struct {
	*simulated
	name string
}

func (p *plain) Name() string                { return p.name }
func (p *plain) Size() int                   { return p.size }
func (p *plain) Key(tag, name string) string { return p.client.Key(tag, name) }
func (p *plain) Eval(ctx context.Context, s *Script, keys []string, args ...any) (any, error) {
	return p.client.Eval(ctx, s, keys, args...)
}

// spent is the processor's time that Redis has taken, in microseconds.
func spent(t testing.TB, server *redistest.Server) (sum float64) {
	t.Helper()
	for line := range strings.Lines(server.CLI("INFO", "cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += f * 1e6
		}
	}
	return sum
}

func used(t testing.TB, server *redistest.Server) int {
	t.Helper()
	for line := range strings.Lines(server.CLI("INFO", "memory")) {
		if rest, is := strings.CutPrefix(line, "used_memory:"); is {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("Redis does not say what it uses")
	return 0
}

// Ten thousand tenants, each called all over its window at three proxies, fit
// into 40 MB of Redis, and each key ends by itself.
func TestTenThousandBudgetsAreSmall(t *testing.T) {
	needs.Long(t)
	server := redistest.Start(t)
	c := connect(t, server)
	s := &simulated{client: c, size: 3}
	before := used(t, server)
	const tenants = 10_000
	var settled []limits.Amount
	for i := range 255 {
		settled = append(settled, limits.Amount{Age: time.Duration(255-i) * 300 * time.Second / 256, Requests: 8, Millis: 900})
	}
	var running sync.WaitGroup
	for part := range 4 {
		running.Go(func() {
			for i := part; i < tenants; i += 4 {
				for p := range 3 {
					b := &Budgets{client: &plain{s, fmt.Sprint("machine-a1b2c", p)}, script: Script{Source: budgetSource}}
					exchange := func(sequence int64) error {
						_, err := b.Exchange(t.Context(), limits.Key{Organization: fmt.Sprintf("organization%d.crm4.dynamics.com", i), ClientID: "7f0c2d9e-18a4-4d52-9b0e-2f6b8f9d3c11"}, &limits.Statement{
							Sequence: sequence, Span: 5 * time.Minute, Requests: 255 * 8, Millis: 255 * 900, Settled: settled, InFlight: 1, Guess: 20, Limit: 6000, MillisLimit: 1.2e6,
							Want: 20, Kept: 20, KeptFor: time.Minute, Weight: 3, InUse: 1, PlacesWant: 3, PlacesLimit: 52,
						})
						return err
					}
					for sequence := int64(1); exchange(sequence) != nil && !t.Failed(); sequence++ { // the machine may be busy
						c.Join(t.Context()) // which nobody does in the background here
						if sequence > 1000 {
							t.Error("Redis does not answer")
						}
					}
				}
			}
		})
	}
	running.Wait()
	each := (used(t, server) - before) / tenants
	t.Logf("%d bytes a tenant, %.1f MB in all", each, float64(each)*tenants/1e6)
	if each > 4000 {
		t.Errorf("%d bytes a tenant", each)
	}
	if keys := server.CLI("EVAL", "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do if redis.call('PTTL', k) < 0 then n = n + 1 end end return n", "0"); keys != "0" {
		t.Errorf("%s keys end never", keys)
	}
}

// A thousand requests a second of fifty tenants over three proxies cost fewer
// than 0.2 exchanges each.
func TestExchangesAreFewerThanRequests(t *testing.T) {
	s := simulate(t, redistest.Start(t))
	synctest.Test(t, func(t *testing.T) {
		all := gates(s, 3, documented)
		const tenants, seconds, perSecond = 50, 10, 20
		var running sync.WaitGroup
		for i := range tenants {
			key := limits.Key{Organization: fmt.Sprint("org", i), ClientID: "app"}
			for _, g := range all {
				g.Configure(key, documented)
			}
			running.Go(func() {
				time.Sleep(time.Duration(i) * 17 * time.Millisecond)
				for n := range perSecond * seconds {
					running.Go(func() {
						p, err := all[n%3].Enter(t.Context(), key, limits.Caller{Name: "a"}, time.Minute)
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(60 * time.Millisecond)
						p.Done(limits.Outcome{Sent: true, Answered: true})
					})
					time.Sleep(time.Second / perSecond)
				}
			})
		}
		running.Wait()
		each := float64(s.exchanges()) / (tenants * perSecond * seconds)
		t.Logf("%.3f exchanges a request", each)
		if each >= 0.2 {
			t.Errorf("%.3f exchanges a request", each)
		}
		for _, g := range all {
			g.Retain(func(limits.Key) bool { return false })
		}
		time.Sleep(time.Second)
	})
}
