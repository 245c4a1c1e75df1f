package limits

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
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
	Apart         time.Duration // for so long each proxy has kept to its share of the budget; zero: it is alone, or one with the others
	ApartFor      string        // why
	DOPHint       int           // the organization's newest; zero: none
	Operations    uint64        // today (UTC), for the entitlement

	// By kind, since the key was first used.
	Waited    [limitKinds]uint64 // stood in the queue
	Refused   [limitKinds]uint64 // were told *Full
	Throttled [limitKinds]uint64 // were refused by the organization
	WouldWait [limitKinds]uint64 // in Report mode

	RefusedFor [reasons]uint64 // were told *Full, by Reason

	Callers []CallerState // by use, greatest first
}

// Use is how far one limit is used.
type Use struct {
	Used       float64 // by us
	Limit      float64 // in force; zero: none. Of places, what may be used now
	Configured float64 // zero: none
	Named      float64 // by the organization's newest refusal that named one; zero: none
	// HeldBack is the part of the limit that is not used since others seem to use
	// it: the organization refused calls, or says that less remains.
	HeldBack float64
	// TestIn is how long until more of what is held back is tried; zero: it
	// is being tried, or nothing is held back.
	TestIn time.Duration
}

// Restraints say in words what keeps calls from the whole of the limits; none if
// nothing does.
func (s State) Restraints() []string {
	var words []string
	if s.ClosedFor > 0 {
		words = append(words, fmt.Sprintf("The organization refused a call for its limit of %s and asked to be left alone for %v more.", s.ClosedBy.words(), s.ClosedFor.Round(time.Second)))
	}
	if s.Apart > 0 {
		words = append(words, fmt.Sprintf("The budget is not shared with the other proxies: each keeps to its share of it. %s.", strings.ToUpper(s.ApartFor[:1])+s.ApartFor[1:]))
	}
	for kind, use := range []Use{Requests: s.Requests, ExecutionTime: s.ExecutionTime, Concurrency: s.Concurrency} {
		if use.Limit == 0 || use.HeldBack < 0.005*use.Limit {
			continue
		}
		text := fmt.Sprintf("%.0f %% of the limit of %s is not used: the organization refused calls before it was used up, or says that less remains, as when others spend it too.", 100*use.HeldBack/use.Limit, LimitKind(kind).words())
		if use.TestIn > 0 {
			text += fmt.Sprintf(" More is tried in %v.", use.TestIn.Round(time.Second))
		}
		words = append(words, text)
	}
	return words
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
	oddities *oddities // nil for none

	operations uint64
	day        int32 // of operations, since 1970
	dopHint    int32
}

// oddities are what calls of most tenants never meet.
type oddities struct {
	waited, refused, throttled, wouldWait [limitKinds]uint64

	refusedFor [reasons]uint64
}

func (c *counters) odd() *oddities {
	if c.oddities == nil {
		c.oddities = new(oddities)
	}
	return c.oddities
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
		Requests:      l.requests.use(now, float64(l.counted), 1),
		ExecutionTime: l.execution.use(now, l.pending(now), l.guess()),
		Concurrency:   l.concurrency.use(now, l.inFlight),
		Waiting:       l.queued,
		DOPHint:       int(l.counters.dopHint),
	}
	if odd := l.counters.oddities; odd != nil {
		s.Waited, s.Refused, s.Throttled, s.WouldWait, s.RefusedFor = odd.waited, odd.refused, odd.throttled, odd.wouldWait, odd.refusedFor
	}
	if x := l.shared; x != nil {
		s.Requests.Used += x.others.served
		s.ExecutionTime.Used += x.others.millisServed
		s.Concurrency.Used += float64(x.others.inUse)
		if x.isApart {
			s.Apart, s.ApartFor = max(now-x.since, 1), x.why.Error()
		}
	}
	if l.cooldown.slots > 0 && now < l.cooldown.until {
		s.ClosedFor, s.ClosedBy = l.cooldown.until-now, l.cooldown.kind
	}
	if today() == l.counters.day {
		s.Operations = l.counters.operations
	}
	for c := range l.shares.all() {
		c.used.advance(now)
		s.Callers = append(s.Callers, CallerState{c.caller, int(c.weight), c.used.sum, int(c.inFlight), len(c.queue)})
	}
	slices.SortFunc(s.Callers, func(a, b CallerState) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), cmp.Compare(a.Name, b.Name))
	})
	return s
}

// use is the picture of a counter. The number in force is the organization's
// where it grants more than we started from.
func (m *budgetCounter) use(now time.Duration, pending, unit float64) Use {
	u := m.ceiling.use(now, unit)
	u.Used = float64(m.sum) + pending
	if bias := m.biasNow(now); bias > 0 {
		u.Limit += bias
	} else {
		u.HeldBack = math.Min(u.Limit, u.HeldBack-bias)
	}
	return u
}

func (c *concurrencyLimit) use(now time.Duration, inFlight int) Use {
	u := c.ceiling.use(now, 1)
	u.Used = float64(inFlight)
	if u.Limit > 0 {
		places, _ := c.places(now)
		u.Limit = float64(places)
	}
	return u
}

func (c *ceiling) use(now time.Duration, unit float64) Use {
	u := Use{Configured: c.configured, Named: c.named}
	limit := c.limit()
	if math.IsInf(limit, 1) {
		return u
	}
	u.Limit, u.HeldBack = limit, math.Max(0, limit-math.Max(0, c.open(now, unit)))
	if at := c.changes(now); at > 0 && u.HeldBack > 0 {
		u.TestIn = at - now
	}
	return u
}
