package limits

import (
	"math"
	"time"
)

const (
	testShare    = 16  // part of a span's budget that may be held back untested, and of time that tests may close the gate
	firstPause   = 16  // part of the longest pause that a first refusal is heeded for
	longestPause = 4   // spans
	headroom     = 100 // part of a limit that is left to others for each time that they were quicker than their traces
	namedPause   = 2   // part of a span that a named number is believed for untested
)

// backoff is what refusals make us hold back of a limit, and how it is given
// up again: after a pause one call more is risked, and one more for each that
// is answered, until nothing is held back.
type backoff struct {
	held     float64       // zero: nothing
	since    time.Duration // the newest refusal
	probeAt  time.Duration // from when on more is risked
	failures int           // refusals in a row
	step     float64       // calls that are risked
}

// refused holds so much back. A call that started before the last refusal was
// known is the same news. The pause doubles with each refusal in a row, from
// least up to most, and is not over before Retry-After is.
func (b *backoff) refused(r refusal, held float64, least, most time.Duration) {
	switch {
	case b.held > 0 && r.started < b.since:
		held = math.Max(held, b.held)
	case b.since == 0 || r.now > b.probeAt+r.span:
		b.failures, b.since = 0, r.now // that was another time
	default:
		b.since = r.now
		b.failures++
	}
	pause := most
	if b.failures < 16 {
		pause = min(least<<b.failures, most)
	}
	b.held, b.step = held, 1
	b.probeAt = max(r.until, r.now+pause)
}

// answered takes an answer to a call that was risked.
func (b *backoff) answered(p *Pass, unit float64) {
	if b.held == 0 || p.start < b.probeAt {
		return
	}
	if b.step++; b.step*unit >= b.held {
		b.held = 0
	}
}

// now is what is held back at the moment, when one call uses unit.
func (b *backoff) now(at time.Duration, unit float64) float64 {
	if b.held == 0 || at < b.probeAt {
		return b.held
	}
	return math.Max(0, b.held-b.step*unit)
}

// pending is the instant at which more will be risked; zero if none is.
func (b *backoff) pending(at time.Duration) time.Duration {
	if b.held == 0 || at >= b.probeAt {
		return 0
	}
	return b.probeAt
}

// refusal is an organization's word that a call was one too many.
type refusal struct {
	now     time.Duration
	started time.Duration // the call's admission
	until   time.Duration // Retry-After
	span    time.Duration
	named   float64 // limit; zero: none
	most    float64 // that can have been counted of ours before it
	least   float64 // that must have been counted of ours before it
	proven  bool    // as much as was named has been served
	places  bool    // the limit is one of places: half of them carry a window's budget
}

// ceiling is what is known of one limit.
type ceiling struct {
	configured float64 // zero: none
	fixed      bool    // an operator's own: not exceeded
	named      float64 // by the newest refusal that named one; zero: none

	doubt  backoff // of a named number that is less than the configured one
	others backoff // what others seem to use
}

// configure takes a changed number. It replaces what was learned from
// refusals: the operator knows something new, and the organization can say it
// again.
func (c *ceiling) configure(limit float64, fixed bool) bool {
	if limit == c.configured && fixed == c.fixed {
		return false
	}
	*c = ceiling{configured: limit, fixed: fixed}
	return true
}

// limit is the number in force, +Inf for none.
func (c *ceiling) limit() float64 {
	switch {
	case c.named > 0 && (c.configured == 0 || c.named < c.configured || !c.fixed):
		return c.named
	case c.configured > 0:
		return c.configured
	}
	return math.Inf(1)
}

// highest is what no test goes beyond.
func (c *ceiling) highest() float64 {
	if c.doubt.held > 0 {
		return c.configured
	}
	return c.limit()
}

// firm is the part of the limit that need not be tested.
func (c *ceiling) firm() float64 { return c.highest() - c.holds() }

// holds is how much is held back, tested or not.
func (c *ceiling) holds() float64 { return c.doubt.held + c.others.held }

// open is the part of the limit that may be used now.
func (c *ceiling) open(now time.Duration, unit float64) float64 {
	return c.highest() - c.doubt.now(now, unit) - c.others.now(now, unit)
}

// refused takes the word that nothing was left. bias corrects the limit by
// what the organization said remains.
//
// Servers of one organization may count each for itself: what was served
// beyond the named number tells.
func (c *ceiling) refused(r refusal, bias float64) {
	if r.named > 0 {
		c.named = math.Max(r.named, r.least)
		if c.named < c.configured {
			most := r.span / namedPause
			if r.proven {
				most = longestPause * r.span
			}
			c.doubt.refused(r, c.configured-c.named, r.span/namedPause, most)
		} else {
			c.doubt.held = 0
		}
	}
	limit := c.limit()
	held := limit + bias - r.most
	if bias < 0 {
		held = math.Max(held, c.others.held+math.Max(1, limit/headroom))
	}
	if held > 0 && !math.IsInf(limit, 1) {
		most := float64(r.span) / testShare * limit / held
		if r.places {
			// Others may hold places for good, while what was spent of a window comes back.
			most = math.Max(most, testShare*float64(r.until-r.now))
		}
		most = min(most, longestPause*float64(r.span))
		if r.places && held <= limit/2 {
			most = longestPause * float64(r.span)
		}
		c.others.refused(r, held, time.Duration(most)/firstPause, time.Duration(most))
	}
}

// answered takes an answer to a call that used more than is firm.
func (c *ceiling) answered(p *Pass, unit float64) {
	c.doubt.answered(p, unit)
	c.others.answered(p, unit)
	c.settle()
}

// proves takes it that so much is served.
func (c *ceiling) proves(served float64) {
	more := served - c.firm()
	if more <= 0 {
		return
	}
	first := math.Min(more, c.others.held)
	c.others.held -= first
	c.doubt.held = math.Max(0, c.doubt.held-(more-first))
	c.settle()
}

// settle keeps the named number to what is doubted of it: more was served.
func (c *ceiling) settle() {
	switch {
	case c.named == 0 || c.named >= c.configured:
	case c.doubt.held == 0:
		c.named = 0
	default:
		c.named = c.configured - c.doubt.held
	}
}

// testing reports whether more than is firm is risked.
func (c *ceiling) testing(now time.Duration) bool {
	return c.doubt.held > 0 && now >= c.doubt.probeAt || c.others.held > 0 && now >= c.others.probeAt
}

// changes is when more will be open by itself; zero: never.
func (c *ceiling) changes(now time.Duration) time.Duration {
	return earlier(c.doubt.pending(now), c.others.pending(now))
}

// tested is how long until so many calls will have been risked of what is held
// back: one at first and then one a second, which is how a gate opens.
func (c *ceiling) tested(now time.Duration, calls float64) time.Duration {
	begins := c.changes(now)
	switch {
	case c.testing(now):
		begins = now
	case begins == 0:
		return math.MaxInt64 // nothing is held back
	}
	return begins - now + time.Duration(math.Min(math.Max(0, calls-1), maxScheduled))*time.Second
}
