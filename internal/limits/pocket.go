package limits

import (
	"hash/fnv"
	"math"
	"time"
)

// sharing is a ledger's part in a budget that several proxies spend together.
// It is guarded by the ledger's mutex.
//
// What may be admitted lies in a pocket, which exchanges with the Store fill:
// the ledger's own windows only say what this proxy has used. A pocket that is
// empty makes a call wait as a window does that is full.
type sharing struct {
	store Store
	key   Key

	sequence   int64
	generation string
	clock      time.Duration // the store's, of the last grant
	sent, got  time.Duration // when it was asked for, and when it came
	news       []settled     // not confirmed by the store, the oldest first

	allow    uint64  // requests that may be counted, ever
	reserved int     // of these, for callers for whom some are kept back
	base     float64 // limit for which the last grant was made
	places   int     // that are ours
	target   int     // that we shall come down to; zero: none
	limit    int     // of all places, when the last grant was made
	peak     int     // most in flight since the last report
	admitted int     // since the last report
	pace     float64 // admissions a second

	others  others
	ring    Ring
	offset  time.Duration    // of the store's clock, when the ring came
	windows [2]slidingWindow // the ring, read when it is asked for
	read    bool
	edge    time.Duration
	short   bool // somebody waits, anywhere, who could not be served
	unmet   bool // the last grant has not served all who wait here

	learning learning
	asking
	apart
}

// others is what the other proxies have used and hold, as the last grant said.
type others struct {
	served, held             float64 // requests
	millisServed, millisHeld float64
	places, inUse            int
	weight                   float64 // of their callers
}

// settled is what ended at one time.
type settled struct {
	at               time.Duration
	requests, millis uint64
}

// maxNews bounds what is remembered while the store cannot be told.
const maxNews = 64

func newSharing(store Store, key Key) *sharing {
	return &sharing{store: store, key: key}
}

// callerID names a caller for other proxies.
func callerID(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

// settle notes what the store must be told.
func (x *sharing) settle(now, slice time.Duration, requests, millis uint64) {
	if n := len(x.news); n > x.told && now-x.news[n-1].at < slice {
		x.news[n-1].at = now
		x.news[n-1].requests += requests
		x.news[n-1].millis += millis
		return
	}
	if len(x.news) >= maxNews && x.told == 0 {
		// Two that stand beside each other become one, of the later time.
		kept := x.news[:0]
		for i := 0; i+1 < len(x.news); i += 2 {
			a, b := x.news[i], x.news[i+1]
			kept = append(kept, settled{b.at, a.requests + b.requests, a.millis + b.millis})
		}
		x.news = kept
	}
	x.news = append(x.news, settled{now, requests, millis})
}

// pocket is how many requests may still be admitted.
func (l *ledger) pocket() int {
	return int(int64(l.shared.allow) - int64(l.requests.ever()) - int64(l.counted))
}

// usable is what is left of the pocket where the limit is less than it was when
// the pocket was filled.
func (l *ledger) usable(now time.Duration) float64 {
	open := l.requests.open(now, 1) + l.requests.biasNow(now)
	return float64(l.pocket()) - math.Max(0, l.shared.base-open)
}

// admit takes a request out of the pocket.
func (x *sharing) admit(s *share, inFlight int) {
	x.admitted++
	x.peak = max(x.peak, inFlight)
	if s.kept > 0 && x.reserved > 0 {
		x.reserved--
	}
}

// emptied is what leaves no room for the next call of s in the pocket.
func (l *ledger) emptied(s *share, now time.Duration) block {
	x := l.shared
	left, kept := l.usable(now), 0.0
	if s.kept <= 0 {
		kept = float64(max(0, x.reserved))
	}
	if left-kept < 1-rounding {
		return block{kind: Requests, reason: l.scarcity(left, now)}
	}
	if b := l.execution.blocked(now, l.pending(now)+x.others.millis(), 0, l.guess()); b != NoReason {
		return block{ExecutionTime, b, l.execution.nextTick()}
	}
	return block{}
}

// scarcity is why nothing is left in the pocket.
func (l *ledger) scarcity(left float64, now time.Duration) Reason {
	used := float64(l.counted) + l.shared.others.requests()
	switch {
	case left >= 1, l.shared.short && l.requests.room(now, used, 1) >= 1:
		return Share
	case l.shared.short && l.requests.limit()-float64(l.requests.sum)-used >= 1:
		return Learned
	}
	return Spent
}

func (o *others) requests() float64 { return o.served + o.held }
func (o *others) millis() float64   { return o.millisServed + o.millisHeld }

func (x *sharing) served(kind LimitKind) float64 {
	if kind == Requests {
		return x.others.served
	}
	return x.others.millisServed
}

// elsewhere is what other proxies use of a budget that is counted over the
// window, or may use: it is ours no more than what others use at all.
func (l *ledger) elsewhere(kind LimitKind, now time.Duration) float64 {
	x := l.shared
	switch {
	case x == nil:
		return 0
	case x.isApart:
		return l.apartElsewhere(kind, now)
	case kind == Requests:
		return x.others.requests()
	}
	return x.others.millis()
}

// certainElsewhere is what the organization must have counted of the others:
// what is about to leave the window it may have forgotten.
func (l *ledger) certainElsewhere(now time.Duration) (certain [limitKinds]float64) {
	x := l.shared
	if x == nil || x.isApart || x.others.served == 0 {
		return certain
	}
	for kind, served := range map[LimitKind]float64{Requests: x.others.served, ExecutionTime: x.others.millisServed} {
		certain[kind] = math.Max(0, served-float64(l.window(kind, now).oldest(l.fading()+x.windows[0].slice)))
	}
	return certain
}

// mine is how many places may be in flight here, and how many are free anywhere.
func (l *ledger) mine(places int) (here, free int) {
	x := l.shared
	if x == nil {
		return places, places - l.inFlight
	}
	if x.isApart {
		here = max(1, places/x.among())
		return here, here - l.inFlight
	}
	here = min(places, x.places)
	if x.target > 0 && x.target < here {
		here = x.target
	}
	return here, places - x.others.places - l.inFlight
}
