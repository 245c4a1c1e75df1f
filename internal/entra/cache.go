package entra

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/panics"
	"dynproxy/internal/sealed"
)

// Cache keeps tokens ready, one Source a Target.
type Cache struct {
	// Mint gets a token. Its errors are *Error.
	Mint func(ctx context.Context, t Target, claims string) (Token, error)
	Log  zerolog.Logger
	// Observe, if set, is told of every mint and how long it took. It may be
	// called from several goroutines.
	Observe func(t Target, took time.Duration, failed *Error)
	// Shelf, if set, is where other proxies have their tokens. SealingKeys are
	// those for a registration, by its identity; without any its tokens are not
	// shared. Taken, if set, is told of each token that another has got.
	Shelf       Shelf
	SealingKeys func(identity string) []sealed.Key
	Taken       func()

	mu      sync.Mutex // guards what follows
	sources map[Target]*Source
	outages map[string]bool // login hosts whose failures a success takes back
	closed  bool
	ending  context.Context // of every mint; made with the first Source
	end     context.CancelFunc
	running sync.WaitGroup
}

// mint is obtain, whose faults cost one token and not the process.
func (c *Cache) mint(ctx context.Context, t Target, claims string, former *held) (token Token, err error) {
	defer panics.Recover(c.Log, "mint", func() { err = &Error{Class: Transient, Reason: ownFault} })
	return c.obtain(ctx, t, claims, former)
}

// observed is Mint, of which Observe is told.
func (c *Cache) observed(ctx context.Context, t Target, claims string) (Token, error) {
	began := time.Now()
	token, err := c.Mint(ctx, t, claims)
	var failed *Error
	switch {
	case err != nil:
		failed = asError(err)
	case time.Until(token.Expires) <= 0:
		failed = &Error{Class: Transient, Reason: "the login service gave a token that is over already"}
	}
	if c.Observe != nil {
		c.Observe(t, time.Since(began), failed)
	}
	if failed != nil {
		return Token{}, failed
	}
	return token, nil
}

// Source returns the place where t's token is kept. Whoever calls often keeps
// the Source: it is good until t is dropped.
func (c *Cache) Source(t Target) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[t]
	if s == nil {
		if c.sources == nil {
			c.sources = make(map[Target]*Source)
			c.ending, c.end = context.WithCancel(context.Background())
		}
		s = &Source{cache: c, target: t}
		c.sources[t] = s
	}
	return s
}

// Retain forgets all targets that keep does not keep. Calls that hold the
// Source of one still get their token, which is renewed no more.
func (c *Cache) Retain(keep func(Target) bool) {
	for _, s := range c.picked(func(t Target) bool { return !keep(t) }) {
		c.mu.Lock()
		delete(c.sources, s.target)
		c.mu.Unlock()
		s.drop()
	}
}

// Changed says that the registration of that identity has another credential
// now. Failures of its targets are forgotten. One token is renewed, that of the
// last call, so that it shows at once whether the new credential is good; the
// others are as good as they were, and are renewed in their own time.
func (c *Cache) Changed(identity string) {
	var last *Source
	for _, s := range c.picked(func(t Target) bool { return t.Credential == identity }) {
		s.Retry()
		if s.token.Load() != nil && (last == nil || s.used.Load() > last.used.Load()) {
			last = s
		}
	}
	if last != nil {
		last.renew()
	}
}

// outage notes that the login host gives no tokens, for a reason that may be
// over at any moment.
func (c *Cache) outage(login string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outages == nil {
		c.outages = make(map[string]bool)
	}
	c.outages[login] = true
}

// answers says that the login host has given a token. Its other targets need
// not wait out what was wrong with it.
func (c *Cache) answers(login string) {
	c.mu.Lock()
	over := c.outages[login]
	delete(c.outages, login)
	c.mu.Unlock()
	if !over {
		return
	}
	all := c.picked(func(t Target) bool { return t.Login == login })
	for _, s := range all {
		s.endOutage(max(time.Second, time.Duration(len(all))*renewalPace))
	}
}

func (c *Cache) picked(pick func(Target) bool) []*Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*Source
	for t, s := range c.sources {
		if pick(t) {
			all = append(all, s)
		}
	}
	return all
}

// Close ends renewals and mints under way, and waits for their end.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	sources, end := c.sources, c.end
	c.sources = nil
	c.mu.Unlock()
	for _, s := range sources {
		s.drop()
	}
	if end != nil {
		end()
	}
	c.running.Wait()
}
