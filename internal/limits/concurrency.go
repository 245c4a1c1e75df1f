package limits

import (
	"math"
	"time"
)

// concurrencyLimit is how many calls may be in flight at once.
type concurrencyLimit struct {
	configured int
	learned    int // by the organization's own word; zero: none

	// ceiling is below the limit while others use places of the same
	// budget: one less than was refused, then one more every pause. Zero
	// means that it has recovered.
	//
	// The pause grows with each refusal and shrinks with each raise that has
	// held for a pause. It outlives the recovery, since whoever took the place
	// once is likely to do it again.
	ceiling int
	pause   time.Duration
	least   time.Duration // pause
	raiseAt time.Duration
	raised  int           // since the last refusal
	last    time.Duration // refusal; zero: none
}

// configure takes a new configured limit, which replaces what was learned.
func (c *concurrencyLimit) configure(limit int) {
	if limit != c.configured {
		*c = concurrencyLimit{configured: limit}
	}
}

// known is the limit itself, MaxInt if there is none.
func (c *concurrencyLimit) known() int {
	switch {
	case c.learned > 0:
		return c.learned
	case c.configured > 0:
		return c.configured
	}
	return math.MaxInt
}

// limit is how many may be in flight now, and when that rises by itself (zero
// if it does not).
func (c *concurrencyLimit) limit(now time.Duration) (int, time.Duration) {
	known := c.known()
	if c.ceiling == 0 {
		return known, 0
	}
	for now >= c.raiseAt && c.ceiling < known {
		c.ceiling++
		if c.raised++; c.raised > 1 {
			c.pause = max(c.pause/2, c.least)
		}
		c.raiseAt += c.pause
	}
	if c.ceiling >= known {
		c.ceiling = 0
		return known, 0
	}
	return c.ceiling, c.raiseAt
}

// refused takes a refusal of a call that was the n-th in flight. limit is the
// organization's number, zero if it named none. The more often a ceiling
// proves too high, the later it is tried again.
func (c *concurrencyLimit) refused(now time.Duration, n, limit int, span time.Duration) {
	if limit > 0 {
		c.learned = limit
	}
	if n > c.known() {
		return // the limit itself was wrong, and is right now
	}
	ceiling := max(n-1, 1)
	if c.ceiling > 0 && ceiling >= c.ceiling {
		return // refused under an older ceiling
	}
	if c.last > 0 && now-c.last > 8*max(c.pause, span) {
		c.pause = 0 // that was another time
	}
	c.ceiling = ceiling
	c.least = max(span/30, time.Millisecond)
	factor := time.Duration(2)
	if c.raised > 0 {
		factor = 4 // whoever took the place keeps it
	}
	c.pause = min(max(factor*c.pause, c.least), 8*span)
	c.raised, c.last, c.raiseAt = 0, now, now+c.pause
}
