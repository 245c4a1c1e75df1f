package entra

import (
	"context"

	"golang.org/x/time/rate"
)

const (
	// To one login host. A thousand tenants that are called for the first time
	// at once all get their tokens well within mintWithin, also where each takes
	// a second.
	mintsPerSecond = 50
	mintsBurst     = 100
	mintsAtOnce    = 32
)

// hostLimiter is the way to one login host, for all tenants behind it. A cloud that
// is slow has its own, so that the others do not wait for it.
type hostLimiter struct {
	pace  *rate.Limiter
	slots chan struct{}
}

func newHostLimiter() *hostLimiter {
	return &hostLimiter{pace: rate.NewLimiter(mintsPerSecond, mintsBurst), slots: make(chan struct{}, mintsAtOnce)}
}

// enter waits for a turn. Unless it fails, leave must follow.
func (d *hostLimiter) enter(ctx context.Context) *Error {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return &Error{Class: Transient, Reason: "too many tokens are being asked for"}
	}
	if err := d.pace.Wait(ctx); err != nil {
		d.leave()
		return &Error{Class: Transient, Reason: "too many tokens are being asked for"}
	}
	return nil
}

func (d *hostLimiter) leave() { <-d.slots }

// idle reports whether nobody uses the limiter, and what it has counted is
// over.
func (d *hostLimiter) idle() bool { return len(d.slots) == 0 && d.pace.Tokens() >= mintsBurst }
