package entra

import (
	"context"
	"time"
)

const mintWithin = time.Minute // one mint, its tries and its wait for a turn included

// inflight is a mint under way, for all who wait for it.
type inflight struct {
	claims string        // that it answers so far
	done   chan struct{} // closed when the rest is set
	token  *held
	failed *Error
}

// start returns the mint under way, or starts one; nil once the cache is
// closed. It is called with mu held.
func (s *Source) start() *inflight {
	if s.inflight != nil {
		return s.inflight
	}
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	f := &inflight{done: make(chan struct{})}
	s.inflight = f
	s.due.Store(never)
	// On nobody's context: whoever started it may leave, and the rest still
	// wait. Close ends it.
	c.running.Go(func() { s.run(f) })
	return f
}

// run mints until there is a result that still counts: a claims challenge that
// came in meanwhile is not answered by this token, and a failure from before a
// reset may be over.
func (s *Source) run(f *inflight) {
	for {
		s.mu.Lock()
		epoch := s.epoch
		f.claims, s.claims = s.claims, ""
		former := s.former
		s.mu.Unlock()
		token, failed := s.mint(f.claims, former)
		if failed == nil { // before anybody has it: who sees one call go through may rely on it
			s.cache.answers(s.target.Login)
		}
		s.mu.Lock()
		again := failed == nil && s.claims != "" || failed != nil && s.epoch != epoch
		if again && s.cache.ending.Err() == nil {
			if s.claims == "" {
				s.claims = f.claims
			}
			s.mu.Unlock()
			continue
		}
		s.finish(f, token, failed)
		s.mu.Unlock()
		return
	}
}

func (s *Source) mint(claims string, former *held) (Token, *Error) {
	ctx, cancel := context.WithTimeout(s.cache.ending, mintWithin)
	defer cancel()
	if h := s.token.Load(); h != nil && h.good(time.Now()) {
		ctx = asRenewal(ctx)
	}
	token, err := s.cache.mint(ctx, s.target, claims, former)
	if err != nil {
		return Token{}, asError(err)
	}
	return token, nil
}

// finish hands the result to all who wait, and plans what comes next. It is
// called with mu held.
func (s *Source) finish(f *inflight, token Token, failed *Error) {
	now := time.Now()
	if failed != nil {
		f.failed = s.remember(failed, now)
		if failed.Class == Transient && s.claims == "" {
			s.claims = f.claims // which are still to be answered
		}
	} else {
		f.token = hold(token, f.claims, now)
		s.keep(f.token, now)
	}
	s.inflight = nil
	close(f.done)
}
