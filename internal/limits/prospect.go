package limits

import (
	"math"
	"time"
)

// Prospect is what would become of a call that came now. Nothing is spent to
// find out.
type Prospect struct {
	// Refused is what the call would be told at once, nil if it would be let in
	// or would wait.
	Refused *Full

	// Kind and Reason say what it would wait for; None and NoReason if it would
	// be let in at once.
	Kind   LimitKind
	Reason Reason
	Least  time.Duration // it would wait no less, unless somebody ahead leaves
	Likely time.Duration // after which it should find room
}

// Prospect says what Enter would do with a call of who. A key that nobody has
// entered has room.
func (g *Gate) Prospect(key Key, who Caller, patience time.Duration) Prospect {
	g.mu.RLock()
	l := g.ledgers[key]
	g.mu.RUnlock()
	if l == nil {
		return Prospect{}
	}
	return l.prospect(who, patience)
}

func (l *ledger) prospect(who Caller, patience time.Duration) Prospect {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone || l.budget.Mode != Enforce {
		return Prospect{}
	}
	now := l.now()
	l.tick(now)
	s := l.shares.of(who.Name)
	if s == nil {
		s = newShare(l, who.Name, now)
		s.weight = float64(max(who.Weight, 1))
	}
	open := l.blocked(s, now).kind == None
	if open && len(l.waiting) == 0 {
		return Prospect{}
	}
	f := l.forecast(s, now)
	full := &Full{Kind: f.kind, Reason: f.reason, RetryAfter: wholeSeconds(f.likely)}
	switch {
	case f.least > patience, l.queued >= l.budget.QueueLength && l.longestLine() <= len(s.queue)+1, !open && patience <= 0:
		return Prospect{Refused: full, Kind: f.kind, Reason: f.reason, Least: f.least, Likely: f.likely}
	case open: // those who wait are kept out by something else
		return Prospect{}
	}
	return Prospect{Kind: f.kind, Reason: f.reason, Least: f.least, Likely: f.likely}
}

// longestLine is how many calls of one caller wait at most.
func (l *ledger) longestLine() int {
	longest := 0
	for _, s := range l.waiting {
		longest = max(longest, len(s.queue))
	}
	return longest
}

// wholeSeconds rounds a wait up, to a second at least, as Retry-After is told.
func wholeSeconds(d time.Duration) time.Duration {
	return time.Duration(math.Max(1, math.Ceil(d.Seconds()))) * time.Second
}
