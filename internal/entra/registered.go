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
// TokenClient's mutex guards it.
type registered struct {
	Registration
	lastRead      []credential // as read last without an error
	dated         []credential // of which the settings' date is, as the watch saw them last
	lastAccepted  credential   // last, with no name if none has
	changed       bool         // a file has, since then
	rejected      *Error       // of class Credential, while it is not worth trying again
	rejectedUntil time.Time
	faults        int
	ending        time.Time // of a secret, as the settings say
	outdated      time.Time // the same, of a secret that was replaced since
	said          map[Expiry]time.Duration
	digest        string // of its files when last read
	glimpse       string // of its files when last looked at
}

// Register makes r known and returns its identity for Target. The error says
// that its credential cannot be read now, which a later mint may find repaired.
func (m *TokenClient) Register(r Registration) (string, error) {
	id := r.Identity()
	digest := r.look()
	now, err := r.credentials()
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.registrations[id]
	if known == nil {
		known = &registered{Registration: r, digest: digest, dated: now, said: make(map[Expiry]time.Duration)}
		m.registrations[id] = known
	}
	if err == nil {
		known.lastRead = now
	}
	return id, err
}

// Retain forgets all registrations, and with them their secrets, but those
// whose identities are keys of ends, which says when the secret of each ends:
// zero where nobody knows.
func (m *TokenClient) Retain(ends map[string]time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.registrations {
		at, named := ends[id]
		if !named {
			delete(m.registrations, id)
			continue
		}
		r.secretExpires(at)
	}
	for login, l := range m.limiters {
		if l.idle() {
			delete(m.limiters, login)
		}
	}
}

// secretExpires takes the date from the settings, unless it is still that of a
// secret that has been replaced. That there is none any more is taken always.
// It is called with the TokenClient's mutex held.
func (r *registered) secretExpires(at time.Time) {
	if at.IsZero() || !at.Equal(r.outdated) {
		r.ending, r.outdated = at, time.Time{}
	}
}

// Reset forgets that a credential was wrong.
func (m *TokenClient) Reset(identity string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.registrations[identity]; r != nil {
		r.rejected, r.faults = nil, 0
	}
}

// order returns the credentials to try: of those that were read just now, the one
// that lastAccepted last first. Files may be caught half-written or replaced by
// something wrong, and no call shall be lost by that: what was read last serves
// in place of what cannot be read, and what lastAccepted last is tried after all
// else.
func (r *registered) order(now []credential, err error) ([]credential, error) {
	if err != nil {
		now = r.lastRead
	}
	if len(now) == 0 {
		return nil, err
	}
	r.lastRead = now
	if r.lastAccepted.id == "" {
		return now, nil
	}
	ordered := slices.Clone(now)
	i := slices.IndexFunc(ordered, func(p credential) bool { return p.id == r.lastAccepted.id })
	if i < 0 {
		former := r.lastAccepted
		former.name = "former " + strings.TrimPrefix(former.name, "former ")
		return append(ordered, former), nil
	}
	if !r.changed {
		ordered[0], ordered[i] = ordered[i], ordered[0]
	}
	return ordered, nil
}

// rejection returns the refusal that is remembered, with the time that is
// left of it, or nil.
func (r *registered) rejection(now time.Time) *Error {
	if left := r.rejectedUntil.Sub(now); r.rejected != nil && left > 0 {
		return r.rejected.after(left)
	}
	return nil
}

// probe is rejection for one who wants to ask. When the time is over, the
// first one asks for all, and the others hear the old refusal until then.
func (r *registered) probe(now time.Time) *Error {
	failed := r.rejection(now)
	if failed == nil && r.rejected != nil {
		r.rejectedUntil = now.Add(probeWithin)
	}
	return failed
}

// reject remembers a refusal of class Credential, for longer each time, if it
// concerns all tenants. before is how many there were when the question was
// asked: of several questions at the same time, one counts.
func (r *registered) reject(e *Error, before int, now time.Time) *Error {
	if !e.appWide() {
		return e
	}
	if r.faults > before {
		if known := r.rejection(now); known != nil {
			return known
		}
	}
	r.faults++
	wait := min(longestBreak, 5*time.Second<<min(r.faults, 5))
	r.rejected, r.rejectedUntil = e.after(wait), now.Add(wait)
	return r.rejected
}
