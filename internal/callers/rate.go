package callers

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates keeps the rate of each caller for several proxies.
type Rates interface {
	// Take takes up to want requests out of the rate of the caller of that name:
	// a second rate of them, burst at once. It gives back such as were taken and
	// not used. Where none is left, wait is after what time to ask again. It
	// answers within a quarter of a second, and without delay where it is known
	// that it cannot.
	Take(ctx context.Context, name string, rate float64, burst, want, back int) (taken int, wait time.Duration, err error)
	// Size is how many proxies share, this one included, at least 1.
	Size() int
}

const (
	ahead   = 100 * time.Millisecond // of a rate is taken at once
	holdFor = time.Second            // and given back if it was not used for so long
	lostFor = time.Second            // Rates are not asked that could not say
)

// pace is what a caller has used of its own rate.
type pace struct {
	limiter *rate.Limiter // alone

	mu     sync.Mutex // guards what follows, and is held while Rates are asked
	pocket int        // taken, and not used
	at     time.Time  // when it was taken
	empty  time.Time  // until then nothing is left
	lost   time.Time  // until then Rates are not asked
}

// Wait takes one request out of c's own rate, which rates keep if they are not
// nil. It returns 0 if the request may go on now, and otherwise after what time
// to come again. While rates cannot say, each proxy keeps to its share.
func (c *Caller) Wait(ctx context.Context, rates Rates) time.Duration {
	if c.pace == nil {
		return 0
	}
	if rates == nil {
		return c.pace.alone(c.Rate, c.Burst, 1)
	}
	p := c.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case now.Before(p.lost): // or all who come at once would wait for them, one after the other
		return p.alone(c.Rate, c.Burst, rates.Size())
	case now.Before(p.empty):
		return p.empty.Sub(now)
	case p.pocket > 0 && now.Sub(p.at) < holdFor:
		p.pocket--
		p.limiter.AllowN(now, 1)
		return 0
	}
	want := min(1+int(math.Min(c.Rate, 1e6)*ahead.Seconds()), c.Burst)
	taken, wait, err := rates.Take(ctx, c.Name, c.Rate, c.Burst, want, p.pocket)
	if err != nil {
		p.pocket, p.lost = 0, time.Now().Add(lostFor)
		return p.alone(c.Rate, c.Burst, rates.Size())
	}
	if taken == 0 {
		p.pocket, p.empty = 0, now.Add(wait)
		return wait
	}
	p.pocket, p.at = taken-1, now
	p.limiter.AllowN(now, 1)
	return 0
}

// alone takes one request out of the share that falls to one of so many proxies.
func (p *pace) alone(perSecond float64, burst, proxies int) time.Duration {
	now := time.Now()
	if part := rate.Limit(perSecond / float64(proxies)); p.limiter.Limit() != part {
		p.limiter.SetLimitAt(now, part)
		p.limiter.SetBurstAt(now, max(1, burst/proxies))
	}
	place := p.limiter.ReserveN(now, 1)
	wait := place.DelayFrom(now)
	if wait > 0 {
		place.CancelAt(now)
	}
	return wait
}

// Delay is what Wait would return, as far as this proxy knows. It takes nothing.
func (c *Caller) Delay() time.Duration {
	if c.pace == nil {
		return 0
	}
	now := time.Now()
	short := 1 - c.pace.limiter.TokensAt(now)
	if short <= 0 {
		return 0
	}
	return time.Duration(short / float64(c.pace.limiter.Limit()) * float64(time.Second))
}
