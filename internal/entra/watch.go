package entra

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dynproxy/internal/textfile"
)

const (
	lookEvery    = 300 * time.Millisecond
	lookForFiles = time.Second // while no registration has any
	remindEvery  = time.Hour
)

// Watch looks after the registrations until ctx ends: it notices that the
// content of a credential's file has changed and calls changed with the
// registration's identity, for which Cache.Changed is made; and it warns in the
// log before a credential ends.
func (m *TokenClient) Watch(ctx context.Context, changed func(identity string)) {
	look := time.NewTimer(0)
	defer look.Stop()
	remind := time.NewTicker(remindEvery)
	defer remind.Stop()
	m.remind(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-remind.C:
			m.remind(time.Now())
		case <-look.C:
			began := time.Now()
			pause := lookEvery
			if !m.lookAround(changed) {
				pause = lookForFiles
			}
			// With thousands of files a round may take long, and must not
			// become all that we do.
			look.Reset(max(pause, 10*time.Since(began)))
		}
	}
}

// lookAround reports whether there are files to look at.
func (m *TokenClient) lookAround(changed func(identity string)) (files bool) {
	for id, r := range m.known() {
		if len(r.files()) == 0 {
			continue
		}
		files = true
		digest := r.look()
		m.mu.Lock()
		news := digest != r.digest && digest == r.glimpse // what is half written is another at the next look
		r.glimpse = digest
		if news {
			r.digest = digest
		}
		m.mu.Unlock()
		if !news {
			continue
		}
		credentials, err := r.credentials()
		if err != nil {
			m.log.Error().Str("client_id", r.ClientID).AnErr("reason", err).
				Msg("a changed credential cannot be used; the former one stays in use")
			continue
		}
		m.mu.Lock()
		if !r.ending.IsZero() && !sameSecret(r.dated, credentials) {
			// The settings' date was that of the former secret. (A mint may have
			// read the new one before.)
			r.ending, r.outdated = time.Time{}, r.ending
		}
		r.dated = credentials
		r.lastRead, r.changed, r.rejected, r.faults = credentials, true, nil, 0
		m.mu.Unlock()
		m.log.Info().Str("client_id", r.ClientID).Msg("a credential has changed")
		m.remind(time.Now())
		changed(id)
	}
	return files
}

// sameSecret reports whether the secret that the settings' date is about is the
// same in both.
func sameSecret(before, now []credential) bool {
	return len(before) > 0 && len(now) > 0 && before[0].id == now[0].id
}

func (m *TokenClient) known() map[string]*registered {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]*registered, len(m.registrations))
	for id, r := range m.registrations {
		all[id] = r
	}
	return all
}

// look returns a digest of the content of r's files, which neither time stamps
// nor ways of replacing a file can deceive.
func (r Registration) look() string {
	h := sha256.New()
	for _, f := range r.files() {
		content, err := textfile.ReadRaw(f.path)
		fmt.Fprintf(h, "%d %t\n", len(content), err == nil)
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Expiry is when a credential ends.
type Expiry struct {
	ClientID   string
	Credential string // "certificate" or "secret"
	At         time.Time
}

// SecretExpires says when the secret of a registration ends, which nothing but
// the settings knows. The zero time takes it back.
func (m *TokenClient) SecretExpires(identity string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.registrations[identity]; r != nil {
		r.secretExpires(at)
	}
}

// Expiries returns the dates that are known, the next one first.
func (m *TokenClient) Expiries() []Expiry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Expiry
	for _, r := range m.registrations {
		all = append(all, r.expiries()...)
	}
	slices.SortFunc(all, func(a, b Expiry) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ClientID, b.ClientID)
	})
	return all
}

// expiries is called with the TokenClient's mutex held.
func (r *registered) expiries() []Expiry {
	var all []Expiry
	// Once Entra ID takes the next secret, the end of the first is no concern.
	if !r.ending.IsZero() && r.lastAccepted.name != nextSecret {
		all = append(all, Expiry{ClientID: r.ClientID, Credential: "secret", At: r.ending})
	}
	for _, p := range r.lastRead {
		if !p.expires.IsZero() {
			all = append(all, Expiry{ClientID: r.ClientID, Credential: p.name, At: p.expires})
		}
	}
	return all
}

const day = 24 * time.Hour

// reminders are how long before the end a warning is due, and the end.
var reminders = []time.Duration{0, day, 7 * day, 14 * day, 30 * day}

// remind warns of each end once for each reminder.
func (m *TokenClient) remind(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.registrations {
		current := r.expiries()
		maps.DeleteFunc(r.said, func(e Expiry, _ time.Duration) bool { return !slices.Contains(current, e) })
		for _, e := range current {
			left := e.At.Sub(now)
			i := slices.IndexFunc(reminders, func(before time.Duration) bool { return left <= before })
			if i < 0 {
				continue
			}
			if said, ok := r.said[e]; ok && said <= reminders[i] {
				continue
			}
			r.said[e] = reminders[i]
			event, text := m.log.Warn(), "a credential of the app ends soon; make a new one"
			if left <= 0 {
				event, text = m.log.Error(), "a credential of the app has ended; make a new one"
			}
			event.Str("client_id", e.ClientID).Str("credential", e.Credential).Time("ends", e.At).
				Int("days", int((max(left, 0)+day-1)/day)).Msg(text)
		}
	}
}
