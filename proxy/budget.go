package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/limits"
	"dynproxy/tenants"
)

// BudgetKey says whose budget t's calls spend when they are made in the name
// of the app registration clientID.
func BudgetKey(t *tenants.Tenant, clientID string) limits.Key {
	return limits.Key{Organization: t.OrgHost(), ClientID: clientID}
}

// Budget returns what t's settings say of its application user's limits.
func Budget(t *tenants.Tenant) limits.Budget {
	b := limits.Budget{
		Rate: t.Rate, Burst: t.Burst,
		Requests: t.Requests, Window: t.Window, ExecutionTime: t.ExecutionTime, Concurrency: t.Concurrency,
		QueueWait: t.QueueWait,
	}
	switch t.Limits {
	case "report":
		b.Mode = limits.Report
	case "off":
		b.Mode = limits.Off
	}
	return b
}

// budget is Budget for one attempt: what the call has waited already is gone.
func (c *call) budget() limits.Budget {
	b := Budget(c.tenant)
	b.QueueWait = max(0, b.QueueWait-c.queued)
	return b
}

// BudgetMetrics shows the budgets of those tenants that were called. Two
// tenants that spend one budget show the same figures.
type BudgetMetrics struct {
	Tenants *tenants.Book
	Gate    *limits.Gate
	Tokens  TokenSource
}

var (
	budgetUsed       = prometheus.NewDesc("dynproxy_limit_used", "How much of a limit is used: requests and milliseconds in the window, calls in flight.", []string{"tenant", "facet"}, nil)
	budgetLimit      = prometheus.NewDesc("dynproxy_limit", "The limit in force, as set or as learnt from the organization.", []string{"tenant", "facet"}, nil)
	budgetEvents     = prometheus.NewDesc("dynproxy_limit_events_total", "Calls that waited, were refused here, were throttled by the organization, or would have waited (LIMITS=report).", []string{"tenant", "facet", "event"}, nil)
	budgetQueue      = prometheus.NewDesc("dynproxy_queue_length", "Calls that wait for a place.", []string{"tenant"}, nil)
	budgetClosed     = prometheus.NewDesc("dynproxy_limit_closed_seconds", "How long the organization has asked to be left alone.", []string{"tenant"}, nil)
	budgetOperations = prometheus.NewDesc("dynproxy_operations_today", "Operations since midnight UTC, those inside batches counted, for the daily entitlement.", []string{"tenant"}, nil)
)

// Describe is prometheus.Collector's.
func (m *BudgetMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{budgetUsed, budgetLimit, budgetEvents, budgetQueue, budgetClosed, budgetOperations} {
		descs <- d
	}
}

// Collect is prometheus.Collector's.
func (m *BudgetMetrics) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for t := range m.Tenants.All() {
		s := m.Gate.Snapshot(BudgetKey(t, m.Tokens.ClientID(t)))
		if s.Window == 0 {
			continue // never called
		}
		for facet, use := range map[limits.LimitKind]limits.Use{limits.Requests: s.Requests, limits.ExecutionTime: s.ExecutionTime, limits.Concurrency: s.Concurrency} {
			gauge(budgetUsed, use.Used, t.Name, facet.String())
			gauge(budgetLimit, use.Limit, t.Name, facet.String())
			for event, counts := range map[string]uint64{"waited": s.Waited[facet], "refused": s.Refused[facet], "throttled": s.Throttled[facet], "would_wait": s.WouldWait[facet]} {
				metrics <- prometheus.MustNewConstMetric(budgetEvents, prometheus.CounterValue, float64(counts), t.Name, facet.String(), event)
			}
		}
		gauge(budgetQueue, float64(s.Waiting), t.Name)
		gauge(budgetClosed, s.ClosedFor.Seconds(), t.Name)
		gauge(budgetOperations, float64(s.Operations), t.Name)
	}
}
