package cluster

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/limits"
	"dynproxy/internal/needs"
)

var seeds = flag.Int("seeds", 0, "how many random plans TestTheSharedBudgetAgainstTheTruth plays; zero: some for every day")

// Random proxies, callers, networks and clocks, with the real script in a real
// Redis, before an organization that counts by itself: never is more let in than
// there is, and nothing is kept from those who wait for longer than a lease.
func TestTheSharedBudgetAgainstTheTruth(t *testing.T) {
	n := *seeds
	if n == 0 {
		n = 300
	}
	s := simulate(t, redistest.Start(t))
	for seed := range uint64(n) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if *seeds == 0 && seed >= 40 {
				needs.Long(t)
			}
			synctest.Test(t, func(t *testing.T) { play(t, s, seed) })
		})
		if !ok {
			return
		}
	}
}

// plan is a random course of things.
type plan struct {
	r        *rand.Rand
	proxies  int
	budget   limits.Budget
	work     time.Duration
	network  time.Duration // most of one way
	loss     float64       // of exchanges, on the way there or back
	steps    bool          // of the server's clock
	dies     bool          // one proxy
	outages  bool          // Redis is away
	emptied  bool          // Redis forgets
	during   time.Duration
	workers  []int
	leaves   []time.Duration // when a proxy's callers go
	mu       sync.Mutex
	away     bool
	dead     int
	lastLost map[string]bool
}

func randomPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 16))
	p := &plan{r: r, proxies: 1 + r.IntN(4), work: time.Duration(1+r.IntN(200)) * time.Millisecond, network: time.Duration(1+r.IntN(2000)) * time.Microsecond, dead: -1, lastLost: map[string]bool{}}
	window := time.Duration(1+r.IntN(6)) * time.Second
	p.budget = limits.Budget{Requests: 5 + r.IntN(200), Window: window, ExecutionTime: time.Hour, Concurrency: 1 + r.IntN(12)}
	switch r.IntN(6) {
	case 0:
		p.loss = 0.2
	case 1:
		p.steps = true
	case 2:
		p.dies = p.proxies > 1
	case 3:
		p.outages = true
	case 4:
		p.emptied = true
	}
	p.during = 3*window + 12*time.Second
	for range p.proxies {
		p.workers = append(p.workers, 1+r.IntN(20))
		p.leaves = append(p.leaves, time.Duration(r.Int64N(int64(p.during))))
	}
	p.leaves[r.IntN(p.proxies)] = p.during // one stays
	return p
}

func (p *plan) String() string {
	return fmt.Sprintf("%d proxies with %v workers of %v, %d in %v, %d at once; loss %v, steps %v, dies %v, outages %v, emptied %v",
		p.proxies, p.workers, p.work, p.budget.Requests, p.budget.Window, p.budget.Concurrency, p.loss, p.steps, p.dies, p.outages, p.emptied)
}

func (p *plan) chance(c float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.r.Float64() < c
}

func (p *plan) upTo(d time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.r.Int64N(int64(d) + 1))
}

// way is one exchange's fate: two losses in a row would part a proxy from the
// others, which is the outages' business.
func (p *plan) way(name string) (there, back time.Duration, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	upTo := func(d time.Duration) time.Duration { return time.Duration(p.r.Int64N(int64(d) + 1)) }
	there, back = upTo(p.network), upTo(p.network)
	if p.r.Float64() >= p.loss || p.lastLost[name] {
		p.lastLost[name] = false
		return there, back, false
	}
	p.lastLost[name] = true
	switch p.r.IntN(3) {
	case 0:
		return -1, 0, true // never arrives
	case 1:
		return there, 0, true // the answer is lost
	}
	return there + upTo(400*time.Millisecond), 0, true // it arrives late
}

func play(t *testing.T, s *simulated, seed uint64) {
	p := randomPlan(seed)
	key := limits.Key{Organization: fmt.Sprint("org", seed, "-", rand.Uint32()), ClientID: "app"}
	o := &organization{requests: p.budget.Requests, places: p.budget.Concurrency, window: p.budget.Window}
	s.size, s.step = p.proxies, 0
	var all []*limits.Gate
	for i := range p.proxies {
		m := &member{simulated: s, name: fmt.Sprint("p", i), network: p.way}
		m.down = func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.away || p.dead == i {
				return errors.New("away")
			}
			return nil
		}
		g := &limits.Gate{Store: &Budgets{client: m}}
		g.Configure(key, p.budget)
		all = append(all, g)
	}
	began := time.Now()
	var running sync.WaitGroup
	for i, g := range all {
		for w := range p.workers[i] {
			running.Go(func() { p.worker(t, g, key, o, i, fmt.Sprint("c", w%3), began) })
		}
	}
	p.events(s, key, all)
	running.Wait()
	p.judge(t, o, seed)
	p.nothingIsLost(t, all, key, seed)
	for _, g := range all {
		g.Retain(func(limits.Key) bool { return false })
	}
	time.Sleep(time.Second) // for exchanges that are under way
}

