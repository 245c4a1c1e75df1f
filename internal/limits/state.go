package limits

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// State is a picture of one key's budget, for metrics and for people.
type State struct {
	Mode          Mode
	Window        time.Duration
	Requests      Use // requests in the window
	ExecutionTime Use // milliseconds in the window
	Concurrency   Use // in flight
	Waiting       int
	ClosedFor     time.Duration // zero: open
	ClosedBy      LimitKind
	DOPHint       int    // the organization's newest; zero: none
	Operations    uint64 // today (UTC), for the entitlement

	// By kind, since the key was first used.
	Waited    [limitKinds]uint64 // stood in the queue
	Refused   [limitKinds]uint64 // were told *Full
	Throttled [limitKinds]uint64 // were refused by the organization
	WouldWait [limitKinds]uint64 // in Report mode

	Callers []CallerState // by use, greatest first
}

// Use is how far one limit is used.
type Use struct {
	Used       float64 // by us
	Elsewhere  float64 // by others, as far as the organization lets us see
	Limit      float64 // in force; zero: none
	Configured float64 // zero: none
	Learned    float64 // the organization's word; zero: none
}

// CallerState is one caller's part.
type CallerState struct {
	Name     string
	Weight   int
	Used     uint64 // requests in the window
	InFlight int
	Waiting  int
}

// counters is what a ledger only counts.
type counters struct {
	waited, refused, throttled, wouldWait [limitKinds]uint64

	operations uint64
	day        int32 // of operations, since 1970
	dopHint    int32
}

// today numbers the days in UTC.
func today() int32 { return int32(time.Now().Unix() / 86400) }

func (l *ledger) snapshot() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.tick(now)
	s := State{
		Mode:          l.budget.Mode,
		Window:        l.span,
		Requests:      l.requests.use(now, float64(l.counted)),
		ExecutionTime: l.execution.use(now, l.pending(now)),
		Concurrency:   l.concurrency.use(now, l.inFlight),
		Waiting:       l.queued,
		DOPHint:       int(l.counters.dopHint),
		Waited:        l.counters.waited,
		Refused:       l.counters.refused,
		Throttled:     l.counters.throttled,
		WouldWait:     l.counters.wouldWait,
	}
	if l.cooldown.slots > 0 && now < l.cooldown.until {
		s.ClosedFor, s.ClosedBy = l.cooldown.until-now, l.cooldown.kind
	}
	if today() == l.counters.day {
		s.Operations = l.counters.operations
	}
	for name, c := range l.shares {
		c.used.advance(now)
		s.Callers = append(s.Callers, CallerState{name, int(c.weight), c.used.sum, int(c.inFlight), len(c.queue)})
	}
	slices.SortFunc(s.Callers, func(a, b CallerState) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), cmp.Compare(a.Name, b.Name))
	})
	return s
}

func (m *budgetCounter) use(now time.Duration, pending float64) Use {
	u := Use{
		Used:       float64(m.sum) + pending,
		Elsewhere:  math.Max(0, -m.biasNow(now)),
		Configured: m.configured,
		Learned:    m.learned,
	}
	if limit := m.limit(); !math.IsInf(limit, 1) {
		u.Limit = limit
	}
	return u
}

func (c *concurrencyLimit) use(now time.Duration, inFlight int) Use {
	u := Use{Used: float64(inFlight), Configured: float64(c.configured), Learned: float64(c.learned)}
	if known := c.known(); known != math.MaxInt {
		limit, _ := c.limit(now)
		u.Limit, u.Elsewhere = float64(limit), float64(known-limit)
	}
	return u
}
