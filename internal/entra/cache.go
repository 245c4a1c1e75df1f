package entra

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	mintWithin    = 30 * time.Second // one mint, its tries included
	expiryMargin  = 5 * time.Second  // a token that ends on its way is no use
	forcedFloor   = 3 * time.Second  // between renewals that an organization forces
	longestMemory = time.Minute      // of a failure, when Entra ID does not say how long
)

// Cache keeps tokens ready, one Source a Target.
type Cache struct {
	// Mint gets a token. Its errors are *Error.
	Mint func(ctx context.Context, t Target, claims string) (Token, error)
	Log  zerolog.Logger
	// Observe, if set, is told of every mint and how long it took.
	Observe func(t Target, took time.Duration, failed *Error)

	mu      sync.Mutex // guards what follows
	sources map[Target]*Source
	closed  bool
	flights sync.WaitGroup
}

// Source returns the place where t's token is kept.
func (c *Cache) Source(t Target) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[t]
	if s == nil {
		if c.sources == nil {
			c.sources = make(map[Target]*Source)
		}
		s = &Source{cache: c, target: t}
		c.sources[t] = s
	}
	return s
}

// Drop forgets t and its token.
func (c *Cache) Drop(t Target) {
	c.mu.Lock()
	s := c.sources[t]
	delete(c.sources, t)
	c.mu.Unlock()
	if s != nil {
		s.drop()
	}
}

// Reset forgets the failures of all targets that pick picks, so that the next
// call asks again. Tokens are kept.
func (c *Cache) Reset(pick func(Target) bool) {
	for _, s := range c.picked(pick) {
		s.mu.Lock()
		s.failed, s.faults = nil, 0
		s.mu.Unlock()
	}
}

