package limits

import (
	"math"
	"time"
)

// concurrencyLimit is how many calls may be in flight at once.
type concurrencyLimit struct{ ceiling }

// places is how many may be in flight now, MaxInt32 if there is no limit, and
// when that rises by itself (zero if it does not).
func (c *concurrencyLimit) places(now time.Duration) (int, time.Duration) {
	open := c.open(now, 1)
	if open >= math.MaxInt32 {
		return math.MaxInt32, 0
	}
	return max(int(open), 1), c.changes(now)
}

// A caller may hold at most sharePlaces times as many places as it leaves
// free, by its weight beside the heaviest caller that was here lately (the
// dynamic threshold of shared buffers). A lone caller so leaves a ninth for
// who may come: places that it never gives back starve nobody. Where there are
// fewer than sharePlaces in all, none can be spared.
const sharePlaces = 8

// spared reports whether s may take one more place of so many, of which free
// are free.
func (s *share) spared(places, free int, heaviest float64) bool {
	if s.inFlight == 0 || places < sharePlaces {
		return true
	}
	return float64(s.inFlight+1) <= sharePlaces*s.weight/math.Max(heaviest, s.weight)*float64(free-1)
}
