package limits

import "time"

// longestClosure bounds what a nonsensical Retry-After can do.
const longestClosure = time.Hour

// closure shuts a gate for as long as the organization asked for, and then
// opens it softly: one call first, and one more in flight for every answer
// that is no refusal and for every second, until that is all.
type closure struct {
	until time.Duration
	slots int32 // zero: wide open
	facet Facet
}

// blocks reports whether the closure keeps a call out while n are in flight,
// and until when at the latest.
func (c *closure) blocks(now time.Duration, n int) (Facet, time.Duration) {
	if c.slots == 0 {
		return None, 0
	}
	if now < c.until {
		return c.facet, c.until
	}
	seconds := (now - c.until) / time.Second
	if n < int(c.slots)+int(seconds) {
		return None, 0
	}
	return c.facet, c.until + (seconds+1)*time.Second
}

// shut closes the gate for d, or leaves it closed for longer. A refusal that
// names no facet is taken for one of requests.
func (c *closure) shut(now time.Duration, facet Facet, d time.Duration) {
	if facet == None {
		facet = Requests
	}
	until := now + min(d, longestClosure)
	if until > c.until {
		c.facet, c.until = facet, until
	}
	c.slots = 1
}

// answered widens the opening, of limit places at most.
func (c *closure) answered(now time.Duration, limit int) {
	if c.slots == 0 || now < c.until {
		return
	}
	if c.slots++; int(c.slots) >= limit {
		c.slots = 0
	}
}
