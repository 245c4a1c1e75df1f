package status

import (
	"maps"
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
	mu      sync.RWMutex       // guards what follows
	tenants map[string]*record // by name
}

// record is one tenant's.
type record struct {
	mu       sync.Mutex // guards what follows
	calls    []minute   // those that had some, the oldest first
	success  time.Time
	failures []Failure
	trouble  *Trouble  // nil for none
	doubted  bool      // whether a check has said that the tenant is broken since the last success
	looked   time.Time // when failing calls have last started a check
}

// minute is how many calls ended in one, counted since 1970.
type minute struct{ at, calls uint32 }

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
	r := b.make(o.Tenant)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(now)
	if o.Failure == "" {
		turned = r.success.IsZero() || r.trouble != nil || r.doubted
		r.success, r.trouble, r.doubted = now, nil, false
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
	if r.trouble == nil {
		r.trouble = new(Trouble)
	}
	return r.trouble.add(o, of, now), doubted
}

// of returns the tenant's record, nil if there is none.
func (b *traffic) of(tenant string) *record {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.tenants[tenant]
}

// make is of, and makes one if there is none.
func (b *traffic) make(tenant string) *record {
	if r := b.of(tenant); r != nil {
		return r
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.tenants[tenant]
	if r == nil {
		if b.tenants == nil {
			b.tenants = make(map[string]*record)
		}
		r = new(record)
		b.tenants[tenant] = r
	}
	return r
}

// lookAgain is how long after a check that failing calls have started they may
// start the next.
const lookAgain = 10 * time.Second

func minuteOf(t time.Time) uint32 { return uint32(t.Unix() / 60) }

// count counts a call, and forgets those that are too long ago.
func (r *record) count(now time.Time) {
	at := minuteOf(now)
	if n := len(r.calls); n > 0 && r.calls[n-1].at >= at { // clocks are set back
		r.calls[n-1].calls++
		return
	}
	r.calls = append(slices.DeleteFunc(r.calls, func(m minute) bool { return at-m.at >= minutes }), minute{at, 1})
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
	r := b.of(tenant)
	if r == nil {
		return seen
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := minuteOf(time.Now())
	for _, m := range r.calls {
		if ago := int(now) - int(m.at); ago < minutes {
			seen.Calls[minutes-1-max(ago, 0)] += int(m.calls)
		}
	}
	seen.Success = r.success
	seen.Failures = slices.Clone(r.failures)
	slices.SortFunc(seen.Failures, func(a, b Failure) int { return b.Last.Compare(a.Last) })
	return seen
}

// lastHour is how many calls of the tenant there were in the last hour.
func (b *traffic) lastHour(tenant string) (sum int) {
	r := b.of(tenant)
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := minuteOf(time.Now())
	for _, m := range r.calls {
		if int(now)-int(m.at) < minutes {
			sum += int(m.calls)
		}
	}
	return sum
}

// success is when a call of the tenant last succeeded, the zero Time if none
// did.
func (b *traffic) success(tenant string) time.Time {
	r := b.of(tenant)
	if r == nil {
		return time.Time{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.success
}

// trouble is what calls of the tenant fail of, nil if they do not.
func (b *traffic) trouble(tenant string) *Trouble {
	r := b.of(tenant)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == nil {
		return nil
	}
	trouble := *r.trouble
	return &trouble
}

// doubt notes that a check finds the tenant broken: the next success is news.
func (b *traffic) doubt(tenant string) {
	if r := b.of(tenant); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.doubted = true
	}
}

// clear notes that a check finds all well.
func (b *traffic) clear(tenant string) {
	if r := b.of(tenant); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if t := r.trouble; t != nil && !t.cleared {
			t.cleared, t.against = true, 0
		}
	}
}

// pardon forgets what calls failed of: the tenant's settings are others now.
func (b *traffic) pardon(tenant string) {
	if r := b.of(tenant); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.trouble = nil
	}
}

// retain drops all tenants but those that are there.
func (b *traffic) retain(there map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.tenants, func(tenant string, _ *record) bool { return !there[tenant] })
}
