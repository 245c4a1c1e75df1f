package limits

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// apart is what a ledger goes by while the store cannot be used: of what the
// limit leaves beside all that was known to be in the window, the part that
// falls to each proxy.
type apart struct {
	isApart  bool
	since    time.Duration
	why      error
	failures int // in a row
	proxies  int
	returnAt time.Duration

	requestsThen, millisThen uint64 // our own, ever, of which the ring knows
	heldThen                 others // by others
}

const (
	soonest = 250 * time.Millisecond // between tries to come back
	latest  = 5 * time.Second
)

// pause is how long until the store is tried again: spread, and the longer the
// longer it is gone.
func (x *sharing) pause() time.Duration {
	if x.why == errYoung {
		return soonest
	}
	most := min(soonest<<min(x.failures, 5), latest)
	return soonest + rand.N(most-soonest+1)
}

// among is by how many the limit is divided.
func (x *sharing) among() int { return max(1, x.proxies) }

func (l *ledger) goApart(now time.Duration, why error) {
	x := l.shared
	if x.why = why; x.isApart {
		return
	}
	x.isApart, x.since, x.proxies = true, now, x.store.Size()
	x.heldThen = x.others
	x.allow, x.reserved = 0, 0
	l.window(Requests, now)
	l.paceApart(now)
}

// rejoin ends it. What was spent meanwhile the report has told.
func (l *ledger) rejoin(now time.Duration) {
	x := l.shared
	if !x.isApart {
		return
	}
	x.isApart, x.why, x.proxies = false, nil, 0
	x.allow = l.requests.ever() + uint64(l.counted)
	l.paceApart(now)
}

// paceApart keeps RATE to our part of it, and lifts that again.
func (l *ledger) paceApart(now time.Duration) {
	if l.rate != nil {
		l.rate.SetLimitAt(l.gate.epoch.Add(now), rate.Limit(l.budget.Rate/float64(l.shared.among())))
		l.rate.SetBurstAt(l.gate.epoch.Add(now), max(1, l.budget.Burst/l.shared.among()))
	}
}

// window is the window of all proxies, by the store's clock, as far as it is
// known. It is made of the last grant's ring when it is first asked for.
func (l *ledger) window(kind LimitKind, now time.Duration) *slidingWindow {
	x := l.shared
	if !x.read {
		x.read = true
		for i := range x.windows {
			x.windows[i] = x.ring.window(4 * i)
		}
	}
	w := &x.windows[kind-Requests]
	if w.slice > 0 {
		w.advance(now + x.offset)
	}
	return w
}

// window reads one half of the ring.
func (r Ring) window(first int) slidingWindow {
	w := slidingWindow{slice: r.Width, n: windowSlices, last: r.Newest}
	for number := r.Newest - windowSlices; number <= r.Newest; number++ {
		at := 8*int(number%ringSlices) + first
		if number >= 0 && at+4 <= len(r.Bytes) {
			w.put(number, uint64(binary.BigEndian.Uint32([]byte(r.Bytes[at:at+4]))))
		}
	}
	return w
}

// emptiedApart is what leaves no room for one more call while we are apart.
func (l *ledger) emptiedApart(now time.Duration) block {
	if l.apartRoom(now) < 1-rounding {
		return block{Requests, Spent, now + l.requests.slice}
	}
	if b := l.execution.blocked(now, l.pending(now)+l.apartElsewhere(ExecutionTime, now), 0, l.guess()); b != NoReason {
		return block{ExecutionTime, b, now + l.requests.slice}
	}
	return block{}
}

// apartRoom is how many requests may be admitted now.
func (l *ledger) apartRoom(now time.Duration) float64 {
	x := l.shared
	limit := l.requests.open(now, 1) + l.requests.biasNow(now)
	own := float64(l.requests.sum-l.requests.left(x.requestsThen)) + float64(l.counted)
	known := float64(l.window(Requests, now).sum) + x.heldAt(now, l.span).held
	n := float64(x.among())
	if limit/n < 1 && own == 0 { // somebody must be able to go
		return math.Min(1, limit-known)
	}
	return (limit-known)/n - own
}

// heldAt is what others held when we lost sight of them, as long as it counts.
func (x *sharing) heldAt(now, span time.Duration) others {
	if now-x.since > span {
		return others{}
	}
	return x.heldThen
}

// apartElsewhere is what of a limit is not ours: what is known to be used of
// it, and the parts of the other proxies of the rest.
func (l *ledger) apartElsewhere(kind LimitKind, now time.Duration) float64 {
	x := l.shared
	m, then := &l.requests, x.requestsThen
	held := x.heldAt(now, l.span)
	used := held.held
	if kind == ExecutionTime {
		m, then, used = &l.execution, x.millisThen, held.millisHeld
	}
	limit := m.limit()
	if math.IsInf(limit, 1) {
		return 0
	}
	known := float64(l.window(kind, now).sum) + used
	share := math.Max(0, limit-known) / float64(x.among())
	return math.Max(0, limit-share-float64(m.left(then)))
}

// unseen is what other proxies may spend meanwhile without our seeing it.
func (l *ledger) unseen(kind LimitKind, now time.Duration) float64 {
	if l.shared == nil || !l.shared.isApart {
		return 0
	}
	return l.apartElsewhere(kind, now)
}