// nothingIsLost lets one proxy use all that there is, once what was spent has
// left the window and nobody else is expected: what the others held has come
// back.
func (p *plan) nothingIsLost(t *testing.T, all []*limits.Gate, key limits.Key, seed uint64) {
	time.Sleep(lease + 4*p.budget.Window + time.Second) // for as long callers are expected back
	stays := slices.Index(p.leaves, p.during)
	var running sync.WaitGroup
	for w := range p.budget.Concurrency {
		running.Go(func() {
			for n := w; n < p.budget.Requests; n += p.budget.Concurrency {
				pass, err := all[stays].Enter(t.Context(), key, limits.Caller{Name: "last"}, 5*time.Second)
				if err != nil {
					t.Errorf("seed %d: call %d of %d, when all must be free: %v: %v", seed, n, p.budget.Requests, err, p)
					return
				}
				pass.Done(limits.Outcome{Sent: true, Answered: true, Took: time.Millisecond})
			}
		})
	}
	running.Wait()
}

// worker calls until its proxy's callers leave.
func (p *plan) worker(t *testing.T, g *limits.Gate, key limits.Key, o *organization, proxy int, caller string, began time.Time) {
	for time.Since(began) < p.leaves[proxy] {
		pass, err := g.Enter(t.Context(), key, limits.Caller{Name: caller}, time.Second)
		if full, is := errors.AsType[*limits.Full](err); is {
			time.Sleep(min(full.RetryAfter, time.Second))
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		p.mu.Lock()
		dead := p.dead == proxy
		p.mu.Unlock()
		if dead {
			return // and what it was given is lost
		}
		time.Sleep(p.upTo(p.network))
		took := p.upTo(2 * p.work)
		o.serve(took)
		time.Sleep(p.upTo(p.network))
		pass.Done(limits.Outcome{Sent: true, Answered: true, Took: took})
		if p.chance(0.1) {
			time.Sleep(p.upTo(300 * time.Millisecond))
		}
	}
}

// events happen in the middle.
func (p *plan) events(s *simulated, key limits.Key, all []*limits.Gate) {
	time.Sleep(p.during / 3)
	switch {
	case p.steps:
		for range 4 {
			// One of less than a quarter of a second cannot be told from a slow way to
			// Redis: it lets calls in by so much too early. Of these, several that nobody
			// sees apart come to nothing or to one that is long enough, also where the
			// record's time fell behind at each by a way to Redis and back.
			const longer = 300 * time.Millisecond
			by := (longer + p.upTo(time.Minute)).Truncate(longer)
			if p.chance(0.5) {
				by = -by
			}
			s.mu.Lock()
			s.step += by
			s.mu.Unlock()
			time.Sleep(p.upTo(p.during / 8))
		}
	case p.dies:
		p.mu.Lock()
		p.dead = slices.IndexFunc(p.leaves, func(d time.Duration) bool { return d < p.during })
		p.mu.Unlock()
	case p.outages:
		p.mu.Lock()
		p.away = true
		p.mu.Unlock()
		time.Sleep(p.upTo(p.during / 3))
		p.mu.Lock()
		p.away = false
		p.mu.Unlock()
	case p.emptied:
		s.forget(key)
		time.Sleep(400 * time.Millisecond)
		for _, g := range all {
			g.Retell()
		}
	}
}

func (p *plan) judge(t *testing.T, o *organization, seed uint64) {
	most := p.budget.Requests
	if p.outages || p.emptied {
		// Each may use its share of what it has last heard to be left.
		most += p.budget.Requests*(p.proxies-1)/p.proxies + p.proxies
	}
	if o.most > most {
		t.Errorf("seed %d: %d in a window, want at most %d: %v", seed, o.most, most, p)
	}
	places := p.budget.Concurrency
	if p.outages || p.emptied {
		places += p.budget.Concurrency + p.proxies
	}
	if o.mostIn > places {
		t.Errorf("seed %d: %d at once, want at most %d: %v", seed, o.mostIn, places, p)
	}
	if o.served == 0 {
		t.Errorf("seed %d: nothing was served: %v", seed, p)
	}
}
