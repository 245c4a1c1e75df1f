package httpguard

import "github.com/prometheus/client_golang/prometheus"

// Metrics returns what g counts, under the name of its listener.
func (g *Guard) Metrics(listener string) []prometheus.Collector {
	label := prometheus.Labels{"listener": listener}
	count := func(metric, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "dynproxy_connections_" + metric + "_total", Help: help, ConstLabels: label},
			func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dynproxy_connections_open", Help: "Connections that are open.", ConstLabels: label},
			func() float64 { return float64(g.connections.taken()) }),
		count("rejected", "Connections closed at once, since all others were in use.", g.Rejected),
		count("evicted", "Connections closed while they waited, to make room for others.", g.evicted.Load),
		count("handshakes_failed", "TLS handshakes that failed.", g.failed.Load),
	}
}
