package entra

import "time"

const (
	freeRenewals  = 3 // one soon after the other: an administrator may revoke twice
	shortestFloor = 3 * time.Second
	longestFloor  = time.Minute
	calm          = 2 * time.Minute // without a refusal, after which all is well again
)

// refusal paces the renewals that an organization forces. One that refuses
// whatever it is sent must not have Entra ID asked with every call: after a few
// the floor between two renewals grows while refusals go on.
type refusal struct {
	claims   bool // whether the last one was for claims
	pending  bool // a renewal was forced and has not come yet
	last     time.Time
	floor    time.Duration
	renewals int // without calm between them
}

// allows reports whether a renewal may be forced now. A challenge for claims
// after a plain refusal is a new thing and need not wait.
func (r *refusal) allows(now time.Time, claims bool) bool {
	return r.last.IsZero() || now.Sub(r.last) >= r.floor || claims && !r.claims
}

func (r *refusal) force(claims bool) { r.pending, r.claims = true, claims }

// renewed starts the floor: with the token that came, and not with the try,
// which may have failed for reasons of Entra ID's.
func (r *refusal) renewed(now time.Time) {
	if !r.pending {
		return
	}
	if now.Sub(r.last) > calm {
		r.renewals, r.floor = 0, 0
	}
	if r.renewals++; r.renewals >= freeRenewals {
		r.floor = min(max(2*r.floor, shortestFloor), longestFloor)
	}
	r.pending, r.last = false, now
}

// Refused says that the organization refused the token header. Whoever held
// that token gets a new one; who comes late finds it renewed already. claims is
// the claims challenge that came with the refusal, decoded, or "". It reports
// whether Token has, or waits for, another token: if not, it is too soon after
// the last such renewal, and trying again is in vain.
func (s *Source) Refused(header, claims string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.token.Load()
	if h != nil && h.Header != header && (claims == "" || h.claims == claims) {
		return true
	}
	if h == nil && claims == "" {
		return true
	}
	if claims != "" && (s.claims == claims || s.inflight != nil && s.inflight.claims == claims) {
		return true
	}
	now := time.Now()
	if !s.refusal.allows(now, claims != "") {
		return h == nil || h.Header != header
	}
	s.refusal.force(claims != "")
	s.claims = claims
	s.token.Store(nil)
	if s.remembered(now) == nil {
		s.start()
	}
	return true
}
