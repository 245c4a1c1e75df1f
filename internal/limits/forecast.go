package limits

import (
	"math"
	"time"
)

// forecast is what can be said about the wait of a call that comes now.
type forecast struct {
	facet  Facet         // that makes it wait longest
	least  time.Duration // it will wait no less, unless somebody ahead leaves
	likely time.Duration // after which it should find room
}

// full refuses the call and says when to come again.
func (f forecast) full() *Full {
	return &Full{Facet: f.facet, RetryAfter: max(1, (f.likely+time.Second-1)/time.Second) * time.Second}
}

// forecast looks at the queue and at each facet for one more call of s.
func (l *ledger) forecast(s *share, now time.Duration) forecast {
	turn := float64(len(s.queue) + 1)
	for _, other := range l.waiting {
		if other != s {
			turn += math.Min(float64(len(other.queue)), math.Ceil(float64(len(s.queue)+1)*other.weight/s.weight))
		}
	}
	f := forecast{facet: Concurrency}
	if facet, until := l.closure.blocks(now, l.metered); facet != None {
		f.later(facet, until-now, until-now)
	}
	wait := l.rateWait(now, turn)
	f.later(Requests, wait, wait)

	requests, millis := l.keptFrom(s)
	f.meter(Requests, &l.requests, now, turn, float64(l.metered), requests)
	if l.busy > 0 {
		f.meter(ExecutionTime, &l.execution, now, turn*l.busy, l.pending(now), millis)
	}
	if limit, _ := l.crowd.limit(now); l.inFlight >= limit {
		f.later(Concurrency, 0, time.Duration(turn/float64(limit)*l.held*1e6))
	}
	return f
}

// meter adds the wait until a windowed budget has room for need. What is kept
// back for others, and what others seem to spend, may turn out less: such
// waits are likely, not sure.
func (f *forecast) meter(facet Facet, m *meter, now time.Duration, need, pending, kept float64) {
	var least, likely time.Duration
	if short := need + float64(m.sum) + pending - m.limit() - math.Max(0, m.shifted(now)); short > 0 {
		least = m.freed(short) - now
	}
	if short := need + kept - m.room(now, pending); short > 0 {
		likely = m.freed(short) - now
	}
	f.later(facet, least, likely)
}

// later extends the wait.
func (f *forecast) later(facet Facet, least, likely time.Duration) {
	f.least = max(f.least, least)
	if likely > f.likely {
		f.facet, f.likely = facet, likely
	}
}
