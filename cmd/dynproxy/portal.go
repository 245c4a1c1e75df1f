package main

import (
	"fmt"
	"slices"
	"time"

	"dynproxy/internal/cluster"
	"dynproxy/internal/fleet"
	"dynproxy/internal/limits"
	"dynproxy/internal/trend"
	"dynproxy/portal"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

// portalSource is what the portal's pages are made of.
type portalSource struct {
	*fleet.Fleet
	server *server
}

// DirectoryFaults is portal.Source's.
func (p portalSource) DirectoryFaults() []string {
	var all []string
	for _, dir := range []struct {
		setting string
		fault   error
	}{{"TENANTS_DIR", p.server.book.DirectoryFault()}, {"CALLERS_DIR", p.server.callers.DirectoryFault()}} {
		if dir.fault != nil {
			all = append(all, fmt.Sprintf("%s%s cannot be read: %v.", prefix, dir.setting, dir.fault))
		}
	}
	return all
}

// Trend is portal.Source's.
func (p portalSource) Trend(tenant string, of trend.Span) []trend.Point {
	return p.server.past.Trend.Of(tenant, of, time.Now())
}

// News is portal.Source's.
func (p portalSource) News(turns int) portal.News {
	n := portal.News{Turns: p.server.past.States.Recent(turns), Webhook: !p.server.config().NotifyURL.Empty(), Failing: p.server.past.Notices.Failing()}
	for _, e := range p.server.ends() {
		n.Ends = append(n.Ends, portal.End{Subject: e.Subject, At: e.At})
	}
	slices.SortFunc(n.Ends, func(a, b portal.End) int { return a.At.Compare(b.At) })
	return n
}

// Settings is portal.Source's.
func (p portalSource) Settings(tenant string) []tenants.Setting {
	t := p.server.book.Lookup(tenant)
	if t == nil {
		return nil
	}
	return p.server.config().tenantSettings(t)
}

// Version is portal.Source's.
func (portalSource) Version() string { return release + " (" + commit() + ")" }

// Organization is portal.Source's.
func (p portalSource) Organization(name string) string {
	if t := p.server.book.Lookup(name); t != nil {
		return t.Org
	}
	return ""
}

// Sharers is portal.Source's.
func (p portalSource) Sharers(names []string) map[string][]string {
	byOrg := make(map[string][]*tenants.Tenant)
	for t := range p.server.book.All() {
		byOrg[t.Organization()] = append(byOrg[t.Organization()], t)
	}
	shared := make(map[string][]string)
	key := func(t *tenants.Tenant) limits.Key { return proxy.BudgetKey(t, p.server.tokens.ClientID(t)) }
	for _, name := range names {
		t := p.server.book.Lookup(name)
		if t == nil {
			continue
		}
		for _, other := range byOrg[t.Organization()] {
			if other != t && key(other) == key(t) {
				shared[name] = append(shared[name], other.Name)
			}
		}
	}
	return shared
}

// ConsentLink is portal.Source's.
func (p portalSource) ConsentLink(name string) string { return p.server.pageLink(name, 0) }

// AboutLink is portal.Source's.
func (p portalSource) AboutLink(name string) string { return p.server.aboutLink(name, 0) }

// Members is portal.Source's.
func (p portalSource) Members() ([]cluster.Member, cluster.State) {
	return p.server.cluster.Members(), p.server.cluster.State()
}

// InForce is portal.Source's.
func (p portalSource) InForce() portal.Settings {
	h := p.server
	cfg, sources := h.config(), map[string]string{}
	if h.again != nil && h.again.from != nil {
		sources = h.again.from()
	}
	s := portal.Settings{Unknown: cfg.unknown}
	for _, one := range settingsOf(cfg.environ, sources) {
		s.Rows = append(s.Rows, portal.Setting(one))
	}
	if last := h.reloaded.Load(); last != nil {
		s.Read, s.Waiting = last.At, last.Waiting
		for _, f := range last.Faults {
			s.Faults = append(s.Faults, f.Variable+" "+f.Cure)
		}
	}
	return s
}

// settingsFaults is how many faults the settings had when they were read again
// last.
func (h *server) settingsFaults() int {
	if last := h.reloaded.Load(); last != nil {
		return len(last.Faults)
	}
	return 0
}

// operations are what operators do on pages.
func (h *server) operations() portal.Operations {
	return portal.Operations{
		Editor: h.newEditor(), Guarded: func() bool { return h.config().guarded() }, Who: operator,
		CheckAll: func() { h.board.Refresh(h.board.Names()) },
		Drain:    func(on bool) { h.ops.outOfService.Store(on) },
		Draining: func() bool { return h.ops.outOfService.Load() },
	}
}
