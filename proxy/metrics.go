package proxy

import (
	"maps"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts calls. Its labels are bounded: tenants are those of the book,
// codes those of the contract.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	attempts *prometheus.CounterVec
	in, out  prometheus.Counter // bytes of bodies

	mu    sync.RWMutex // guards known
	known map[seriesKey]*series
}

// seriesKey is what calls that count in the same series have in common.
type seriesKey struct {
	tenant string
	class  int // of the status: 2 for 2xx
	code   string
}

// series are the figures of such calls, looked up once.
type series struct {
	requests, attempts prometheus.Counter
	duration           prometheus.Observer
}

// NewMetrics returns the collectors of a Handler and registers them with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dynproxy_body_bytes_total", Help: "Bytes of bodies, from callers (in) and to callers (out).",
	}, []string{"direction"})
	m := &Metrics{
		known: make(map[seriesKey]*series), in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynproxy_requests_total", Help: "Calls answered, by tenant, class of status, and the proxy's own error code.",
		}, []string{"tenant", "status", "error"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dynproxy_request_duration_seconds", Help: "Time from a call's arrival to the end of its answer.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120},
		}, []string{"tenant"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dynproxy_requests_in_flight", Help: "Calls being served."}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynproxy_upstream_attempts_total", Help: "Requests sent to organizations, those sent again included.",
		}, []string{"tenant"}),
	}
	r.MustRegister(m.requests, m.duration, m.inFlight, m.attempts, bytes)
	return m
}

// Forget drops the figures of a tenant that is gone.
func (m *Metrics) Forget(tenant string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.known, func(key seriesKey, _ *series) bool { return key.tenant == tenant })
	label := prometheus.Labels{"tenant": tenant}
	m.requests.DeletePartialMatch(label)
	m.duration.DeletePartialMatch(label)
	m.attempts.DeletePartialMatch(label)
}

// series returns where a call counts.
func (m *Metrics) series(key seriesKey) *series {
	m.mu.RLock()
	s := m.known[key]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s = &series{
		requests: m.requests.WithLabelValues(key.tenant, strconv.Itoa(key.class)+"xx", key.code),
		duration: m.duration.WithLabelValues(key.tenant),
		attempts: m.attempts.WithLabelValues(key.tenant),
	}
	m.known[key] = s
	return s
}
