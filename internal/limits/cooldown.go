package limits

import "time"

// cooldown shuts a gate for as long as the organization asked for, and then
// opens it softly: one call first, and one more in flight for every answer
// that is no refusal and for every second, until that is all.
type cooldown struct {
	until time.Duration
	slots int32 // zero: wide open
	kind  LimitKind
}

// blocks reports whether the cooldown keeps a call out while n are in flight,
// and until when at the latest.
func (c *cooldown) blocks(now time.Duration, n int) (LimitKind, time.Duration) {
	if c.slots == 0 {
		return None, 0
	}
	if now < c.until {
		return c.kind, c.until
	}
	seconds := (now - c.until) / time.Second
	if n < int(c.slots)+int(seconds) {
		return None, 0
	}
	return c.kind, c.until + (seconds+1)*time.Second
}

// shut closes the gate for d, or leaves it closed for longer. A refusal that
// names no limit is taken for one of requests.
func (c *cooldown) shut(now time.Duration, kind LimitKind, d time.Duration) {
	if kind == None {
		kind = Requests
	}
	until := now + d
	if until > c.until {
		c.kind, c.until = kind, until
	}
	c.slots = 1
}

// answered widens the opening, of limit places at most.
func (c *cooldown) answered(now time.Duration, limit int) {
	if c.slots == 0 || now < c.until {
		return
	}
	if c.slots++; int(c.slots) >= limit {
		c.slots = 0
	}
}
