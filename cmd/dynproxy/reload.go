package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/daemon"
	"dynproxy/internal/door"
	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
	"dynproxy/internal/service"
)

// reloader is asked to read the settings again. Whoever asks while that goes on
// is heard afterwards; of several who wait one is enough.
type reloader struct {
	read  func() (map[string]string, error) // the settings' environment, as it is now
	from  func() map[string]string          // where each variable comes from
	asked chan os.Signal

	manager *service.Host // asks too, and is told when the proxy serves; nil where there is none
}

// newReloader listens to SIGHUP until stop. Where there is no such signal, the
// service manager asks.
func newReloader(read func() (map[string]string, error), from func() map[string]string) (r *reloader, stop func()) {
	r = &reloader{read: read, from: from, asked: make(chan os.Signal, 1)}
	signal.Notify(r.asked, syscall.SIGHUP)
	return r, func() { signal.Stop(r.asked) }
}

// followSettings reads the settings again whenever r is asked to, until ctx
// ends.
func (h *server) followSettings(ctx context.Context, r *reloader) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
			h.reload(r.read)
		case <-r.manager.Reload():
			h.reload(r.read)
		}
	}
}

// reload puts in force what read returns: all of it, or nothing where anything
// is wrong. What needs a restart is named, and stays what it was.
func (h *server) reload(read func() (map[string]string, error)) {
	daemon.Reloading()
	defer func() { daemon.Ready(h.summary()) }()
	now := h.config()
	environ, err := read()
	if err != nil {
		h.notChanged(err)
		return
	}
	next, err := h.renewed(now, environ)
	if err != nil {
		h.notChanged(err)
		return
	}
	changed := differing(now.environ, next.environ)
	h.apply(next)
	h.recordSettings(changed, now, next)
	h.log.Info().Strs("changed", changed).Msg("the settings were read again")
	h.tellUnknown(next)
	h.tellExposed()
	waiting := slices.DeleteFunc(differing(next.environ, environ), func(name string) bool { return !ofOurs(name) })
	h.events.Reloaded(nil, changed, waiting)
	h.reloaded.Store(&reloaded{At: time.Now(), Waiting: waiting})
	if len(waiting) > 0 {
		h.log.Warn().Strs("settings", waiting).Msg("these settings have changed and need a restart; until then what they were holds")
	}
}

// reloaded is what came of reading the settings again.
type reloaded struct {
	At      time.Time
	Faults  envfile.Faults // for which nothing was taken up
	Waiting []string       // variables that have changed and need a restart
}

// recordSettings records which settings are others now, secrets left out.
func (h *server) recordSettings(changed []string, before, now *config) {
	if len(changed) == 0 {
		return
	}
	e := audit.Entry{Via: audit.File, Kind: "settings", Action: "changed", Before: map[string]string{}, After: map[string]string{}}
	for _, name := range changed {
		if value := before.environ[name]; value != "" {
			e.Before[name] = shown(name, value)
		}
		if value := now.environ[name]; value != "" {
			e.After[name] = shown(name, value)
		}
	}
	if err := h.audit.Record(e); err != nil {
		h.log.Error().AnErr("reason", err).Msg("a change cannot be recorded in STATE_DIR; it is kept in memory and written when that can be")
	}
}

// ofOurs reports whether the program reads the variable called name.
func ofOurs(name string) bool {
	setting, ours := strings.CutPrefix(name, prefix)
	return ours && slices.Contains(restartSettings, setting) || heeded(name)
}

// heeded reports whether the variable called name is one of others that the
// program goes by.
func heeded(name string) bool {
	name = strings.ToUpper(name)
	return strings.HasPrefix(name, "OTEL_") || name == "HTTPS_PROXY" || name == "NO_PROXY"
}

// renewed is what comes into force when environ is read. Its error is
// envfile.Faults: those of environ as a whole, and of what comes into force,
// which may differ: a password that is not needed with the new OPS_LISTEN is
// needed with the one that stays.
func (h *server) renewed(now *config, environ map[string]string) (*config, error) {
	read, err := loadConfig(environ)
	faults, _ := errors.AsType[envfile.Faults](err)
	next, err := loadConfig(comingInto(now.environ, environ))
	more, _ := errors.AsType[envfile.Faults](err)
	faults = append(faults, more...)
	next.checkPassword(&faults)
	if len(faults) > 0 {
		return nil, faults.Unique()
	}
	next.unknown = read.unknown
	next.envFiles = now.envFiles
	if h.mirror != nil {
		next.lieIn(h.mirror)
	}
	next.Listen, next.OpsListen, next.verbosity = now.Listen, now.OpsListen, now.verbosity
	return next, nil
}

// apply puts next in force, everywhere.
func (h *server) apply(next *config) {
	before := h.inForce.Swap(next)
	next.verbosity.set(next.level)
	h.out.organizations.SetPatience(next.patience())
	h.tokens.SetSecretExpires(next.expires)
	h.past.Notices.SetURL(next.NotifyURL)
	h.spool.SetMax(int64(next.SpoolMax))
	if before.MaxConns != next.MaxConns || before.MaxConnsPerAddr != next.MaxConnsPerAddr {
		h.boundConnections()
	}
	h.openDoors()
	if before.PublisherLogoFile != next.PublisherLogoFile {
		h.warnOfLogo()
	}
	h.tenantsChanged(h.book.Renew(next.list, next.rules))
}

// openDoors says under which names and from where the two sides may be
// reached.
func (h *server) openDoors() {
	cfg := h.config()
	rule := door.Hosts(h.names, cfg.AllowedHosts, cfg.OpsPublicURL)
	h.opsHosts.Store(&rule)
	h.calls.SetAccess(h.access(cfg))
}

// notChanged tells of every fault for which the settings stay what they were.
func (h *server) notChanged(err error) {
	faults, are := errors.AsType[envfile.Faults](err)
	if !are {
		faults.Add("--env-file", "%v", err)
	}
	for _, f := range faults {
		h.log.Error().Str("setting", f.Variable).Str("fault", f.Cure).Msg("this setting cannot be used")
	}
	h.events.Reloaded(faults, nil, nil)
	h.reloaded.Store(&reloaded{At: time.Now(), Faults: faults})
	h.log.Error().Int("faults", len(faults)).Msg("the settings cannot be read again like this; all of them stay what they were")
}

func (h *server) tellUnknown(cfg *config) {
	for _, name := range cfg.unknown {
		h.log.Warn().Str("variable", name).Msg("this setting means nothing; is it spelled right?")
	}
}

// tellExposed warns of secrets that others can read.
func (h *server) tellExposed() {
	for _, e := range h.exposures() {
		h.log.Warn().Str("file", e.path).Str("readable_by", e.who).Msg("others can read this file, which holds a secret; " + secret.HowToHide)
	}
}

// checkPassword reads the file of the operators' password.
func (c *config) checkPassword(faults *envfile.Faults) {
	if c.OpsPasswordFile == "" {
		return
	}
	if _, err := secret.ReadFile(c.OpsPasswordFile); err != nil {
		faults.Add(prefix+"OPS_PASSWORD_FILE", "is wrong: %v", err)
	}
}

// guarded reports whether operators need a password.
func (c *config) guarded() bool { return !c.OpsPassword.Empty() || c.OpsPasswordFile != "" }
