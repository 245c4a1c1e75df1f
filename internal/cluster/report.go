package cluster

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Report is what GET /api/cluster answers.
type Report struct {
	Members []Member `json:"members"`
	Redis   State    `json:"redis"`
}

// ServeHTTP answers with a Report.
func (c *Client) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(Report{c.Members(), c.State()})
}

// follow tells the log of each change, and of each reason once.
func (c *Client) follow() {
	told := make(map[string]bool)
	c.turned = func(s State) {
		if s.State == Shared {
			clear(told)
			c.log.Info().Str("member", c.name).Msg("Redis can be used: this proxy is one with the others")
			return
		}
		if !told[s.Error] {
			told[s.Error] = true
			c.log.Warn().Str("member", c.name).Str("reason", s.Error).
				Msg("Redis cannot be used: this proxy goes on alone, with its share of the limits")
		}
	}
}

var (
	stateDesc     = prometheus.NewDesc("dynproxy_redis_state", "1 for how the proxy stands with Redis: shared, alone (Redis cannot be used) or off.", []string{"state"}, nil)
	membersDesc   = prometheus.NewDesc("dynproxy_cluster_members", "Proxies that are one through Redis, as far as is known.", nil, nil)
	exchangesDesc = prometheus.NewDesc("dynproxy_redis_exchanges_total", "Exchanges with Redis.", nil, nil)
	failuresDesc  = prometheus.NewDesc("dynproxy_redis_failures_total", "Exchanges with Redis that failed or took too long.", nil, nil)
)

// Describe is prometheus.Collector's.
func (c *Client) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{stateDesc, membersDesc, exchangesDesc, failuresDesc} {
		descs <- d
	}
}

// Collect is prometheus.Collector's.
func (c *Client) Collect(metrics chan<- prometheus.Metric) {
	now := c.State().State
	for _, state := range []string{Shared, Alone, Off} {
		is := 0.0
		if state == now {
			is = 1
		}
		metrics <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, is, state)
	}
	metrics <- prometheus.MustNewConstMetric(membersDesc, prometheus.GaugeValue, float64(c.Size()))
	metrics <- prometheus.MustNewConstMetric(exchangesDesc, prometheus.CounterValue, float64(c.exchanges.Load()))
	metrics <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(c.failures.Load()))
}
