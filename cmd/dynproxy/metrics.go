package main

import (
	"context"
	"crypto/tls"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"dynproxy/internal/logqueue"
	"dynproxy/proxy"
)

// registerMetrics registers what is known of the proxy as a whole. What a part
// counts it counts itself.
func (h *server) registerMetrics(lines *logqueue.Queue) {
	version := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dynproxy_build_info", Help: "1; what runs stands in the labels.",
		ConstLabels: prometheus.Labels{"version": release, "commit": commit(), "goversion": runtime.Version()},
	})
	version.Set(1)
	h.registry.MustRegister(
		version,
		gauge("dynproxy_draining", "1 while the proxy ends.", func() float64 {
			if h.ops.draining.Load() {
				return 1
			}
			return 0
		}),
		counter("dynproxy_log_lines_dropped_total", "Log lines that were lost, since nobody read them or they could not be written.", func() float64 { return float64(lines.Dropped()) }),
		gauge("dynproxy_log_queue_bytes", "Log lines that wait to be written.", func() float64 { return float64(lines.Pending()) }),
		counter("dynproxy_wrong_passwords_total", "Wrong passwords of operators.", func() float64 { return float64(h.ops.door.Wrong()) }),
		h.ops.consents, facts{h}, h.cluster,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		h.tokens, h.board, &proxy.BudgetMetrics{Tenants: h.book, Gate: h.gate, Tokens: h.tokens, Calls: h.metrics},
	)
	h.registry.MustRegister(h.spool.Metrics()...)
	h.registry.MustRegister(sizeOf(h.remembered)...)
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func counter(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
}

var (
	certificateDesc = prometheus.NewDesc("dynproxy_certificate_expiry_seconds", "Seconds until a certificate ends that the proxy shows, or by which it knows callers.", []string{"certificate"}, nil)
	faultsDesc      = prometheus.NewDesc("dynproxy_config_faults", "Settings that cannot be used: files of tenants and callers, directories that cannot be read, and settings that were read again.", []string{"kind"}, nil)
)

// facts are collected when they are asked for.
type facts struct{ *server }

// Describe is prometheus.Collector's.
func (facts) Describe(descs chan<- *prometheus.Desc) {
	descs <- certificateDesc
	descs <- faultsDesc
}

// Collect is prometheus.Collector's.
func (f facts) Collect(metrics chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, value float64, label string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
	}
	for name, ends := range f.certificates() {
		tell(certificateDesc, time.Until(ends).Seconds(), name)
	}
	one := func(err error) float64 {
		if err != nil {
			return 1
		}
		return 0
	}
	tell(faultsDesc, float64(len(f.book.Faults())), "tenant")
	tell(faultsDesc, float64(len(f.callers.Faults())), "caller")
	tell(faultsDesc, one(f.book.DirectoryFault()), "tenants_dir")
	tell(faultsDesc, one(f.callers.DirectoryFault()), "callers_dir")
	tell(faultsDesc, float64(f.settingsFaults()), "settings")
}

// certificates are when each ends: callers and operators for those that are
// shown to them, caller_ca for the first authority that ends.
func (f facts) certificates() map[string]time.Time {
	ends := make(map[string]time.Time)
	for name, over := range map[string]*tls.Config{"callers": f.guards.callersTLS, "operators": f.guards.operatorsTLS} {
		if at := certificateEnds(over); !at.IsZero() {
			ends[name] = at
		}
	}
	if a := f.guards.authorities; a != nil {
		ends["caller_ca"] = a.Ends()
	}
	return ends
}

// sweep keeps what is known of tenants and callers to those there are, until
// ctx ends: calls in flight leave something behind.
func (h *server) sweep(ctx context.Context) {
	every := time.NewTicker(sweepEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			h.tokens.Sweep(h.book.All())
			h.keepMetrics()
		}
	}
}

// sweepEvery is how often what calls in flight have left behind of tenants that
// are gone is dropped.
const sweepEvery = time.Minute

func (h *server) keepMetrics() {
	h.metrics.Keep(
		func(tenant string) bool { return h.book.Lookup(tenant) != nil || h.book.Faults()[tenant] != nil },
		func(caller string) bool { return h.callers.Lookup(caller) != nil },
	)
}
