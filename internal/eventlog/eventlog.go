// Package eventlog decides what of the proxy's life is an event of the system's
// event log, so that each thing is told once, and what lasts only a moment not
// at all.
package eventlog

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/notify"
	"dynproxy/internal/panics"
	"dynproxy/internal/problem"
	"dynproxy/internal/service"
	"dynproxy/internal/status"
)

// lasting is how long a tenant is in a state before that is an event.
const lasting = 2 * time.Second

// Log tells events to a Host; one without a Host tells nothing.
type Log struct {
	Host *service.Host
	Log  zerolog.Logger

	mu     sync.Mutex               // guards what follows
	last   map[string]status.Change // of each tenant, until it has lasted
	broken map[string]bool          // tenants, as told
	ends   map[string]bool          // reminders that were told
}

// TenantIs tells of a tenant that breaks or recovers, if that lasts.
func (l *Log) TenantIs(c status.Change) {
	if l.Host == nil {
		return
	}
	l.mu.Lock()
	if l.last == nil {
		l.last, l.broken = make(map[string]status.Change), make(map[string]bool)
	}
	l.last[c.Tenant] = c
	l.mu.Unlock()
	time.AfterFunc(lasting, func() {
		defer panics.Recover(l.Log, "event of a tenant", nil)
		if l.lasts(c) {
			l.Host.Tell(ofTenant(c))
		}
	})
}

// lasts reports whether c is still how its tenant is, and news.
func (l *Log) lasts(c status.Change) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[c.Tenant] != c {
		return false
	}
	delete(l.last, c.Tenant)
	now := c.To == status.Broken
	if l.broken[c.Tenant] == now {
		return false
	}
	l.broken[c.Tenant] = now
	if !now {
		delete(l.broken, c.Tenant)
	}
	return true
}

// Retain forgets tenants that are gone.
func (l *Log) Retain(there func(tenant string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.broken {
		if !there(name) {
			delete(l.broken, name)
		}
	}
}

// withoutToken are the errors of calls for which no token could be had.
var withoutToken = []problem.Code{problem.CredentialRejected, problem.TokenUnavailable, problem.TokenRefused}

func ofTenant(c status.Change) (service.Event, string) {
	if c.To != status.Broken {
		return service.TenantRecovered, "Tenant: " + c.Tenant
	}
	details := "Tenant: " + c.Tenant
	if c.Code != "" {
		details += "\r\nError of its calls: " + c.Code
	}
	if c.Finding != "" {
		details += "\r\nFound: " + c.Finding
	}
	if c.Next != "" {
		details += "\r\nNext: " + c.Next
	}
	if slices.Contains(withoutToken, problem.Code(c.Code)) {
		return service.TokenFailure, details
	}
	return service.TenantBroken, details
}

// Remind tells of what ends soon, each reminder once.
func (l *Log) Remind(ends []notify.End, now time.Time) {
	if l.Host == nil {
		return
	}
	for _, end := range ends {
		if event, news := l.reminder(end, now); news {
			l.Host.Tell(event, fmt.Sprintf("What: %s\r\nEnd: %s", end.Subject, end.At.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
}

// reminder is what end is told as, if it is due and was not told.
func (l *Log) reminder(end notify.End, now time.Time) (event service.Event, news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, due := end.Due(now)
	ended := now.After(end.At)
	key := fmt.Sprint(end.Subject, end.At.Unix(), before, ended)
	if !due || l.ends[key] {
		return 0, false
	}
	if l.ends == nil {
		l.ends = make(map[string]bool)
	}
	l.ends[key] = true
	switch {
	case end.OfTLS && ended:
		return service.CertificateEnded, true
	case end.OfTLS:
		return service.CertificateEnds, true
	case ended:
		return service.CredentialEnded, true
	}
	return service.CredentialEnds, true
}

// Reloaded tells what came of reading the settings again: faults, for which
// nothing was taken up, or which of them have changed and which need a restart.
func (l *Log) Reloaded(faults error, changed, waiting []string) {
	if faults != nil {
		l.Host.Tell(service.ReloadRefused, faults.Error())
		return
	}
	details := "Nothing has changed."
	if len(changed) > 0 {
		details = "Changed: " + strings.Join(changed, ", ")
	}
	if len(waiting) > 0 {
		details += "\r\nNeeds a restart: " + strings.Join(waiting, ", ")
	}
	l.Host.Tell(service.Reloaded, details)
}
