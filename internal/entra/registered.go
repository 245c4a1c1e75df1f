package entra

import (
	"slices"
	"strings"
	"time"
)

const (
	longestBreak = time.Minute
	probeWithin  = 15 * time.Second
)

// registered is a registration and what was learnt of its credential. The
// Mint's mutex guards it.
type registered struct {
	Registration
	good    []proof // as read last without an error
	worked  proof   // last, with no name if none has
	changed bool    // a file has, since then
	broken  *Error  // of class Credential, while it is not worth trying again
	until   time.Time
	faults  int
	ending  time.Time // of a secret, as the settings say
	said    map[Expiry]time.Duration
	digest  string // of its files when last looked at
}

// Register makes r known and returns its identity for Target. The error says
// that its credential cannot be read now, which a later mint may find mended.
func (m *Mint) Register(r Registration) (string, error) {
	id := r.Identity()
	digest := r.look()
	now, err := r.proofs()
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.registrations[id]
	if known == nil {
		known = &registered{Registration: r, digest: digest, said: make(map[Expiry]time.Duration)}
		m.registrations[id] = known
	}
	if err == nil {
		known.good = now
	}
	return id, err
}

// Retire forgets a registration that no target names any more, and with it its
// secrets.
func (m *Mint) Retire(identity string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.registrations, identity)
}

// Reset forgets that a credential was wrong.
func (m *Mint) Reset(identity string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.registrations[identity]; r != nil {
		r.broken, r.faults = nil, 0
	}
}

// order returns the proofs to try: of those that were read just now, the one
// that worked last first. Files may be caught half-written or replaced by
// something wrong, and no call shall be lost by that: what was read last serves
// in place of what cannot be read, and what worked last is tried after all
// else.
func (r *registered) order(now []proof, err error) ([]proof, error) {
	if err != nil {
		now = r.good
	}
	if len(now) == 0 {
		return nil, err
	}
	r.good = now
	if r.worked.id == "" {
		return now, nil
	}
	ordered := slices.Clone(now)
	i := slices.IndexFunc(ordered, func(p proof) bool { return p.id == r.worked.id })
	if i < 0 {
		former := r.worked
		former.name = "former " + strings.TrimPrefix(former.name, "former ")
		return append(ordered, former), nil
	}
	if !r.changed {
		ordered[0], ordered[i] = ordered[i], ordered[0]
	}
	return ordered, nil
}

// brokenSince returns the refusal that is remembered, with the time that is
// left of it, or nil.
func (r *registered) brokenSince(now time.Time) *Error {
	if left := r.until.Sub(now); r.broken != nil && left > 0 {
		return r.broken.after(left)
	}
	return nil
}

// probe is brokenSince for one who wants to ask. When the time is over, the
// first one asks for all, and the others hear the old refusal until then.
func (r *registered) probe(now time.Time) *Error {
	failed := r.brokenSince(now)
	if failed == nil && r.broken != nil {
		r.until = now.Add(probeWithin)
	}
	return failed
}

// breaks remembers a refusal of class Credential, for longer each time, if it
// concerns all tenants. before is how many there were when the question was
// asked: of several questions at the same time, one counts.
func (r *registered) breaks(e *Error, before int, now time.Time) *Error {
	if !e.appWide() {
		return e
	}
	if r.faults > before {
		if known := r.brokenSince(now); known != nil {
			return known
		}
	}
	r.faults++
	wait := min(longestBreak, 5*time.Second<<min(r.faults, 5))
	r.broken, r.until = e.after(wait), now.Add(wait)
	return r.broken
}
