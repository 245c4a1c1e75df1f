package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/limits"
	"dynproxy/internal/secret"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

var contoso = limits.Key{Organization: "contoso.crm.dynamics.com", ClientID: "app"}

// simulated is the Redis of a simulation: a real one, whose clock is the
// simulation's.
type simulated struct {
	client *Client
	redis  *redis.Client
	script Script
	size   int

	mu    sync.Mutex
	step  time.Duration // of the server's clock
	calls int
}

func (s *simulated) eval(script *Script, keys []string, args ...any) (any, error) {
	return script.on(keys, args)(context.Background(), s.redis)
}

// exchanges is how many there were.
func (s *simulated) exchanges() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// forget makes it lose what it knows of a budget.
func (s *simulated) forget(key limits.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag := key.Organization + "/" + key.ClientID
	forgets := Script{Source: "return redis.call('DEL', KEYS[1], KEYS[2])"}
	s.eval(&forgets, []string{s.client.Key(tag, "budget"), s.client.Key(tag, "window")})
}

func simulate(t *testing.T, server *redistest.Server) *simulated {
	t.Helper()
	c, err := Open(Options{URL: secret.New(server.URL()), Prefix: fmt.Sprint("sim", rand.Uint32()), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	c.Join(t.Context())
	if c.State().State != Shared {
		t.Fatal(c.State())
	}
	t.Cleanup(c.Close)
	source := strings.Replace(budgetSource, "local t = redis.call('TIME')\n\treturn t[1] * 1000000 + t[2]", "return tonumber(KEYS[3])", 1)
	if source == budgetSource {
		t.Fatal("the script reads its clock in another way")
	}
	// The network is the simulation's: how busy the machine is does not count.
	patient := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ReadTimeout: time.Minute, WriteTimeout: time.Minute, DialTimeout: time.Minute, PoolTimeout: time.Minute})
	t.Cleanup(func() { patient.Close() })
	return &simulated{client: c, redis: patient, script: Script{Source: source}, size: 1}
}

// member is one proxy of a simulation, as Budgets sees it.
type member struct {
	*simulated
	name string
	down func() error // what an exchange ends with at once; nil: it goes its way

	network func(name string) (there, back time.Duration, lost bool)
}

func (m *member) Name() string                { return m.name }
func (m *member) Size() int                   { return m.size }
func (m *member) Key(tag, name string) string { return m.client.Key(tag, name) }

func (m *member) Eval(ctx context.Context, _ *Script, keys []string, args ...any) (any, error) {
	if m.down != nil {
		if err := m.down(); err != nil {
			return nil, err
		}
	}
	there, back, lost := time.Duration(0), time.Duration(0), false
	if m.network != nil {
		there, back, lost = m.network(m.name)
	}
	late := there+back > exchangeWithin || lost
	if late && lost && there < 0 { // nothing arrives
		time.Sleep(exchangeWithin)
		return nil, errLate
	}
	run := func() (any, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls++
		now := time.Now().Add(m.step).UnixMicro()
		return m.eval(&m.script, append(keys, fmt.Sprint(now)), args...)
	}
	if late { // it is carried out, now or after it was given up
		go func() { time.Sleep(there); run() }()
		time.Sleep(exchangeWithin)
		return nil, errLate
	}
	time.Sleep(there)
	got, err := run()
	time.Sleep(back)
	return got, err
}

// organization counts as a real one does.
type organization struct {
	requests, places int
	window           time.Duration

	mu       sync.Mutex
	arrived  []time.Time
	inFlight int
	most     int // in a window
	mostIn   int // in flight
	refused  int
	served   int
}

func (o *organization) serve(work time.Duration) bool {
	o.mu.Lock()
	gone := time.Now().Add(-o.window)
	for len(o.arrived) > 0 && !o.arrived[0].After(gone) {
		o.arrived = o.arrived[1:]
	}
	if len(o.arrived) >= o.requests || o.inFlight >= o.places {
		o.refused++
	}
	o.arrived = append(o.arrived, time.Now())
	o.inFlight++
	o.served++
	o.most, o.mostIn = max(o.most, len(o.arrived)), max(o.mostIn, o.inFlight)
	o.mu.Unlock()
	time.Sleep(work)
	o.mu.Lock()
	o.inFlight--
	o.mu.Unlock()
	return true
}

func gates(s *simulated, n int, b limits.Budget) []*limits.Gate {
	s.size = n
	var all []*limits.Gate
	for i := range n {
		g := &limits.Gate{Store: &Budgets{client: &member{simulated: s, name: fmt.Sprint("p", i)}, log: zerolog.Nop()}}
		g.Configure(contoso, b)
		all = append(all, g)
	}
	return all
}

func TestThreeProxiesAreAsFastAsOne(t *testing.T) {
	server := redistest.Start(t)
	for _, c := range []struct {
		name     string
		window   time.Duration
		n        int
		callers  []int
		callerOf func(p int) string
	}{
		{"even, 600 in 3 s", 3 * time.Second, 6666, []int{21, 21, 22}, func(int) string { return "a" }},
		{"skewed, 600 in 3 s", 3 * time.Second, 6666, []int{51, 6, 7}, func(int) string { return "a" }},
		{"even, 600 in 30 s", 30 * time.Second, 2000, []int{21, 21, 22}, func(int) string { return "a" }},
		{"skewed, 600 in 30 s", 30 * time.Second, 2000, []int{51, 6, 7}, func(int) string { return "a" }},
		{"three callers, skewed", 3 * time.Second, 6666, []int{51, 6, 7}, func(p int) string { return fmt.Sprint("c", p) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := simulate(t, server)
			synctest.Test(t, func(t *testing.T) {
				o := &organization{requests: 600, places: 8, window: c.window}
				all := gates(s, 3, limits.Budget{Requests: 600, Window: c.window, ExecutionTime: 4 * c.window, Concurrency: 8})
				began := time.Now()
				var wg sync.WaitGroup
				for p, n := range c.callers {
					left := c.n * n / 64
					var mu sync.Mutex
					for range n {
						wg.Go(func() {
							for {
								mu.Lock()
								left--
								done := left < 0
								mu.Unlock()
								if done {
									return
								}
								pass, err := all[p].Enter(t.Context(), contoso, limits.Caller{Name: c.callerOf(p)}, time.Minute)
								if err != nil {
									t.Error(err)
									return
								}
								o.serve(10 * time.Millisecond)
								pass.Done(limits.Outcome{Sent: true, Answered: true, Took: 10 * time.Millisecond})
							}
						})
					}
				}
				wg.Wait()
				took := time.Since(began)
				ideal := time.Duration((o.served-1)/600) * c.window
				t.Logf("%d served in %v, %.3f of the ideal; most %d in a window, %d at once; refused %d; %d exchanges", o.served, took, took.Seconds()/ideal.Seconds(), o.most, o.mostIn, o.refused, s.exchanges())
				if o.refused > 0 {
					t.Errorf("%d refused", o.refused)
				}
			})
		})
	}
}
