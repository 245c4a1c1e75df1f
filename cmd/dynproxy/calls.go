package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/calls"
	"dynproxy/internal/problem"
	"dynproxy/internal/status"
	"dynproxy/internal/trend"
	"dynproxy/internal/usage"
)

// callDone tells a finished call to whoever keeps count.
func (h *server) callDone(c *calls.Call) {
	h.remembered.Add(c)
	if c.Tenant == "" {
		return
	}
	count := usage.Call{Tenant: c.Tenant, Caller: c.Caller, Path: c.OrgPath, Failed: c.Failed(), At: c.Time}
	if c.Attempts > 0 {
		count.Operations = max(1, c.Operations)
	}
	h.past.Usage.Count(&count)
	h.past.Trend.Count(&trend.Call{
		Tenant: c.Tenant, Failed: c.Failed(), Refused: c.Error == string(problem.LimitWaitExceeded), At: c.Time,
		Own: c.Own, Queue: c.Queue, Upstream: c.Upstream,
	})
	if c.Error != string(problem.CallerLeft) {
		h.board.OnCallDone(status.Outcome{Tenant: c.Tenant, Failure: c.Failure(), Error: c.Error, Status: c.Status, Hint: c.Hint, Next: c.Next})
	}
}

// sizeOf are the metrics of what is remembered of calls.
func sizeOf(remembered *calls.Ring) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dynproxy_calls_remembered", Help: "Calls that can be looked up by their id."}, func() float64 {
			n, _ := remembered.Size()
			return float64(n)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dynproxy_calls_remembered_bytes", Help: "About how much memory they take; 64 MiB at most."}, func() float64 {
			_, bytes := remembered.Size()
			return float64(bytes)
		}),
	}
}

// entitlement is how many requests a day a tenant has paid for, as far as that
// is set.
func (h *server) entitlement(tenant string) int {
	if t := h.book.Lookup(tenant); t != nil {
		return t.DailyRequests
	}
	return 0
}
