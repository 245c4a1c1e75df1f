package limits

import (
	"math"
	"time"
)

// windowSlices is the resolution of a budget's window: what leaves it is held
// for at most 1/255 of the window too long, and its ring fills a kilobyte.
const windowSlices = 255

// budgetCounter holds one budget that is counted over the window: requests, or
// milliseconds of execution time.
type budgetCounter struct {
	slidingWindow
	configured float64 // zero: no limit
	learned    float64 // by the organization's own word; zero: none

	// bias corrects the room that our own count leaves by what the
	// organization last said remains. It is negative while others spend the
	// same budget. It fades to nothing over biasFor, slowly at first, since
	// what it was learned from slides out of the window.
	bias    float64
	biasAt  time.Duration
	biasFor time.Duration
	refusal time.Duration // the instant of the last one; zero: none
	probes  int           // how many more refusals may be risked to find out that there is room again

	// headroom stays unspent while others spend: they may be quicker than
	// their traces in what we learn. It grows with every refusal.
	headroom float64
}

const (
	// newsFor is how many spans a refusal is heeded at least, and the
	// headers are not believed to promise more than it did.
	newsFor = 4
	// oldNewsFor is how many spans it is heeded if it keeps coming back.
	oldNewsFor = 64
)

// limit is the ceiling, or +Inf.
func (m *budgetCounter) limit() float64 {
	switch {
	case m.learned > 0:
		return m.learned
	case m.configured > 0:
		return m.configured
	}
	return math.Inf(1)
}

// biasNow is the present value of bias.
func (m *budgetCounter) biasNow(now time.Duration) float64 {
	age := now - m.biasAt
	if m.bias == 0 || age >= m.biasFor {
		return 0
	}
	part := float64(age) / float64(m.biasFor)
	return m.bias * (1 - part*part)
}

// room is what may still be spent when pending is in flight.
func (m *budgetCounter) room(now time.Duration, pending float64) float64 {
	room := m.limit() - float64(m.sum) - pending
	bias := m.biasNow(now)
	if bias < 0 {
		bias -= m.headroom
	}
	if bias < 0 && pending == 0 && room > 0 && m.probes > 0 {
		// Retry-After is over, or the gate would be closed: one call at a time
		// may find out whether there is room again.
		return math.Max(room+bias, math.Min(room, probe))
	}
	return room + bias
}

// refusedProbes is how many probes may be refused before the refusal is taken
// for what it says: a budget that is spent, and not a whim.
const refusedProbes = 6

// probe is room for one call, of requests and of milliseconds alike.
const probe = 1e4

// configure takes a new configured limit. It replaces what was learned: the
// operator knows something new, and the organization can say it again.
func (m *budgetCounter) configure(limit float64) {
	if limit != m.configured {
		m.configured, m.learned, m.bias, m.headroom = limit, 0, 0, 0
	}
}

// refused takes the organization's word that nothing remained for a request
// before which it had counted at most own. A limit of zero was not named.
// Without rate-limit headers the next refusal is the next news, so the bias
// is heeded for long, and for longer each time that it had faded too soon.
func (m *budgetCounter) refused(now time.Duration, own, limit float64, span time.Duration) {
	if limit > 0 {
		m.learned = limit
	}
	ceiling := m.limit()
	if math.IsInf(ceiling, 1) {
		return
	}
	soon := m.refusal > 0 && now-m.refusal < 2*newsFor*span
	fresh := m.refusal > 0 && now-m.refusal < span/8
	m.refusal = now
	if m.probes--; !soon {
		m.probes = refusedProbes
	}
	bias := math.Min(own-ceiling, 0)
	if fresh {
		m.bias = math.Min(m.bias, bias) // one of many at once
		return
	}
	m.bias, m.biasAt = bias, now
	if !soon {
		m.biasFor, m.headroom = newsFor*span, 0
		return
	}
	m.biasFor = min(max(2*m.biasFor, newsFor*span), oldNewsFor*span)
	m.headroom = math.Min(m.headroom+math.Max(1, ceiling/200), ceiling/20)
}

// reading is what an answer said about a meter, beside our own count.
type reading struct {
	remaining float64
	most      float64 // that the organization can have counted of ours
	least     float64 // that it must have counted of ours
}

// remains takes the organization's word on what remains. Between least and
// most our own count is as good as its word and nothing changes.
func (m *budgetCounter) remains(now time.Duration, r reading, span time.Duration) {
	limit := m.limit()
	if math.IsInf(limit, 1) {
		return
	}
	over, under := r.remaining+r.least-limit, r.remaining+r.most-limit
	slack := math.Max(2, limit/100)
	more := m.refusal == 0 || now-m.refusal > newsFor*span
	switch {
	case r.remaining > limit && more:
		m.learned, m.bias = r.remaining, 0
	case over > 0 && more, under < -slack:
		m.bias, m.biasAt, m.biasFor = over, now, span
	default:
		m.bias = 0
	}
}
