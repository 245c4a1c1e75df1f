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
	tallies  tallies
	inFlight prometheus.Gauge
	callers  *prometheus.CounterVec
	in, out  prometheus.Counter // bytes of bodies

	overhead  prometheus.Histogram
	exemplars [len(overheadBuckets) + 1]atomic.Int64 // the second in which a bucket had its last one

	mu      sync.RWMutex // guards what follows
	calling map[callerKey]prometheus.Counter
}

// callerKey is what calls of a configured caller that count in one series have
// in common.
type callerKey struct {
	caller string
	class  int // of the status: 2 for 2xx
}

// overheadBuckets are in seconds.
var overheadBuckets = [...]float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}

// NewMetrics returns the collectors of a Handler and registers them with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dynproxy_body_bytes_total", Help: "Bytes of bodies, from callers (in) and to callers (out).",
	}, []string{"direction"})
	m := &Metrics{
		calling: make(map[callerKey]prometheus.Counter), in: bytes.WithLabelValues("in"), out: bytes.WithLabelValues("out"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "dynproxy_requests_in_flight", Help: "Calls being served."}),
		callers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynproxy_caller_requests_total", Help: "Calls answered, by configured caller and class of status.",
		}, []string{"caller", "status"}),
		overhead: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dynproxy_overhead_seconds", Help: "The proxy's own part of a call's time: without waiting for the caller, a place, a token or the organization.",
			Buckets: overheadBuckets[:],
		}),
	}
	r.MustRegister(&m.tallies, m.inFlight, m.callers, m.overhead, bytes)
	return m
}

// count counts a call that has ended.
func (m *Metrics) count(c *call, done *calls.Call) {
	m.inFlight.Dec()
	m.tallies.count(done)
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
	m.tallies.keep(tenant)
	callers := make(map[string]bool)
	m.mu.RLock()
	for key := range m.calling {
		if !caller(key.caller) {
			callers[key.caller] = true
		}
	}
	m.mu.RUnlock()
	for name := range callers {
		m.forgetCaller(name)
	}
}

func (m *Metrics) forgetCaller(caller string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.calling, func(key callerKey, _ prometheus.Counter) bool { return key.caller == caller })
	m.callers.DeletePartialMatch(prometheus.Labels{"caller": caller})
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
