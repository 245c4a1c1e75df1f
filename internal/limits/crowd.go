package limits

import (
	"math"
	"time"
)

// crowd is how many calls may be in flight at once.
type crowd struct {
	configured int
	learned    int // by the organization's own word; zero: none

	// ceiling is below the limit while others use places of the same
	// budget: one less than was refused, then one more every pause. Zero
	// means that it has recovered.
	ceiling int
	pause   time.Duration
	raiseAt time.Duration
}

// configure takes a new configured limit, which replaces what was learned.
func (c *crowd) configure(limit int) {
	if limit != c.configured {
		*c = crowd{configured: limit}
	}
}

// known is the limit itself, MaxInt if there is none.
func (c *crowd) known() int {
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
func (c *crowd) limit(now time.Duration) (int, time.Duration) {
	known := c.known()
	if c.ceiling == 0 {
		return known, 0
	}
	if now >= c.raiseAt {
		steps := int64((now-c.raiseAt)/c.pause) + 1
		c.raiseAt += time.Duration(steps) * c.pause
		c.ceiling = int(min(int64(c.ceiling)+steps, math.MaxInt32))
	}
	if c.ceiling >= known {
		c.ceiling, c.pause = 0, 0
		return known, 0
	}
	return c.ceiling, c.raiseAt
}

// refused takes a refusal of a call that was the n-th in flight. limit is the
// organization's number, zero if it named none. The more often a ceiling
// proves too high, the later it is tried again.
func (c *crowd) refused(now time.Duration, n, limit int, span time.Duration) {
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
	c.ceiling = ceiling
	c.pause = min(max(2*c.pause, span/30, 1), 2*span)
	c.raiseAt = now + c.pause
}
