package cluster

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The states of a proxy among others.
const (
	Shared = "shared" // it is one with the others
	Alone  = "alone"  // Redis cannot be used: it goes on with its share
	Off    = "off"    // no Redis is set
)

// State is how this proxy stands with Redis.
type State struct {
	State string    `json:"state"` // shared, alone or off
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"` // why it is alone, in plain words
}

const (
	enough       = 2 // failures in a row, after which Redis is left alone
	firstProbe   = 250 * time.Millisecond
	longestProbe = 5 * time.Second
)

// breaker keeps calls from waiting for a Redis that does not answer.
type breaker struct {
	closed atomic.Bool // whether Redis may be asked

	mu       sync.Mutex
	state    State
	failures int // in a row
	turned   func(State)
}

func (b *breaker) off() { b.state = State{State: Off, Since: time.Now()} }

func (b *breaker) start() {
	b.state = State{State: Alone, Since: time.Now(), Error: "Redis has not been asked yet"}
}

func (b *breaker) usable() bool { return b.closed.Load() }

// State is how this proxy stands with Redis, and since when.
func (b *breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// worked notes an exchange that went through while Redis could be used. What
// comes late from a time when it could not proves nothing: the probe decides.
func (b *breaker) worked() {
	if !b.closed.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

// failed notes an exchange that did not.
func (b *breaker) failed(words string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.state.State == Shared && b.failures < enough {
		return
	}
	b.part(words)
}

// useless notes that this proxy cannot be one with the others, though exchanges
// may go through: who does not see them must not go on as if it did.
func (b *breaker) useless(words string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part(words)
}

// part is called with mu held.
func (b *breaker) part(words string) {
	b.closed.Store(false)
	if b.state.State == Shared {
		b.turn(State{State: Alone, Since: time.Now(), Error: words})
	} else if b.state.Error != words {
		b.turn(State{State: Alone, Since: b.state.Since, Error: words})
	}
}

// back notes that the probe has gone through.
func (b *breaker) back() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
	if b.state.State == Shared {
		return
	}
	b.closed.Store(true)
	b.turn(State{State: Shared, Since: time.Now()})
}

// turn is called with mu held.
func (b *breaker) turn(to State) {
	b.state = to
	if b.turned != nil {
		b.turned(to)
	}
}

// probeIn is how long to leave Redis alone after that many probes in vain:
// spread, so that many proxies do not come back at once.
func probeIn(vain int) time.Duration {
	most := min(longestProbe-firstProbe, 2*firstProbe<<min(vain, 5))
	return firstProbe + rand.N(most)
}
