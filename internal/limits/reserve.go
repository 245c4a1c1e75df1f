package limits

import (
	"math"
	"time"
)

// share finds or opens the caller's share.
func (l *ledger) share(caller string, now time.Duration) *share {
	s := l.shares.of(caller)
	if s != nil {
		return s
	}
	if l.shares.len() >= maxShares {
		if caller, s = "", l.shares.of(""); s != nil {
			return s
		}
	}
	s = newShare(l, caller, now)
	l.shares.add(s)
	return s
}

// tidy drops a share that holds nothing: a refused stranger leaves no trace.
func (l *ledger) tidy(s *share, now time.Duration) {
	if s.inFlight == 0 && len(s.queue) == 0 && s.used.sum == 0 && s.first == now {
		l.shares.drop(func(one *share) bool { return one == s })
	}
}

// reserve works out what is kept back for each caller that was here recently,
// so that the others do not spend the last of the window on it. Nobody keeps
// anything back from himself, so a lone caller may spend all.
func (l *ledger) reserve(now time.Duration) {
	weights := 0.0
	l.shares.drop(func(s *share) bool {
		s.used.advance(now)
		s.kept = 0
		if s.used.sum == 0 && !s.recent(now, l.span) {
			return true
		}
		weights += s.weight
		return false
	})
	l.kept, l.heaviest = 0, 0
	if l.shared != nil {
		weights += l.shared.others.weight
	}
	requests, millis := l.requests.limit(), l.execution.limit()
	for s := range l.shares.all() {
		if s.recent(now, l.span) {
			whole := math.Min(requests, millis/math.Max(s.busy, 1))
			s.keep(now, l.span, whole*s.weight/weights)
			l.kept += s.kept
			l.heaviest = math.Max(l.heaviest, s.weight)
		}
	}
}

// keptFrom is what s must leave to others, in requests and in milliseconds. A
// caller for whom something is kept spends that first, and so need not care:
// of callers that wait for one another's sake one can always go on.
func (l *ledger) keptFrom(s *share) (requests, millis float64) {
	if l.kept <= 0 || s.kept > 0 {
		return 0, 0
	}
	limit := l.execution.limit()
	if math.IsInf(limit, 1) {
		return l.kept, 0
	}
	for other := range l.shares.all() {
		millis += other.kept * other.busy
	}
	return l.kept, math.Min(millis, limit/2)
}
