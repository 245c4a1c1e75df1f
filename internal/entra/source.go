package entra

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"dynproxy/internal/panics"
)

const (
	expiryMargin  = 5 * time.Second // a token that ends on its way is no use
	longestMemory = time.Minute     // of a failure, when Entra ID does not say how long
	longestOutage = 4 * time.Second // likewise, of one that may be over at any moment
	consentMemory = 10 * time.Second
	never         = math.MaxInt64
)

// Source holds one token and keeps it fresh: renewed in the background while
// it is called, served until its end.
type Source struct {
	cache  *Cache
	target Target
	token  atomic.Pointer[held]
	used   atomic.Int64 // second of the last call
	due    atomic.Int64 // nanosecond from which a call starts a renewal

	mu        sync.Mutex // guards what follows
	inflight  *inflight
	claims    string // a challenge that the next mint must answer
	failed    *Error // of the last mint, if it failed
	until     time.Time
	faults    int
	announced bool // whether until is what Entra ID asked for
	epoch     int  // counts resets, so that a mint knows when it is overtaken
	refusal   refusal
	former    *held // the last token there was, even if it was refused
	renewal   *time.Timer
	dropped   bool
}

// held is a token that was taken in.
type held struct {
	Token
	claims  string        // that it answers
	life    time.Duration // from when it was taken in
	end     time.Time     // when it is sent no more: a little before it expires
	endWall int64         // the same by the wall clock, in nanoseconds
}

// hold leaves a margin before the end, which for a token of a short life is a
// part of that.
func hold(t Token, claims string, now time.Time) *held {
	life := t.Expires.Sub(now)
	end := t.Expires.Add(-min(expiryMargin, life/6))
	return &held{Token: t, claims: claims, life: life, end: end, endWall: end.UnixNano()}
}

// good goes by both clocks. The monotonic one stands still while a machine is
// suspended, and the wall clock can be set back; either would make an expired
// token look valid.
func (h *held) good(now time.Time) bool {
	return now.Before(h.end) && now.UnixNano() < h.endWall
}

// Target returns what s holds the token of.
func (s *Source) Target() Target { return s.target }

// Token returns the value of an Authorization header. While a valid token is
// held it does not wait, and does not allocate. Its errors are *Error, or
// ctx's own.
func (s *Source) Token(ctx context.Context) (string, error) {
	now := time.Now()
	h := s.token.Load()
	if h == nil || !h.good(now) {
		return s.wait(ctx)
	}
	// Written once a second and not with every call, for the sake of the
	// other processors' caches.
	if second := now.Unix(); s.used.Load() != second {
		s.used.Store(second)
	}
	if now.UnixNano() >= s.due.Load() {
		s.renew()
	}
	return h.Header, nil
}

// Held returns when the token that is held expires, zero without one, and why
// the last mint failed, nil if it did not.
func (s *Source) Held() (time.Time, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var expires time.Time
	if h := s.token.Load(); h != nil {
		expires = h.Expires
	}
	return expires, s.failed
}

// Outlook returns when the token that Token would give expires, zero without
// one, and the failure that Token would tell at once, nil if it would ask.
func (s *Source) Outlook() (time.Time, *Error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.token.Load(); h != nil && h.good(now) {
		return h.Expires, nil
	}
	if s.inflight != nil {
		return time.Time{}, nil
	}
	return time.Time{}, s.remembered(now)
}

