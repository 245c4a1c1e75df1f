package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"dynproxy/internal/changes"
	"dynproxy/internal/envfile"
	"dynproxy/internal/mirror"
)

// readShared judges TENANTS_REDIS.
func (c *config) readShared(faults *envfile.Faults) {
	if !c.TenantsRedis {
		return
	}
	if c.RedisURL.Empty() {
		faults.Add(prefix+"TENANTS_REDIS", "needs a Redis: set %sREDIS_URL", prefix)
	}
	if c.TenantsDir != "" || c.CallersDir != "" {
		faults.Add(prefix+"TENANTS_REDIS", "and %[1]sTENANTS_DIR or %[1]sCALLERS_DIR exclude each other: take the files over with 'dynproxy tenant import' and 'dynproxy caller import', and remove the directories' settings", prefix)
	}
	if r := c.registration; (r.FederatedTokenFile != "" || r.ManagedIdentity != "") && c.LinkKeyFile == "" {
		faults.Add(prefix+"TENANTS_REDIS", "needs a secret that all proxies have, to seal what lies in Redis: set %sLINK_KEY_FILE to the same file for all", prefix)
	}
}

// openMirror brings the tenants and callers that lie in Redis to this machine:
// under STATE_DIR for a proxy, so that it has them after a restart without
// Redis, else for the life of this process. A command needs Redis now.
func (a *app) openMirror(cfg *config, serves bool) error {
	if !cfg.TenantsRedis {
		return nil
	}
	m := &mirror.Mirror{Book: a.vault.Book(), Log: a.log, Tell: func() { a.cluster.Tell(context.Background(), newsBook, nil) }}
	if m.Keep = serves && cfg.StateDir != ""; m.Keep {
		m.Dir = filepath.Join(cfg.StateDir, "book")
	} else {
		dir, err := os.MkdirTemp("", "dynproxy-book-")
		if err != nil {
			return err
		}
		a.scratch, m.Dir = dir, dir
	}
	if err := m.Open(); err != nil {
		return err
	}
	cfg.lieIn(m)
	a.mirror = m
	_, err := m.Pull(context.Background())
	if serves {
		return nil // Run tries on, and tells
	}
	return err
}

// lieIn has tenants and callers read from m.
func (c *config) lieIn(m *mirror.Mirror) {
	c.TenantsDir, c.CallersDir = m.Tenants(), m.Callers()
	c.rules.Dir = c.TenantsDir
}

// shared is how changes come to all proxies; nil where files are one's own.
func (a *app) shared() changes.Shared {
	if a.mirror == nil {
		return nil
	}
	return a.mirror
}

// bookTaken puts in force what others have changed.
func (h *server) bookTaken() {
	if found, err := h.book.Refresh(); err == nil {
		h.tenantsChanged(found)
	}
	if found, err := h.callers.Refresh(); err == nil {
		h.callersChanged(found)
	}
}

// bookEnvironment is the environment in which TENANTS_DIR and CALLERS_DIR are
// where tenants and callers can be read, be they in Redis.
func (w *cli) bookEnvironment() (map[string]string, error) {
	environ, err := w.environment()
	if err != nil {
		return nil, err
	}
	if s, _ := envfile.Decode[settings](map[string]string{"TENANTS_REDIS": environ[prefix+"TENANTS_REDIS"]}, prefix); !s.TenantsRedis {
		return environ, nil
	}
	if w.book == nil {
		if w.book, err = w.app(); err != nil {
			return nil, err
		}
	}
	delete(environ, prefix+"TENANTS_REDIS")
	environ[prefix+"TENANTS_DIR"], environ[prefix+"CALLERS_DIR"] = w.book.mirror.Tenants(), w.book.mirror.Callers()
	return environ, nil
}

// closeBook ends what bookEnvironment has begun.
func (w *cli) closeBook() {
	if w.book != nil {
		w.book.close()
	}
}

// errFrom says that Redis is what tenants and callers could not be had from.
func errFrom(err error) error {
	return fmt.Errorf("tenants and callers lie in Redis (%sTENANTS_REDIS), and cannot be read: %w", prefix, err)
}
