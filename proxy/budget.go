package proxy

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/limits"
	"dynproxy/tenants"
)

// BudgetKey says whose budget t's calls spend when they are made in the name
// of the app registration clientID.
func BudgetKey(t *tenants.Tenant, clientID string) limits.Key {
	return limits.Key{Organization: t.Organization(), ClientID: clientID}
}

// budgetOf returns what t's settings say of its application user's limits.
func budgetOf(t *tenants.Tenant) limits.Budget {
	b := limits.Budget{
		Rate: t.Rate, Burst: t.Burst,
		Requests: t.Requests, Window: t.Window, ExecutionTime: t.ExecutionTime, Concurrency: t.Concurrency,
		Fixed: limits.Fixed{
			Requests: t.Explicit("REQUESTS"), ExecutionTime: t.Explicit("EXECUTION_TIME"), Concurrency: t.Explicit("CONCURRENCY"),
		},
	}
	switch t.Limits {
	case "report":
		b.Mode = limits.Report
	case "off":
		b.Mode = limits.Off
	}
	return b
}

// Sharers returns the names of those tenants that spend the same budget as t
// with other numbers: of two the stricter hold.
func Sharers(t *tenants.Tenant, all iter.Seq[*tenants.Tenant], clientID func(*tenants.Tenant) string) []string {
	var names []string
	for other := range all {
		if other.Name != t.Name && budgetOf(other) != budgetOf(t) && BudgetKey(other, clientID(other)) == BudgetKey(t, clientID(t)) {
			names = append(names, other.Name)
		}
	}
	slices.Sort(names)
	return names
}

// budgets tells the gate what the tenants' settings say.
type budgets struct {
	tenants *tenants.Book
	gate    *limits.Gate
	tokens  TokenSource

	mu sync.Mutex // held while the gate is told
}

// tell configures every budget and removes those that no tenant spends any
// more. Tenants that spend one budget keep to the
// stricter of their numbers.
func (b *budgets) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := make(map[limits.Key]limits.Budget)
	for t := range b.tenants.All() {
		key, budget := BudgetKey(t, b.tokens.ClientID(t)), budgetOf(t)
		if other, shared := now[key]; shared && other != budget {
			budget = budget.Stricter(other)
		}
		now[key] = budget
	}
	b.gate.Retain(func(key limits.Key) bool {
		_, used := now[key]
		return used
	})
	for key, budget := range now {
		b.gate.Configure(key, budget)
	}
}

// enter waits for c's place in its tenant's budget, for as long as is left of
// QUEUE_WAIT.
func (b *budgets) enter(ctx context.Context, c *call) (*limits.Pass, error) {
	key := BudgetKey(c.tenant, b.tokens.ClientID(c.tenant))
	who := limits.Caller{Name: c.caller, Weight: c.weight}
	patience := max(0, c.tenant.QueueWait-c.queued)
	began := time.Now()
	pass, err := b.gate.Enter(ctx, key, who, patience)
	if errors.Is(err, limits.ErrUnknown) { // a tenant so new that the gate has not heard of it
		b.tell()
		pass, err = b.gate.Enter(ctx, key, who, patience)
	}
	waited := time.Since(began)
	c.queued += waited
	c.tries[len(c.tries)-1].Queue = waited
	return pass, err
}

// TenantsChanged must be called when a tenant was added, changed or removed.
func (h *Handler) TenantsChanged() { h.budgets.tell() }

// BudgetMetrics shows the budgets of those tenants that were called. Two
// tenants that spend one budget show the same figures.
type BudgetMetrics struct {
	Tenants *tenants.Book
	Gate    *limits.Gate
	Tokens  TokenSource
	Calls   *Metrics // which know who was called
}

var (
	budgetUsed       = prometheus.NewDesc("dynproxy_limit_used", "How much of a limit is used: requests and milliseconds in the window, calls in flight.", []string{"tenant", "facet"}, nil)
	budgetLimit      = prometheus.NewDesc("dynproxy_limit", "The limit in force, as set or as learnt from the organization.", []string{"tenant", "facet"}, nil)
	budgetEvents     = prometheus.NewDesc("dynproxy_limit_events_total", "Calls that waited, were refused here, were throttled by the organization, or would have waited (LIMITS=report).", []string{"tenant", "facet", "event"}, nil)
	budgetHeldBack   = prometheus.NewDesc("dynproxy_limit_held_back", "The part of a limit that is not used, since the organization refused calls before it was used up or says that less remains.", []string{"tenant", "facet"}, nil)
	budgetTest       = prometheus.NewDesc("dynproxy_limit_test_seconds", "How long until more of what is held back is tried.", []string{"tenant", "facet"}, nil)
	budgetRefused    = prometheus.NewDesc("dynproxy_limit_refused_total", "Calls refused here, by what kept them out: spent, learned, cooldown, share or rate.", []string{"tenant", "reason"}, nil)
	budgetQueue      = prometheus.NewDesc("dynproxy_queue_length", "Calls that wait for a place.", []string{"tenant"}, nil)
	budgetClosed     = prometheus.NewDesc("dynproxy_limit_closed_seconds", "How long the organization has asked to be left alone.", []string{"tenant"}, nil)
	budgetApart      = prometheus.NewDesc("dynproxy_limit_apart_seconds", "For how long this proxy has kept to its share of a budget that it cannot share with the other proxies; zero while it does.", []string{"tenant"}, nil)
	budgetOperations = prometheus.NewDesc("dynproxy_operations_today", "Operations since midnight UTC, those inside batches counted, for the daily entitlement.", []string{"tenant"}, nil)
)

// Describe is prometheus.Collector's.
func (m *BudgetMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{budgetUsed, budgetLimit, budgetEvents, budgetHeldBack, budgetTest, budgetRefused, budgetQueue, budgetClosed, budgetApart, budgetOperations} {
		descs <- d
	}
}

// Collect is prometheus.Collector's.
func (m *BudgetMetrics) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for t := range m.Tenants.All() {
		if !m.Calls.tallies.called(t.Name) {
			continue
		}
		s := m.Gate.Snapshot(BudgetKey(t, m.Tokens.ClientID(t)))
		if s.Window == 0 {
			continue // refused before it came to a budget
		}
		for kind, use := range map[limits.LimitKind]limits.Use{limits.Requests: s.Requests, limits.ExecutionTime: s.ExecutionTime, limits.Concurrency: s.Concurrency} {
			gauge(budgetUsed, use.Used, t.Name, kind.String())
			gauge(budgetLimit, use.Limit, t.Name, kind.String())
			gauge(budgetHeldBack, use.HeldBack, t.Name, kind.String())
			gauge(budgetTest, use.TestIn.Seconds(), t.Name, kind.String())
			for event, counts := range map[string]uint64{"waited": s.Waited[kind], "refused": s.Refused[kind], "throttled": s.Throttled[kind], "would_wait": s.WouldWait[kind]} {
				metrics <- prometheus.MustNewConstMetric(budgetEvents, prometheus.CounterValue, float64(counts), t.Name, kind.String(), event)
			}
		}
		for reason, n := range s.RefusedFor {
			if reason := limits.Reason(reason); reason != limits.NoReason {
				metrics <- prometheus.MustNewConstMetric(budgetRefused, prometheus.CounterValue, float64(n), t.Name, reason.String())
			}
		}
		gauge(budgetQueue, float64(s.Waiting), t.Name)
		gauge(budgetClosed, s.ClosedFor.Seconds(), t.Name)
		gauge(budgetApart, s.Apart.Seconds(), t.Name)
		gauge(budgetOperations, float64(s.Operations), t.Name)
	}
}
