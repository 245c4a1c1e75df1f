package limits

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/needs"
)

// fleet is an organization of several web servers, each of which counts for
// itself. Calls go to them in turn.
type fleet struct {
	servers []*organization
	turn    atomic.Int64
}

func (f *fleet) serve(network, work time.Duration) Feedback {
	return f.servers[int(f.turn.Add(1))%len(f.servers)].serve(network, work)
}

// oracle is a client that knows what the organization will say, and so waits
// exactly as long as it must.
func (f *fleet) oracle(work time.Duration) {
	for {
		for range f.servers {
			o := f.servers[int(f.turn.Add(1))%len(f.servers)]
			if o.fits(work) {
				o.serve(0, work)
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// fits reports whether a request would be served within the limits when all is
// done that is in flight.
func (o *organization) fits(work time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slide()
	return o.inFlight < o.concurrency && len(o.arrived) < o.requests && o.busy()+time.Duration(o.inFlight+1)*work <= o.execution
}

// plan is a random organization, what others do to it, and what an operator
// believes of it.
type plan struct {
	organization
	servers  int
	stranger time.Duration // pause between its requests; zero: there is none
	holds    time.Duration // of a place, by each of them
	leaves   bool          // half-way
	budget   terms
	work     time.Duration
	total    int
}

func randomPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 3))
	p := &plan{servers: 1 + r.IntN(3)*r.IntN(2), work: 20*time.Millisecond + time.Duration(r.IntN(100))*time.Millisecond}
	p.requests, p.window, p.concurrency = 300+r.IntN(600), time.Duration(30+r.IntN(30))*time.Second, 8+r.IntN(40)
	p.execution = time.Duration(p.requests) * p.work * time.Duration(5+r.IntN(20)) / 10
	p.headers = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		p.stranger = 2 * p.window / time.Duration(p.requests*p.servers) * time.Duration(1+r.IntN(3))
		p.holds = min(p.work, p.execution/time.Duration(2*p.requests))
		p.leaves = r.IntN(2) == 0
	}
	all := p.servers
	p.budget = terms{Budget{Requests: p.requests * all, Window: p.window, ExecutionTime: p.execution * time.Duration(all), Concurrency: p.concurrency * all}, time.Hour}
	switch believed := 1 + float64(r.IntN(3)-1)/3; {
	case believed > 1, believed < 1 && p.headers:
		p.budget.Requests = int(float64(p.budget.Requests) * believed)
	}
	p.total = 9 * p.requests * all / 2
	return p
}

func (p *plan) String() string {
	return fmt.Sprintf("%d servers of %d in %v, %v busy, %d at once; headers %v; stranger every %v, leaves %v; set to %d; %v each",
		p.servers, p.requests, p.window, p.execution, p.concurrency, p.headers, p.stranger, p.leaves, p.budget.Requests, p.work)
}

// play runs the plan's load, through a gate or with the oracle, and returns how
// long it took and how many of its calls were refused.
func (p *plan) play(t *testing.T, seed uint64, gate *Gate) (took time.Duration, refusals int) {
	f := &fleet{}
	for range p.servers {
		o := organization{requests: p.requests, window: p.window, execution: p.execution, concurrency: p.concurrency, headers: p.headers}
		f.servers = append(f.servers, &o)
	}
	stop := make(chan struct{})
	var strangers sync.WaitGroup
	switch {
	case p.stranger == 0:
	case gate == nil:
		strangers.Go(func() { p.yield(f, stop) })
		time.Sleep(p.window)
	default:
		strangers.Go(func() { p.intrude(f, stop) })
		time.Sleep(p.window)
	}
	work := between(seed, p.work/2, p.work*3/2)
	var refused atomic.Int64
	start := time.Now()
	var all sync.WaitGroup
	for i := range 48 {
		all.Go(func() {
			for n := i; n < p.total; n += 48 {
				if gate == nil {
					f.oracle(work())
					continue
				}
				refused.Add(int64(through(t, gate, p.budget, f, work)))
			}
		})
	}
	all.Wait()
	took = time.Since(start)
	close(stop)
	strangers.Wait()
	return took, int(refused.Load())
}

// through sends a call until it is served, and returns how often it was
// refused by the organization.
func through(t *testing.T, g *Gate, b terms, f *fleet, work func() time.Duration) (refused int) {
	for {
		pass, err := g.Enter(t.Context(), contoso, Caller{Name: "import"}, b.QueueWait)
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		feedback := f.serve(time.Millisecond, work())
		pass.Done(Outcome{Sent: true, Answered: true, Feedback: feedback})
		if feedback.Refused == None {
			return refused
		}
		refused++
	}
}

// intrude sends a stranger's requests until stop, or for two windows.
func (p *plan) intrude(f *fleet, stop <-chan struct{}) {
	var all sync.WaitGroup
	defer all.Wait()
	for began := time.Now(); !p.leaves || time.Since(began) < 3*p.window; {
		select {
		case <-stop:
			return
		case <-time.After(p.stranger):
			all.Go(func() { f.serve(0, p.holds) })
		}
	}
}

// yield takes from the organization what the strangers would, for the oracle:
// it would else take their part before them.
func (p *plan) yield(f *fleet, stop <-chan struct{}) {
	n := int(p.window / p.stranger / time.Duration(p.servers))
	take := func(sign int) {
		for _, o := range f.servers {
			o.mu.Lock()
			o.requests -= sign * n
			o.execution -= time.Duration(sign*n) * p.holds
			o.mu.Unlock()
		}
	}
	take(1)
	if p.leaves {
		time.Sleep(7 * p.window / 2) // while their last requests slide out
		take(-1)
	}
	<-stop
}

// Over random organizations, settings and strangers: what goes through the gate
// takes at most 1.15 times as long as what knows beforehand whom the
// organization will refuse, and few are refused.
func TestRandomOrganizationsAgainstTheTruth(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if seed >= 6 {
				needs.Long(t)
			}
			synctest.Test(t, func(t *testing.T) { compare(t, seed) })
		})
	}
}

func compare(t *testing.T, seed uint64) {
	p := randomPlan(seed)
	best, _ := p.play(t, seed, nil)
	gate := &Gate{}
	gate.Configure(contoso, p.budget.Budget)
	took, refused := p.play(t, seed, gate)
	ratio := took.Seconds() / best.Seconds()
	t.Logf("%.3f of %v, %d of %d refused: %v", ratio, best, refused, p.total, p)
	if ratio > 1.15 {
		t.Errorf("seed %d: %v, %.3f of the best time %v: %v", seed, took, ratio, best, p)
	}
	// A burst until the limits are known, and then the tests.
	if most := p.concurrency*p.servers + testShare*(1+int(took/p.window)); refused > most {
		t.Errorf("seed %d: %d of %d refused, want at most %d: %v", seed, refused, p.total, most, p)
	}
}