// Renew gets new tokens in the background for those targets that pick picks
// and that hold one.
func (c *Cache) Renew(pick func(Target) bool) {
	for _, s := range c.picked(pick) {
		s.mu.Lock()
		if s.token.Load() != nil {
			s.take()
		}
		s.mu.Unlock()
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

// Close ends renewals and waits for mints under way.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	sources := c.sources
	c.sources = nil
	c.mu.Unlock()
	for _, s := range sources {
		s.drop()
	}
	c.flights.Wait()
}

// Source holds one token and keeps it fresh.
type Source struct {
	cache  *Cache
	target Target
	token  atomic.Pointer[Token]
	used   atomic.Bool // since the last mint

	mu      sync.Mutex // guards what follows
	flight  *flight
	claims  string // a challenge that the next mint must answer
	failed  *Error // of the last mint, if it failed
	until   time.Time
	faults  int
	forced  time.Time
	renewal *time.Timer
	dropped bool
}

// flight is a mint under way, for all who wait for it.
type flight struct {
	done   chan struct{}
	token  *Token
	failed *Error
}

// Target returns what s holds the token of.
func (s *Source) Target() Target { return s.target }

// Token returns the value of an Authorization header. While a valid token is
// held it does not wait, and does not allocate. Its errors are *Error, or
// ctx's own.
func (s *Source) Token(ctx context.Context) (string, error) {
	if t := s.token.Load(); t != nil && time.Until(t.Expires) > expiryMargin {
		if !s.used.Load() {
			s.used.Store(true)
		}
		return t.Header, nil
	}
	return s.wait(ctx)
}

// Held returns when the token that is held expires, zero without one, and why
// the last mint failed, nil if it did not.
func (s *Source) Held() (time.Time, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var expires time.Time
	if t := s.token.Load(); t != nil {
		expires = t.Expires
	}
	return expires, s.failed
}

// wait joins the mint under way, or starts one; a failure that is remembered
// is told at once.
func (s *Source) wait(ctx context.Context) (string, error) {
	s.used.Store(true)
	s.mu.Lock()
	if left := time.Until(s.until); s.failed != nil && s.flight == nil && left > 0 {
		defer s.mu.Unlock()
		return "", s.failed.after(left)
	}
	f := s.take()
	s.mu.Unlock()
	if f == nil {
		return "", &Error{Class: Transient, RetryAfter: time.Second, Reason: "the tenant was changed meanwhile"}
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if f.failed != nil {
		return "", f.failed
	}
	return f.token.Header, nil
}

// Refused says that the organization refused the token header. Whoever held
// that token gets a new one; who comes late finds it renewed already. claims is
// the claims challenge that came with the refusal, or "".
func (s *Source) Refused(header, claims string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.token.Load()
	if t == nil || t.Header != header || time.Since(s.forced) < forcedFloor {
		return
	}
	s.forced = time.Now()
	s.claims = claims
	s.token.Store(nil)
	s.failed, s.faults = nil, 0
	s.take()
}

// take returns the flight under way, or starts one. It is called with mu held.
func (s *Source) take() *flight {
	if s.flight != nil {
		return s.flight
	}
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || s.dropped {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	// Nobody's context: whoever started it may leave, and the rest still wait.
	c.flights.Go(func() { s.fly(f) })
	return f
}

func (s *Source) fly(f *flight) {
	for {
		s.mu.Lock()
		claims := s.claims
		s.claims = ""
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), mintWithin)
		began := time.Now()
		token, err := s.cache.Mint(ctx, s.target, claims)
		cancel()
		var failed *Error
		if err != nil {
			failed = asError(err)
		}
		if s.cache.Observe != nil {
			s.cache.Observe(s.target, time.Since(began), failed)
		}
		s.mu.Lock()
		if s.claims == "" || failed != nil {
			s.land(f, token, failed)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock() // a challenge came in meanwhile, which this token does not answer
	}
}

// land hands the result to all who wait, and plans what comes next. It is
// called with mu held.
func (s *Source) land(f *flight, token Token, failed *Error) {
	s.flight = nil
	now := time.Now()
	if failed == nil && token.Expires.Sub(now) <= expiryMargin {
		failed = &Error{Class: Transient, Reason: "the login service gave a token that is over already; does this machine's clock run right?"}
	}
	if failed != nil {
		f.failed = s.remember(failed, now)
	} else {
		f.token = &token
		s.failed, s.faults = nil, 0
		if !s.dropped {
			s.used.Store(false)
			s.token.Store(&token)
			s.plan(renewalIn(&token, now))
		}
	}
	close(f.done)
}

// remember notes a failure, so that it is not asked for again at once.
func (s *Source) remember(failed *Error, now time.Time) *Error {
	s.faults++
	wait := failed.RetryAfter
	if wait == 0 {
		switch failed.Class {
		case Transient:
			wait = time.Second<<min(s.faults-1, 6)/2 + rand.N(time.Second<<min(s.faults-1, 6)/2)
			wait = min(wait, longestMemory)
		case Consent:
			wait = 10 * time.Second // whoever waits for an administrator tries again and again
		default:
			wait = longestMemory
		}
	}
	s.failed, s.until = failed.after(wait), now.Add(wait)
	if t := s.token.Load(); t != nil && now.Before(t.Expires) {
		s.cache.Log.Warn().Str("resource", s.target.Resource).Str("class", failed.Class.String()).Str("reason", failed.Error()).
			Time("expires", t.Expires).Msg("the token could not be renewed and is still good")
		s.plan(wait)
	}
	return s.failed
}

// plan sets when to renew in the background. It is called with mu held.
func (s *Source) plan(in time.Duration) {
	if s.renewal != nil {
		s.renewal.Stop()
	}
	s.renewal = time.AfterFunc(in, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Who was not called since the last mint has been idle for long enough.
		if !s.dropped && s.used.Load() {
			s.take()
		}
	})
}

// renewalIn is when Entra ID wants it, else somewhere past half of the token's
// life: spread, so that tokens got together are not renewed together.
func renewalIn(t *Token, now time.Time) time.Duration {
	life := t.Expires.Sub(now)
	if !t.Refresh.IsZero() && t.Refresh.Before(t.Expires) {
		return max(0, t.Refresh.Sub(now))
	}
	return life/2 + rand.N(life/4+1)
}

func (s *Source) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = true
	s.token.Store(nil)
	if s.renewal != nil {
		s.renewal.Stop()
	}
}
