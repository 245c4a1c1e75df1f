package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/changes"
	"dynproxy/internal/door"
	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

// editor is how a command changes tenants, by c, and callers. It records what
// it does in STATE_DIR, where the running proxy finds it.
func (w *cli) editor(c *config) (*changes.Editor, error) {
	environ, err := w.bookEnvironment()
	if err != nil {
		return nil, err
	}
	e := &changes.Editor{
		CallersDir: environ[prefix+"CALLERS_DIR"],
		Callers:    func() (*callers.Book, error) { return callers.Open(environ[prefix+"CALLERS_DIR"]) },
		Audit:      &audit.Log{Dir: environ[prefix+"STATE_DIR"]},
		Unrecorded: func(err error) {
			fmt.Fprintf(w.stderr, "dynproxy: the change is made, and could not be recorded in %sSTATE_DIR: %v\n", prefix, err)
		},
	}
	if w.book != nil {
		e.Shared = w.book.shared()
	}
	if c != nil {
		e.TenantsDir = c.TenantsDir
		e.Rules = func() *tenants.Rules { return c.rules }
		e.Listed = func(name string) bool { _, listed := c.list[name]; return listed }
		e.Tenants = c.openBook
	}
	return e, nil
}

// who is the user of this command.
func (w *cli) who() changes.Who {
	machine, _ := os.Hostname()
	return changes.Who{By: audit.Operator(w.variable("SUDO_USER")), Via: audit.Command, From: machine}
}

// variable is one of the process's own environment.
func (w *cli) variable(name string) string {
	environ, _ := envfile.Environment(w.environ, nil)
	return environ[name]
}

// newEditor is how changes come in over HTTP.
func (h *server) newEditor() *changes.Editor {
	cfg := h.config()
	return &changes.Editor{
		TenantsDir: cfg.TenantsDir, CallersDir: cfg.CallersDir, Audit: h.audit, Shared: h.shared(),
		Rules:   func() *tenants.Rules { return h.config().rules },
		Listed:  func(name string) bool { _, listed := h.config().list[name]; return listed },
		Tenants: func() (*tenants.Book, error) { return h.book, nil },
		Callers: func() (*callers.Book, error) { return h.callers, nil },
		Changed: h.takeUp,
		Unrecorded: func(err error) {
			h.log.Error().AnErr("reason", err).Msg("a change cannot be recorded in STATE_DIR; it is kept in memory and written when that can be")
		},
	}
}

// takeUp puts a file in force that has just been written whole, or removed.
func (h *server) takeUp(kind, name string) {
	if kind == changes.Caller {
		if found, err := h.callers.Take(name); err == nil {
			h.callersChanged(found)
		}
		return
	}
	if found, err := h.book.Take(name); err == nil {
		h.tenantsChanged(found)
	}
}

// operator is who asks at the operators' door.
func operator(r *http.Request) changes.Who {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return changes.Who{By: door.Operator(r.Context()), Via: audit.HTTP, From: host}
}

// given is what an entry of a registry says of itself for the record.
type given interface{ Given() map[string]string }

// notice records what has changed in a directory by the hand of somebody whom
// only the system knows.
func notice[T any, E interface {
	*T
	given
}](log *audit.Log, kind, dir string, found []envfile.Change[T]) {
	for _, c := range found {
		if c.Old == nil && c.New == nil {
			continue
		}
		e := audit.Entry{Via: audit.File, Kind: kind, Name: c.Name, Action: changes.Action(c.Old == nil), Stamp: envfile.Stamp(dir, c.Name)}
		if c.Old != nil {
			e.Before = E(c.Old).Given()
		}
		if c.New != nil {
			e.After = E(c.New).Given()
		} else {
			e.Action, e.Stamp = "removed", audit.Gone
		}
		log.Notice(e.Differing(envfile.Hidden))
	}
}
