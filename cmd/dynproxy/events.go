package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/notify"
	"dynproxy/internal/problem"
	"dynproxy/internal/service"
	"dynproxy/internal/status"
)

// serveManaged is serveHere for a service manager, which is told an exit status
// and, as an event, why.
func (w *cli) serveManaged(ctx context.Context, manager *service.Host) int {
	own := *w
	own.stderr, own.stdout = manager.Errors, manager.Errors
	own.more = service.Environment
	own.defaults = map[string]string{
		prefix + "STATE_DIR": filepath.Join(manager.Data, "state"),
		prefix + "LOG_FILE":  filepath.Join(manager.Data, "logs", "dynproxy.log"),
	}
	err := own.serveHere(ctx, manager)
	var words bytes.Buffer
	code := exitStatus(err, io.MultiWriter(&words, own.stderr))
	manager.Tell(lastEvent(err, code, manager.HasServed()), strings.ReplaceAll(words.String(), "dynproxy: ", ""))
	return code
}

// lastEvent is what a service's end is told as.
func lastEvent(err error, code int, served bool) service.Event {
	switch {
	case err == nil:
		return service.Stopped
	case served:
		return service.EndedByError
	case code == 2:
		return service.SettingsRefused
	}
	return service.StartFailed
}

// manager is the service manager under which the proxy runs, nil without one.
func (h *server) manager() *service.Host {
	if h.again == nil {
		return nil
	}
	return h.again.manager
}

// events are what the system's event log was told, so that it is told of each
// thing once.
type events struct {
	mu     sync.Mutex
	last   map[string]status.Change // of each tenant, until it has lasted
	broken map[string]bool          // tenants, as told
	ends   map[string]bool          // reminders that were told
}

// lasting is how long a tenant is in a state before that is an event.
const lasting = 2 * time.Second

// tenantEvent tells of a tenant that breaks or recovers, if that lasts.
func (h *server) tenantEvent(c status.Change) {
	if h.manager() == nil {
		return
	}
	e := &h.events
	e.mu.Lock()
	if e.last == nil {
		e.last, e.broken = make(map[string]status.Change), make(map[string]bool)
	}
	e.last[c.Tenant] = c
	e.mu.Unlock()
	time.AfterFunc(lasting, func() {
		if e.lasts(c) {
			h.manager().Tell(ofTenant(c))
		}
	})
}

// lasts reports whether c is still how its tenant is, and news.
func (e *events) lasts(c status.Change) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last[c.Tenant] != c {
		return false
	}
	delete(e.last, c.Tenant)
	now := c.To == status.Broken
	if e.broken[c.Tenant] == now {
		return false
	}
	e.broken[c.Tenant] = now
	if !now {
		delete(e.broken, c.Tenant)
	}
	return true
}

// retain forgets tenants that are gone.
func (e *events) retain(there map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name := range e.broken {
		if !there[name] {
			delete(e.broken, name)
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

// endEvents tells of what ends soon, each reminder once.
func (h *server) endEvents(ends []notify.End, now time.Time) {
	if h.manager() == nil {
		return
	}
	for _, end := range ends {
		before, due := end.Due(now)
		key := fmt.Sprint(end.Subject, end.At.Unix(), before, now.After(end.At))
		if !due || h.events.ends[key] {
			continue
		}
		if h.events.ends == nil {
			h.events.ends = make(map[string]bool) // of one goroutine
		}
		h.events.ends[key] = true
		event := service.CredentialEnds
		if end.OfTLS {
			event = service.CertificateEnds
		}
		if now.After(end.At) {
			event++
		}
		h.manager().Tell(event, fmt.Sprintf("What: %s\r\nEnd: %s", end.Subject, end.At.UTC().Format("2006-01-02 15:04 UTC")))
	}
}

// reloadEvent tells what came of reading the settings again.
func (h *server) reloadEvent(err error, changed, waiting []string) {
	if err != nil {
		h.manager().Tell(service.ReloadRefused, err.Error())
		return
	}
	details := "Nothing has changed."
	if len(changed) > 0 {
		details = "Changed: " + strings.Join(changed, ", ")
	}
	if len(waiting) > 0 {
		details += "\r\nNeeds a restart: " + strings.Join(waiting, ", ")
	}
	h.manager().Tell(service.Reloaded, details)
}
