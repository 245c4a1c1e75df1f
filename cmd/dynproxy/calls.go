package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/calls"
	"dynproxy/internal/problem"
)

// callDone tells a finished call to whoever keeps count.
func (h *server) callDone(c *calls.Call) {
	h.remembered.Add(c)
	if c.Tenant != "" && c.Error != string(problem.CallerLeft) {
		h.board.OnCallDone(c.Tenant, c.Failure())
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
