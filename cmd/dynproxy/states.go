package main

import (
	"context"
	"os"
	"slices"
	"time"

	"dynproxy/internal/notify"
	"dynproxy/internal/past"
	"dynproxy/internal/status"
)

// openPast reads what is known of the past, from STATE_DIR if that is set.
func openPast(a *app) *past.Past {
	p := past.Open(a.config().StateDir, a.config().NotifyURL, a.out.notices, a.log)
	p.Notices.Host, _ = os.Hostname() // "" where the system does not tell
	p.Notices.Portal = func() string {
		if base := a.config().OpsPublicURL; base != "" {
			return base + "/"
		}
		return ""
	}
	return p
}

// followStates finds out how tenants are, remembers it and tells of it, until
// ctx ends.
func (h *server) followStates(ctx context.Context, keep func(what string, f func())) {
	h.retain()
	for name := range h.book.Faults() {
		h.board.Judge(name)
	}
	keep("state", func() { h.past.Keep(ctx, func() { h.noteBudgets(); h.keepSize() }) })
	keep("notices", func() { h.past.Notices.Run(ctx) })
	keep("reminders", func() { h.remind(ctx) })
	keep("sweep of tenants", func() { h.board.Sweep(ctx) })
}

// noteBudgets notes how far the budgets are spent of tenants that are called.
func (h *server) noteBudgets() {
	now := time.Now()
	for _, name := range h.past.Trend.Active(now) {
		if t := h.book.Lookup(name); t != nil {
			b, _ := h.budget(t)
			h.past.Trend.Level(name, b.Requests, b.Waiting, now)
		}
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
	there := func(tenant string) bool { _, is := slices.BinarySearch(names, tenant); return is }
	h.events.Retain(there)
	h.past.Retain(there)
}

// newBoard is what knows how tenants are.
func (h *server) newBoard() *status.Board {
	return &status.Board{
		Tenants: h.book, Tokens: h.tokens, Checker: h.checker(), Budget: h.budget, Log: h.log,
		History: h.past.States, OnChange: h.stateChanged,
	}
}

// stateChanged tells that a tenant is in another state.
func (h *server) stateChanged(c status.Change) {
	e := h.log.Info()
	if c.To == status.Broken {
		e = h.log.Warn().Str("error", c.Code).Str("finding", c.Finding)
	}
	e.Str("tenant", c.Tenant).Str("from", string(c.From)).Str("to", string(c.To)).Msg("tenant's state")
	h.events.TenantIs(c)
	if c.From != status.Unchecked {
		h.tellOthers(newsState, c.Tenant)
	}
	h.past.Notices.TenantIs(c.To == status.Broken, notify.Notice{
		Kind: notify.Broken, Tenant: c.Tenant, At: c.At, Code: c.Code, Finding: c.Finding, Next: c.Next,
	})
}
