package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	tenantsDesc     = prometheus.NewDesc("dynproxy_tenants", "Tenants, by state.", []string{"state"}, nil)
	stateDesc       = prometheus.NewDesc("dynproxy_tenant_state", "1 for the state that a tenant is in, of tenants that were called or want to be looked at.", []string{"tenant", "state"}, nil)
	successDesc     = prometheus.NewDesc("dynproxy_tenant_last_success_timestamp_seconds", "When a call of the tenant last succeeded.", []string{"tenant"}, nil)
	tokenExpiryDesc = prometheus.NewDesc("dynproxy_token_expiry_seconds", "Seconds until the token that is held for a tenant ends.", []string{"tenant"}, nil)
)

// Describe is prometheus.Collector's.
func (b *Board) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{tenantsDesc, stateDesc, successDesc, tokenExpiryDesc} {
		descs <- d
	}
}

// Collect is prometheus.Collector's. A tenant that is well and that nobody has
// called has no series of its own: there may be thousands of them.
func (b *Board) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	count := make(map[State]int)
	for _, name := range b.Names() {
		state, success := b.State(name), b.traffic.success(name)
		count[state]++
		if success.IsZero() && (state == Ready || state == Unchecked) {
			continue
		}
		gauge(stateDesc, 1, name, string(state))
		if !success.IsZero() {
			gauge(successDesc, float64(success.UnixMilli())/1000, name)
		}
		if t := b.Tenants.Lookup(name); t != nil {
			if ends, _, _ := b.Tokens.Held(t); !ends.IsZero() {
				gauge(tokenExpiryDesc, time.Until(ends).Seconds(), name)
			}
		}
	}
	for _, state := range States() {
		gauge(tenantsDesc, float64(count[state]), string(state))
	}
}
