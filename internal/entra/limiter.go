package entra

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

const (
	// To one login host. A thousand tenants that are called for the first time
	// at once all get their tokens well within mintWithin, also where each takes
	// a second.
	mintsPerSecond = 50
	mintsBurst     = 100
	mintsAtOnce    = 32

	// Renewals of tokens that are still good take half of the way at most: callers
	// without a token come before them.
	renewalsAtOnce = mintsAtOnce / 2
	renewalPace    = 2 * time.Second / mintsPerSecond
)

// hostLimiter is the way to one login host, for all tenants behind it. A cloud that
// is slow has its own, so that the others do not wait for it.
type hostLimiter struct {
	pace     *rate.Limiter
	slots    chan struct{}
	renewals chan struct{} // of those, what renewals may take
}

func newHostLimiter() *hostLimiter {
	return &hostLimiter{pace: rate.NewLimiter(mintsPerSecond, mintsBurst), slots: make(chan struct{}, mintsAtOnce), renewals: make(chan struct{}, renewalsAtOnce)}
}

// enter waits for a turn. Unless it fails, leave must follow.
func (d *hostLimiter) enter(ctx context.Context) (leave func(), failed *Error) {
	lanes := []chan struct{}{d.slots}
	if isRenewal(ctx) {
		lanes = []chan struct{}{d.renewals, d.slots}
	}
	entered := 0
	leave = func() {
		for _, lane := range lanes[:entered] {
			<-lane
		}
	}
	for _, lane := range lanes {
		select {
		case lane <- struct{}{}:
			entered++
		case <-ctx.Done():
			leave()
			return nil, &Error{Class: Transient, Reason: "too many tokens are being asked for"}
		}
	}
	if err := d.pace.Wait(ctx); err != nil {
		leave()
		return nil, &Error{Class: Transient, Reason: "too many tokens are being asked for"}
	}
	return leave, nil
}

type renewalKey struct{}

// asRenewal marks a mint for which nobody waits.
func asRenewal(ctx context.Context) context.Context {
	return context.WithValue(ctx, renewalKey{}, true)
}

func isRenewal(ctx context.Context) bool { return ctx.Value(renewalKey{}) != nil }

// idle reports whether nobody uses the limiter, and what it has counted is
// over.
func (d *hostLimiter) idle() bool { return len(d.slots) == 0 && d.pace.Tokens() >= mintsBurst }
