package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/envfile"
	"dynproxy/internal/history"
	"dynproxy/internal/notify"
	"dynproxy/internal/statedir"
	"dynproxy/internal/status"
	"dynproxy/internal/trend"
	"dynproxy/internal/usage"
)

const (
	keepEvery   = 2 * time.Second // a kill costs what was counted in that time
	remindAfter = 5 * time.Second // the start, and then
	remindEvery = time.Hour
)

// kept is what is known of the past, in STATE_DIR if that is set, and who is
// told of what happens.
type kept struct {
	dir     *statedir.Dir
	states  *history.History
	usage   *usage.Usage
	trend   *trend.Trend
	notices *notify.Notifier
}

func openKept(a *app) *kept {
	k := &kept{dir: statedir.Open(a.config().StateDir)}
	k.states, k.usage, k.trend = history.Open(k.dir), usage.Open(k.dir), trend.Open(k.dir)
	k.notices = notify.Open(k.dir, a.config().NotifyURL, a.out.notices, a.log)
	k.notices.Host, _ = os.Hostname() // "" where the system does not tell
	k.notices.Portal = func() string {
		if base := a.config().OpsPublicURL; base != "" {
			return base + "/"
		}
		return ""
	}
	return k
}

func (k *kept) close() {
	k.usage.Close()
	k.trend.Close()
	k.states.Close()
	k.notices.Close()
	k.dir.Close()
}

// followStates finds out how tenants are, remembers it and tells of it, until
// ctx ends.
func (h *server) followStates(ctx context.Context, keep func(what string, f func())) {
	h.retain()
	for name := range h.book.Faults() {
		h.board.Judge(name)
	}
	keep("state", func() { h.kept.keep(ctx, h.log, func() { h.noteBudgets(); h.keepSize() }) })
	keep("notices", func() { h.kept.notices.Run(ctx) })
	keep("reminders", func() { h.remind(ctx) })
	keep("sweep of tenants", func() { h.board.Sweep(ctx) })
}

// noteBudgets notes how far the budgets are spent of tenants that are called.
func (h *server) noteBudgets() {
	now := time.Now()
	for _, name := range h.kept.trend.Active(now) {
		if t := h.book.Lookup(name); t != nil {
			b, _ := h.budget(t)
			h.kept.trend.Level(name, b.Requests, b.Waiting, now)
		}
	}
}

// keep writes what there is to be kept, until ctx ends, and tells when that
// cannot be. look is called before each time.
func (k *kept) keep(ctx context.Context, log zerolog.Logger, look func()) {
	every := time.NewTicker(keepEvery)
	defer every.Stop()
	told := ""
	for {
		if fault := k.dir.Fault(); fault != nil && fault.Error() != told {
			told = fault.Error()
			log.Warn().Str("setting", prefix+"STATE_DIR").Str("fault", told).
				Msg("what shall survive a restart cannot be written, and is kept in memory; calls go on")
		} else if fault == nil && told != "" {
			told = ""
			log.Info().Str("setting", prefix+"STATE_DIR").Msg("what shall survive a restart is written again")
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		look()
		k.dir.Touch()
		k.states.Keep()
		k.usage.Keep()
		k.trend.Keep()
		k.notices.Keep()
	}
}

// retain forgets tenants that are gone. A directory of tenants that is not
// mounted yet is empty, and proves nothing.
func (h *server) retain() {
	h.board.Retain()
	names := h.board.Names()
	if len(names) == 0 {
		return
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	h.events.retain(there)
	h.kept.usage.Retain(func(tenant string) bool { return there[tenant] })
	h.kept.trend.Retain(func(tenant string) bool { return there[tenant] })
	h.kept.notices.Retain(func(tenant string) bool { return there[tenant] })
}

// keptState is what /readyz says of STATE_DIR.
type keptState struct {
	State string `json:"state"` // kept, fault or off
	Fault string `json:"fault,omitempty"`
}

func (k *kept) state() keptState {
	if fault := k.dir.Fault(); fault != nil {
		return keptState{"fault", fault.Error()}
	}
	if !k.dir.Kept() {
		return keptState{State: "off"}
	}
	return keptState{State: "kept"}
}

// newBoard is what knows how tenants are.
func (h *server) newBoard() *status.Board {
	return &status.Board{
		Tenants: h.book, Tokens: h.tokens, Checker: h.checker(), Budget: h.budget, Log: h.log,
		History: h.kept.states, OnChange: h.stateChanged,
	}
}

// stateChanged tells that a tenant is in another state.
func (h *server) stateChanged(c status.Change) {
	e := h.log.Info()
	if c.To == status.Broken {
		e = h.log.Warn().Str("error", c.Code).Str("finding", c.Finding)
	}
	e.Str("tenant", c.Tenant).Str("from", string(c.From)).Str("to", string(c.To)).Msg("tenant's state")
	h.tenantEvent(c)
	if c.From != status.Unchecked {
		h.tellOthers(newsState, c.Tenant)
	}
	h.kept.notices.TenantIs(c.To == status.Broken, notify.Notice{
		Kind: notify.Broken, Tenant: c.Tenant, At: c.At, Code: c.Code, Finding: c.Finding, Next: c.Next,
	})
}

// remind tells until ctx ends of what ends soon.
func (h *server) remind(ctx context.Context) {
	next := time.NewTimer(remindAfter)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		ends, now := h.ends(), time.Now()
		h.kept.notices.Remind(ends, now)
		h.endEvents(ends, now)
		next.Reset(remindEvery)
	}
}

// ends are the credentials and certificates whose end is known.
func (h *server) ends() []notify.End {
	var all []notify.End
	told := make(map[notify.End]bool)
	for t := range h.book.All() {
		kind, at := h.tokens.Credential(t)
		own := t.Registration.ClientID != ""
		if at.IsZero() && own {
			at = t.SecretExpires
		}
		e := notify.End{Subject: fmt.Sprintf("the %s of app registration %s", kind, h.tokens.ClientID(t)), At: at}
		if own {
			e.Subject += " (tenant " + t.Name + ")"
		}
		if !told[e] {
			told[e] = true
			all = append(all, e)
		}
	}
	for setting, over := range map[string]*tls.Config{"LISTEN": h.guards.callersTLS, "OPS_LISTEN": h.guards.operatorsTLS} {
		if over == nil {
			continue
		}
		if pair, err := over.GetCertificate(nil); err == nil && pair.Leaf != nil {
			all = append(all, notify.End{Subject: "the TLS certificate of " + setting, At: pair.Leaf.NotAfter, OfTLS: true})
		}
	}
	return all
}

// readNotifyURL judges NOTIFY_URL, of which nothing may be quoted: its path or
// query often is a token. Without TLS it may only name this machine or a
// private address, which a name does not show.
func (c *config) readNotifyURL(faults *envfile.Faults) {
	if c.NotifyURL.Empty() {
		return
	}
	u := addressOf(c.NotifyURL.Reveal(), "http", "https")
	switch {
	case u == nil:
		faults.Add(prefix+"NOTIFY_URL", "must be the address of a webhook, such as https://hooks.example.com/...")
	case u.Scheme == "http" && !nearby(u.Hostname()):
		faults.Add(prefix+"NOTIFY_URL", "must begin with https://; http:// is only for localhost and private addresses such as http://10.1.2.3/")
	}
}

// nearby reports whether host is this machine or an address literal in a
// private network.
func nearby(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate())
}
