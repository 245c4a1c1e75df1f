package limits

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// organization counts as a real one does: arrivals and execution time in an
// exact sliding window, and what is in flight. It never looks at the Gate.
type organization struct {
	requests    int
	window      time.Duration
	execution   time.Duration
	concurrency int
	headers     bool // tell what remains
	promised    int  // in place of requests, by the headers
	silent      bool // refuse without numbers and without Retry-After

	mu       sync.Mutex
	arrived  []time.Time // accepted
	finished []spell
	inFlight int
	refused  [limitKinds]int
	peak     int // most in flight
}

type spell struct {
	at   time.Time
	took time.Duration
}

// serve is one request: a way there, work, a way back.
func (o *organization) serve(network, work time.Duration) Feedback {
	time.Sleep(network)
	if l := o.admit(); l.Refused != None {
		time.Sleep(network)
		return l
	}
	time.Sleep(work)
	l := o.finish(work)
	time.Sleep(network)
	return l
}

func (o *organization) admit() Feedback {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slide()
	kind, message := None, ""
	switch {
	case o.concurrency > 0 && o.inFlight >= o.concurrency:
		kind, message = Concurrency, fmt.Sprintf("limit of %d.", o.concurrency)
	case o.requests > 0 && len(o.arrived) >= o.requests:
		kind, message = Requests, fmt.Sprintf("limit of %d over time window of %v seconds.", o.requests, o.window.Seconds())
	case o.execution > 0 && o.busy() >= o.execution:
		kind, message = ExecutionTime, fmt.Sprintf("limit of %d milliseconds over time window of %v seconds.", o.execution.Milliseconds(), o.window.Seconds())
	}
	if kind != None {
		o.refused[kind]++
		if o.silent {
			return Feedback{Refused: kind}
		}
		return ReadRefusal(kind.Code(), message, "1", time.Now())
	}
	o.arrived = append(o.arrived, time.Now())
	o.inFlight++
	o.peak = max(o.peak, o.inFlight)
	return Feedback{}
}

func (o *organization) finish(work time.Duration) Feedback {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inFlight--
	o.finished = append(o.finished, spell{time.Now(), work})
	o.slide()
	if !o.headers {
		return Feedback{}
	}
	return Feedback{}.WithHeaders(
		fmt.Sprint(max(0, max(o.requests, o.promised)-len(o.arrived))),
		fmt.Sprintf("%.3f", max(0, (o.execution-o.busy()).Seconds())), "4")
}

// slide forgets what left the window.
func (o *organization) slide() {
	gone := time.Now().Add(-o.window)
	for len(o.arrived) > 0 && !o.arrived[0].After(gone) {
		o.arrived = o.arrived[1:]
	}
	for len(o.finished) > 0 && !o.finished[0].at.After(gone) {
		o.finished = o.finished[1:]
	}
}

func (o *organization) busy() time.Duration {
	var sum time.Duration
	for _, s := range o.finished {
		sum += s.took
	}
	return sum
}

func (o *organization) refusals() int {
	return o.refused[Requests] + o.refused[ExecutionTime] + o.refused[Concurrency]
}

// load is many callers that send requests through a gate, and again when the
// organization or the gate refuses them.
type load struct {
	gate *Gate
	org  interface {
		serve(network, work time.Duration) Feedback
	}
	budget  terms
	network func() time.Duration
	work    func() time.Duration
}

// call sends one request until it is served.
func (l load) call(ctx context.Context, caller string) error {
	for {
		p, err := l.budget.enter(ctx, l.gate, contoso, caller, 1)
		if full, ok := errors.AsType[*Full](err); ok {
			time.Sleep(full.RetryAfter)
			continue
		}
		if err != nil {
			return err
		}
		feedback := l.org.serve(l.network(), l.work())
		p.Done(Outcome{Sent: true, Answered: true, Feedback: feedback})
		if feedback.Refused == None {
			return nil
		}
	}
}

// run sends total requests over so many connections and returns how long that
// took.
func (l load) run(t *testing.T, caller string, connections, total int) time.Duration {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for i := range connections {
		n := total / connections
		if i < total%connections {
			n++
		}
		wg.Go(func() {
			for range n {
				if err := l.call(t.Context(), caller); err != nil {
					t.Errorf("%s: %v", caller, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// between draws durations from a generator of its own, so that a run can be
// repeated.
func between(seed uint64, low, high time.Duration) func() time.Duration {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 2))
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return low + time.Duration(r.Int64N(int64(high-low)+1))
	}
}
