package proxy

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/internal/calls"
)

// tallies count the calls of each tenant, and show them as prometheus.Collector.
// Vectors of the library would take two kilobytes a tenant for it, of ten
// thousand that may be there.
type tallies struct {
	mu  sync.RWMutex      // guards what follows
	all map[string]*tally // by tenant, "" for calls that came to none
}

// tally is what was counted of one tenant.
type tally struct {
	mu       sync.Mutex // guards what follows
	outcomes []outcome
	attempts uint64
	took     time.Duration                    // all in all
	buckets  [len(durationBuckets) + 1]uint64 // calls that took so long
}

// outcome is how many calls ended in one way.
type outcome struct {
	class int // of the status: 2 for 2xx
	code  string
	calls uint64
}

// durationBuckets are in seconds.
var durationBuckets = [...]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120}

var (
	requestsDesc = prometheus.NewDesc("dynproxy_requests_total", "Calls answered, by tenant, class of status, and the proxy's own error code.", []string{"tenant", "status", "error"}, nil)
	durationDesc = prometheus.NewDesc("dynproxy_request_duration_seconds", "Time from a call's arrival to the end of its answer.", []string{"tenant"}, nil)
	attemptsDesc = prometheus.NewDesc("dynproxy_upstream_attempts_total", "Requests sent to organizations, those sent again included.", []string{"tenant"}, nil)
)

// count counts a call that has ended.
func (t *tallies) count(done *calls.Call) {
	one := t.of(done.Tenant)
	bucket, _ := slices.BinarySearch(durationBuckets[:], done.Total.Seconds())
	one.mu.Lock()
	defer one.mu.Unlock()
	one.buckets[bucket]++
	one.took += done.Total
	one.attempts += uint64(done.Attempts)
	for i := range one.outcomes {
		if o := &one.outcomes[i]; o.class == done.Status/100 && o.code == done.Error {
			o.calls++
			return
		}
	}
	one.outcomes = append(one.outcomes, outcome{done.Status / 100, done.Error, 1})
}

func (t *tallies) of(tenant string) *tally {
	t.mu.RLock()
	one := t.all[tenant]
	t.mu.RUnlock()
	if one != nil {
		return one
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if one = t.all[tenant]; one == nil {
		if t.all == nil {
			t.all = make(map[string]*tally)
		}
		one = new(tally)
		t.all[tenant] = one
	}
	return one
}

// called reports whether there was a call of the tenant.
func (t *tallies) called(tenant string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.all[tenant] != nil
}

// keep drops what was counted of tenants that there are none of.
func (t *tallies) keep(there func(tenant string) bool) {
	var gone []string
	t.mu.RLock()
	for tenant := range t.all {
		if tenant != "" && !there(tenant) {
			gone = append(gone, tenant)
		}
	}
	t.mu.RUnlock()
	if len(gone) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tenant := range gone {
		delete(t.all, tenant)
	}
}

// Describe is prometheus.Collector's.
func (t *tallies) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, durationDesc, attemptsDesc} {
		descs <- d
	}
}

// Collect is prometheus.Collector's.
func (t *tallies) Collect(metrics chan<- prometheus.Metric) {
	type named struct {
		tenant string
		*tally
	}
	t.mu.RLock()
	all := make([]named, 0, len(t.all))
	for tenant, one := range t.all {
		all = append(all, named{tenant, one})
	}
	t.mu.RUnlock()
	for _, one := range all {
		one.collect(one.tenant, metrics)
	}
}

func (t *tally) collect(tenant string, metrics chan<- prometheus.Metric) {
	t.mu.Lock()
	outcomes, attempts, took, buckets := slices.Clone(t.outcomes), t.attempts, t.took, t.buckets
	t.mu.Unlock()
	if len(outcomes) == 0 {
		return // its first call is about to be counted
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, o := range outcomes {
		counter(requestsDesc, o.calls, tenant, strconv.Itoa(o.class)+"xx", o.code)
	}
	counter(attemptsDesc, attempts, tenant)
	within, sum := make(map[float64]uint64, len(durationBuckets)), uint64(0)
	for i, most := range durationBuckets {
		sum += buckets[i]
		within[most] = sum
	}
	metrics <- prometheus.MustNewConstHistogram(durationDesc, sum+buckets[len(durationBuckets)], took.Seconds(), within, tenant)
}
