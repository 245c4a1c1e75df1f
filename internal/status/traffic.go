package status

import (
	"slices"
	"sync"
	"time"
)

// minutes is how far back calls are counted.
const minutes = 60

// maxFailures is how many kinds of failure are kept apart for a tenant.
const maxFailures = 12

// traffic remembers of each tenant how its calls went lately: how many in each
// of the last minutes, the last success, and what failed. It is bounded: about a
// kilobyte a tenant, whatever comes. The zero value is empty and ready.
type traffic struct {
	tenants sync.Map // name to *record
}

// record is one tenant's.
type record struct {
	mu       sync.Mutex // guards what follows
	calls    [minutes]uint32
	minute   int64 // that calls[minute%minutes] counts
	success  time.Time
	failures []Failure
}

// Failure is what failed in one way.
type Failure struct {
	Code  string    `json:"code"` // error.code, or "status 503"
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
}

// view is a picture of one tenant's record.
type view struct {
	Calls    []int // a minute, the oldest first, minutes of them
	Success  time.Time
	Failures []Failure // the latest first
}

// note notes a call that ended. code is "" for a success.
func (b *traffic) note(tenant, code string) {
	v, ok := b.tenants.Load(tenant)
	if !ok {
		v, _ = b.tenants.LoadOrStore(tenant, &record{})
	}
	r := v.(*record)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(now)
	r.calls[r.minute%minutes]++
	if code == "" {
		r.success = now
		return
	}
	r.failed(code, now)
}

func (r *record) advance(now time.Time) {
	minute := now.Unix() / 60
	if minute-r.minute >= minutes {
		clear(r.calls[:])
		r.minute = minute
		return
	}
	for r.minute < minute {
		r.minute++
		r.calls[r.minute%minutes] = 0
	}
}

// failed counts a failure; of too many kinds the one that is longest ago goes.
func (r *record) failed(code string, now time.Time) {
	for i := range r.failures {
		if f := &r.failures[i]; f.Code == code {
			f.Count++
			f.Last = now
			return
		}
	}
	if len(r.failures) == maxFailures {
		oldest := 0
		for i, f := range r.failures {
			if f.Last.Before(r.failures[oldest].Last) {
				oldest = i
			}
		}
		r.failures = slices.Delete(r.failures, oldest, oldest+1)
	}
	r.failures = append(r.failures, Failure{code, 1, now})
}

// view returns the tenant's record, the zero view with no calls if there is
// none.
func (b *traffic) view(tenant string) view {
	seen := view{Calls: make([]int, minutes)}
	v, ok := b.tenants.Load(tenant)
	if !ok {
		return seen
	}
	r := v.(*record)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(time.Now())
	for i := range minutes {
		seen.Calls[i] = int(r.calls[(r.minute+1+int64(i))%minutes])
	}
	seen.Success = r.success
	seen.Failures = slices.Clone(r.failures)
	slices.SortFunc(seen.Failures, func(a, b Failure) int { return b.Last.Compare(a.Last) })
	return seen
}

// success is when a call of the tenant last succeeded, the zero Time if none
// did.
func (b *traffic) success(tenant string) time.Time {
	v, ok := b.tenants.Load(tenant)
	if !ok {
		return time.Time{}
	}
	r := v.(*record)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.success
}

// forget drops a tenant that is gone.
func (b *traffic) forget(tenant string) { b.tenants.Delete(tenant) }
