package proxy

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/calls"
)

// Metrics counts calls. Its labels are bounded: tenants are those of the book,
// codes those of the contract.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	attempts *prometheus.CounterVec
	callers  *prometheus.CounterVec
	in, out  prometheus.Counter // bytes of bodies

	overhead  prometheus.Histogram
	exemplars [len(overheadBuckets) + 1]atomic.Int64 // the second in which a bucket had its last one

	mu      sync.RWMutex // guards what follows
	known   map[seriesKey]*series
	calling map[callerKey]prometheus.Counter
}

// seriesKey is what calls that count in the same series have in common.
type seriesKey struct {
	tenant string
	class  int // of the status: 2 for 2xx
	code   string
}

// callerKey is seriesKey for a configured caller.
type callerKey struct {
	caller string
	class  int
}

// overheadBuckets are in seconds.
var overheadBuckets = [...]float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}

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
		known: make(map[seriesKey]*series), calling: make(map[callerKey]prometheus.Counter), in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
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
		callers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynproxy_caller_requests_total", Help: "Calls answered, by configured caller and class of status.",
		}, []string{"caller", "status"}),
		overhead: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dynproxy_overhead_seconds", Help: "The proxy's own part of a call's time: without waiting for the caller, a place, a token or the organization.",
			Buckets: overheadBuckets[:],
		}),
	}
	r.MustRegister(m.requests, m.duration, m.inFlight, m.attempts, m.callers, m.overhead, bytes)
	return m
}

// count counts a call that has ended.
func (m *Metrics) count(c *call, done *calls.Call) {
	m.inFlight.Dec()
	s := m.series(seriesKey{done.Tenant, done.Status / 100, done.Error})
	s.requests.Inc()
	s.duration.Observe(done.Total.Seconds())
	s.attempts.Add(float64(done.Attempts))
	m.in.Add(float64(done.In))
	m.out.Add(float64(done.Out))
	if c.known != nil {
		m.ofCaller(callerKey{c.known.Name, done.Status / 100}).Inc()
	}
	m.own(done)
}

// own counts the proxy's own part. Once a second a bucket remembers a call, by
// which the slow ones can be looked up.
func (m *Metrics) own(done *calls.Call) {
	took := done.Own.Seconds()
	bucket, _ := slices.BinarySearch(overheadBuckets[:], took)
	last, now := m.exemplars[bucket].Load(), done.Time.Unix()
	if last == now || !m.exemplars[bucket].CompareAndSwap(last, now) {
		m.overhead.Observe(took)
		return
	}
	m.overhead.(prometheus.ExemplarObserver).ObserveWithExemplar(took, prometheus.Labels{"request_id": done.ID})
}

// Keep drops the figures of tenants and callers that are gone: a call that was
// in flight counts after them. tenant and caller report whether there is one of
// that name.
func (m *Metrics) Keep(tenant, caller func(name string) bool) {
	tenants, callers := make(map[string]bool), make(map[string]bool)
	m.mu.RLock()
	for key := range m.known {
		if key.tenant != "" && !tenant(key.tenant) {
			tenants[key.tenant] = true
		}
	}
	for key := range m.calling {
		if !caller(key.caller) {
			callers[key.caller] = true
		}
	}
	m.mu.RUnlock()
	for name := range tenants {
		m.forgetTenant(name)
	}
	for name := range callers {
		m.forgetCaller(name)
	}
}

// tenants are those that were called.
func (m *Metrics) tenants() map[string]bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	called := make(map[string]bool)
	for key := range m.known {
		called[key.tenant] = true
	}
	return called
}

func (m *Metrics) forgetCaller(caller string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.calling, func(key callerKey, _ prometheus.Counter) bool { return key.caller == caller })
	m.callers.DeletePartialMatch(prometheus.Labels{"caller": caller})
}

func (m *Metrics) forgetTenant(tenant string) {
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

// ofCaller returns where the calls of a configured caller count.
func (m *Metrics) ofCaller(key callerKey) prometheus.Counter {
	m.mu.RLock()
	counter := m.calling[key]
	m.mu.RUnlock()
	if counter != nil {
		return counter
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	counter = m.callers.WithLabelValues(key.caller, strconv.Itoa(key.class)+"xx")
	m.calling[key] = counter
	return counter
}
