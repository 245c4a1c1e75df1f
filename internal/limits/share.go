package limits

import (
	"math"
	"time"
)

// share is one caller's part of a key's budget. Calls of one caller are
// served in the order in which they came; between callers the share with the
// earliest virtual start is next (start-time fair queueing).
type share struct {
	ledger *ledger
	caller string
	weight float64
	split  float64 // at so many proxies it waits, each of which counts a part of its weight
	queue  []*waiter

	start  float64 // virtual time at which the next call is due
	finish float64 // virtual time at which the last admitted call is paid off

	first time.Duration // first seen
	last  time.Duration // last seen
	used  slidingWindow // admissions
	busy  float64       // mean execution time, milliseconds

	inFlight int32
	kept     float64 // requests that others leave to it
}

// shareSlices is the resolution at which a caller's own use is known.
const shareSlices = 15

func newShare(l *ledger, caller string, now time.Duration) *share {
	s := &share{ledger: l, caller: caller, weight: 1, first: now, last: now, used: newSlidingWindow(l.span, shareSlices)}
	s.used.advance(now)
	return s
}

// spend counts one admission.
func (s *share) spend(now time.Duration) {
	s.used.add(now, 1)
	s.last = now
	s.finish = s.start + 1/s.weight
	s.inFlight++
}

// divide lets the caller count a part of its weight here, since it waits at so
// many proxies.
func (s *share) divide(proxies float64) {
	whole := s.weight * math.Max(s.split, 1)
	s.split = math.Max(proxies, 1)
	s.weight = whole / s.split
}

// predicted is how many requests the caller will make in a whole window if it
// goes on as it did. A newcomer is overrated rather than underrated: what is
// kept back for too long is spent later, what was spent by others is gone.
func (s *share) predicted(now, span time.Duration) float64 {
	age := min(max(now-s.first, span/64), span)
	return math.Max(1, float64(s.used.sum)*float64(span)/float64(age))
}

// recent reports whether the caller is likely to come back: it has not been
// silent for many times its usual pause.
func (s *share) recent(now, span time.Duration) bool {
	pause := time.Duration(float64(span) / s.predicted(now, span))
	hold := min(max(8*pause, span/10), 4*span)
	return s.inFlight > 0 || len(s.queue) > 0 || now-s.last <= hold
}

// keep works out what others leave to the caller: what it will need beyond
// what it has used, but not more than its fair part of the whole.
func (s *share) keep(now, span time.Duration, fair float64) {
	need := s.predicted(now, span)
	// Arrivals scatter around their mean, and the caller's own use is known
	// only to a fifteenth of the window.
	need += 2*math.Sqrt(need) + need/shareSlices + 1
	s.kept = math.Max(0, math.Min(need, fair)-float64(s.used.sum))
}