// wait joins the mint under way, or starts one; a failure that is remembered
// is told at once.
func (s *Source) wait(ctx context.Context) (string, error) {
	now := time.Now()
	s.used.Store(now.Unix())
	s.mu.Lock()
	if h := s.token.Load(); h != nil && h.good(now) {
		s.mu.Unlock()
		return h.Header, nil
	}
	if failed := s.remembered(now); failed != nil && s.inflight == nil {
		s.mu.Unlock()
		return "", failed
	}
	f := s.start()
	s.mu.Unlock()
	if f == nil {
		return "", &Error{Class: Transient, RetryAfter: time.Second, Reason: "the proxy is shutting down"}
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

// remembered returns the failure that is not worth repeating yet, with the
// time that is left of it. It is called with mu held.
func (s *Source) remembered(now time.Time) *Error {
	left := s.until.Sub(now)
	if s.failed == nil || left <= 0 {
		return nil
	}
	return s.failed.after(left)
}

// renew starts a mint in the background, unless one is under way.
func (s *Source) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remembered(time.Now()) == nil {
		s.start()
	}
}

// keep takes in a new token and plans its renewal. It is called with mu held.
func (s *Source) keep(h *held, now time.Time) {
	s.failed, s.faults = nil, 0
	s.refusal.renewed(now)
	s.token.Store(h)
	s.former = h
	s.plan(now, renewalIn(h, now))
}

// remember notes a failure, so that it is not asked for again at once, and
// returns it as callers are told. It is called with mu held.
func (s *Source) remember(failed *Error, now time.Time) *Error {
	s.faults++
	wait := failed.RetryAfter
	s.announced = wait > 0
	if failed.Class == Transient && !s.announced {
		s.cache.outage(s.target.Login)
	}
	h := s.token.Load()
	valid := h != nil && h.good(now)
	if !s.announced && valid {
		// There shall be tries before the end, when callers would notice.
		wait = min(backOff(failed.Class, s.faults, longestMemory), max(time.Second, h.end.Sub(now)/2))
	} else if !s.announced {
		wait = backOff(failed.Class, s.faults, longestOutage)
	}
	s.failed, s.until = failed.after(wait), now.Add(wait)
	if valid {
		s.cache.Log.Warn().Str("resource", s.target.Resource).Str("tenant_id", s.target.TenantID).
			Stringer("class", failed.Class).Str("reason", failed.Error()).Dur("again_in", wait).
			Time("expires", h.Expires).Msg("the token could not be renewed and is still good")
		s.plan(now, wait)
	}
	return s.failed
}

// backOff is how long to leave Entra ID alone after that many failures in
// turn, for one that may be over at any moment no longer than longest.
func backOff(class Class, faults int, longest time.Duration) time.Duration {
	switch class {
	case Transient:
		most := min(longest, time.Second<<min(faults-1, 6))
		return max(250*time.Millisecond, most/2+rand.N(most/2))
	case Consent:
		// Who waits for an administrator tries again and again.
		return consentMemory
	}
	return longestMemory
}

// plan sets when to renew in the background: by the clock for a tenant that is
// in use, else with its next call. It is called with mu held.
func (s *Source) plan(now time.Time, in time.Duration) {
	if s.dropped {
		s.due.Store(never)
		return
	}
	s.due.Store(now.Add(in).UnixNano())
	if s.renewal != nil {
		s.renewal.Reset(in)
		return
	}
	s.renewal = time.AfterFunc(in, func() { // stopped by drop
		defer panics.Recover(s.cache.Log, "renewal", nil)
		h := s.token.Load()
		if h != nil && time.Since(time.Unix(s.used.Load(), 0)) <= h.life {
			s.renew()
		}
	})
}

// renewalIn is when Entra ID wants it, else somewhere past half of the token's
// life: spread, so that tokens got together are not renewed together.
func renewalIn(h *held, now time.Time) time.Duration {
	if in := h.Refresh.Sub(now); !h.Refresh.IsZero() && h.Refresh.Before(h.end) {
		return max(in, h.life/10)
	}
	return h.life/2 + rand.N(h.life/4+1)
}

// Retry forgets the last failure, so that the next call asks again; a mint
// under way that fails is tried again. A token that is held stays.
func (s *Source) Retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.faults = nil, 0
	s.epoch++
}

// endOutage lets the next call ask again if what failed last was the way to
// the login host, or the host. What the host has asked to wait for is waited
// for. A token that is still good is renewed within the time given, or half of
// what it is still good for.
func (s *Source) endOutage(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil || s.failed.Class != Transient || s.announced {
		return
	}
	s.faults, s.until = 0, time.Time{}
	if h, now := s.token.Load(), time.Now(); s.due.Load() != never && h != nil && s.inflight == nil {
		s.plan(now, rand.N(max(time.Second, min(within, h.end.Sub(now)/2))))
	}
}

func (s *Source) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = true
	s.due.Store(never)
	if s.renewal != nil {
		s.renewal.Stop()
	}
}
