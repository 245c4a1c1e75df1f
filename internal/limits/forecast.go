package limits

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// forecast is what can be said about the wait of a call that comes now.
type forecast struct {
	kind   LimitKind // that makes it wait longest
	reason Reason
	least  time.Duration // it will wait no less, unless somebody ahead leaves
	likely time.Duration // after which it should find room
}

// retrySchedule remembers which refused calls were told to come again when, so that
// not all are told the same moment. A call that does not come, or comes too
// soon, costs the others no more than a later invitation.
type retrySchedule struct {
	moments []moment // in ascending order
	sum     int      // of their calls
}

type moment struct {
	at    time.Duration
	calls int
}

const (
	maxScheduled = 1000 // calls; those beyond are not remembered
	maxMoments   = 32   // later ones join the last
)

// expire forgets the promises that have come due.
func (p *retrySchedule) expire(now time.Duration) {
	n := 0
	for n < len(p.moments) && p.moments[n].at <= now {
		p.sum -= p.moments[n].calls
		n++
	}
	if p.moments = p.moments[n:]; len(p.moments) == 0 {
		p.moments = nil
	}
}

func (p *retrySchedule) add(at time.Duration) {
	if p.sum >= maxScheduled {
		return
	}
	p.sum++
	i, found := slices.BinarySearchFunc(p.moments, at, func(m moment, at time.Duration) int { return cmp.Compare(m.at, at) })
	if found {
		p.moments[i].calls++
		return
	}
	if len(p.moments) == maxMoments {
		p.moments[maxMoments-1].calls++
		return
	}
	p.moments = slices.Insert(p.moments, i, moment{at, 1})
}

// refuse tells a call that it would wait too long, and when to come again.
func (l *ledger) refuse(f forecast, now time.Duration) *Full {
	l.counters.odd().refused[f.kind]++
	wait := wholeSeconds(f.likely)
	l.retries.add(now + wait)
	l.counters.odd().refusedFor[f.reason]++
	return &Full{Kind: f.kind, Reason: f.reason, RetryAfter: wait}
}

// forecast looks at the queue and at each limit for one more call of s.
func (l *ledger) forecast(s *share, now time.Duration) forecast {
	turn := float64(len(s.queue) + 1)
	for _, other := range l.waiting {
		if other != s {
			turn += math.Min(float64(len(other.queue)), math.Ceil(float64(len(s.queue)+1)*other.weight/s.weight))
		}
	}
	l.retries.expire(now)
	later := turn + float64(l.retries.sum)
	b := l.blocked(s, now)
	f := forecast{kind: Concurrency, reason: Spent}
	if kind, until := l.cooldown.blocks(now, l.counted); kind != None {
		f.later(kind, until-now, until-now)
	}
	f.later(Requests, l.rateWait(now, turn), l.rateWait(now, later))

	requests, millis := l.keptFrom(s)
	if l.shared != nil {
		l.forecastShared(&f, now, turn, later)
	} else {
		f.counter(Requests, &l.requests, now, turn, later+requests, float64(l.counted), 1)
		if l.busy > 0 {
			f.counter(ExecutionTime, &l.execution, now, turn*l.busy, later*l.busy+millis, l.pending(now), l.guess())
		}
	}
	if places, _ := l.concurrency.places(now); b.kind == Concurrency || l.inFlight >= places {
		f.later(Concurrency, 0, time.Duration(later/float64(places)*l.held*1e6))
	}
	f.explain(b)
	return f
}

// explain tells what keeps the call out now where that is what makes it wait;
// what only those before it will have used up is spent.
func (f *forecast) explain(b block) {
	if b.kind == f.kind || f.likely == 0 && b.kind != None {
		f.kind, f.reason = b.kind, b.reason
	}
}

// counter adds the wait until a windowed budget has room for need, or for all:
// need, what is kept back for others and who was told to come again. Those,
// and what is held back, may turn out less: such waits are likely, not sure.
func (f *forecast) counter(kind LimitKind, m *budgetCounter, now time.Duration, need, all, pending, unit float64) {
	limit := m.limit()
	var least, likely time.Duration
	if short := need + float64(m.sum) + pending - m.highest() - math.Max(0, m.biasNow(now)); short > 0 {
		least = m.freed(short, limit) - now
	}
	if short := all - m.room(now, pending, unit); short > 0 {
		// Calls come up to a second late in every round, since they are told
		// whole seconds.
		late := math.Floor(short / math.Max(limit, 1))
		likely = m.freed(short, limit) - now + time.Duration(late)*time.Second
		likely = max(least, min(likely, m.tested(now, all/unit)))
	}
	f.later(kind, least, likely)
}

// later extends the wait.
func (f *forecast) later(kind LimitKind, least, likely time.Duration) {
	f.least = max(f.least, least)
	if likely > f.likely {
		f.kind, f.likely = kind, likely
	}
}

// forecastShared looks at the windows of all proxies: what others have used
// leaves them as our own does. What others only hold may come back at once.
func (l *ledger) forecastShared(f *forecast, now time.Duration, turn, later float64) {
	x := l.shared
	look := func(kind LimitKind, m *budgetCounter, need, all, pending, unit, held float64) {
		limit := m.limit()
		if x.isApart {
			if short := all - m.room(now, pending+l.apartElsewhere(kind, now), unit); short > 0 {
				f.later(kind, 0, time.Duration(math.Min(short/math.Max(limit, 1)*float64(x.among()), 100)*float64(l.span)))
			}
			return
		}
		w := l.window(kind, now)
		unbooked := math.Max(0, float64(m.sum)+x.served(kind)-float64(w.sum))
		var least, likely time.Duration
		if short := need + float64(w.sum) + unbooked + pending - m.highest() - math.Max(0, m.biasNow(now)); short > 0 && w.slice > 0 {
			least = w.freed(short, limit) - x.offset - now
		}
		if short := all + float64(w.sum) + unbooked + pending + held - m.open(now, unit) - m.biasNow(now); short > 0 && w.slice > 0 {
			likely = w.freed(short, limit) - x.offset - now + time.Duration(math.Floor(short/math.Max(limit, 1)))*time.Second
			likely = max(least, min(likely, m.tested(now, all/unit)))
		}
		f.later(kind, least, likely)
	}
	look(Requests, &l.requests, turn, later, float64(l.counted), 1, x.others.held)
	if l.busy > 0 {
		look(ExecutionTime, &l.execution, turn*l.busy, later*l.busy, l.pending(now), l.guess(), x.others.millisHeld)
	}
}
