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
	trouble  Trouble
	doubted  bool      // whether a check has said that the tenant is broken since the last success
	looked   time.Time // when failing calls have last started a check
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

// note notes a call that ended. turned says that the tenant's state may be
// another now, doubted that it is time to look whether the tenant itself is at
// fault.
func (b *traffic) note(o *Outcome) (turned, doubted bool) {
	v, ok := b.tenants.Load(o.Tenant)
	if !ok {
		v, _ = b.tenants.LoadOrStore(o.Tenant, &record{})
	}
	r := v.(*record)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(now)
	r.calls[r.minute%minutes]++
	if o.Failure == "" {
		turned = r.success.IsZero() || r.trouble.Count > 0 || r.doubted
		r.success, r.trouble, r.doubted = now, Trouble{}, false
		return turned, false
	}
	r.failed(o.Failure, now)
	of := o.blame()
	if of == theCaller {
		return false, false
	}
	if doubted = now.Sub(r.looked) >= lookAgain; doubted {
		r.looked = now
	}
	return r.trouble.add(o.Failure, of, now), doubted
}

// lookAgain is how long after a check that failing calls have started they may
// start the next.
const lookAgain = 10 * time.Second

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

// trouble is what calls of the tenant fail of, nil if they do not.
func (b *traffic) trouble(tenant string) *Trouble {
	v, ok := b.tenants.Load(tenant)
	if !ok {
		return nil
	}
	r := v.(*record)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble.Count == 0 {
		return nil
	}
	trouble := r.trouble
	return &trouble
}

// doubt notes that a check finds the tenant broken: the next success is news.
func (b *traffic) doubt(tenant string) {
	if v, ok := b.tenants.Load(tenant); ok {
		r := v.(*record)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.doubted = true
	}
}

// clear notes that a check finds all well.
func (b *traffic) clear(tenant string) {
	if v, ok := b.tenants.Load(tenant); ok {
		r := v.(*record)
		r.mu.Lock()
		defer r.mu.Unlock()
		if t := &r.trouble; t.Count > 0 && !t.cleared {
			t.cleared, t.against = true, 0
		}
	}
}

// pardon forgets what calls failed of: the tenant's settings are others now.
func (b *traffic) pardon(tenant string) {
	if v, ok := b.tenants.Load(tenant); ok {
		r := v.(*record)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.trouble = Trouble{}
	}
}

// retain drops all tenants but those that are there.
func (b *traffic) retain(there map[string]bool) {
	b.tenants.Range(func(tenant, _ any) bool {
		if !there[tenant.(string)] {
			b.tenants.Delete(tenant)
		}
		return true
	})
}
