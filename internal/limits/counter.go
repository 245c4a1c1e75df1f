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
	ceiling

	// bias corrects the limit by what the organization last said remains: it
	// is negative while others use the same budget, and positive when more is
	// granted than the limit that we started from. It holds for a span, after
	// which all that it was learned from has left the window.
	bias   float64
	biasAt time.Duration
	denied uint8         // rounds of calls in a row that were served although nothing was said to remain
	trusts time.Duration // until then a refusal shows that the word of what remains is meant for us

	// lost is what was sent since the last refusal and not answered. Whether the
	// organization has counted it nobody knows: it takes of the limit, but neither
	// of what refusals have left open, nor is it proof that more is.
	// Of other proxies it cannot be told from what was served.
	lost *losses // nil: nothing
}

// disbelief is how many such rounds, each of twice as many calls as the one
// before, show that the word of what remains cannot be meant for us.
const disbelief = 6

// trustFor is for how many windows a refusal ends such rounds: where others do
// use the rest, each series of them costs refusals.
const trustFor = 2

// open is the part of the limit that may be used now.
func (m *budgetCounter) open(now time.Duration, unit float64) float64 {
	return math.Min(m.highest(), m.ceiling.open(now, unit)+m.lostNow(now))
}

// stretch changes the window's span.
func (m *budgetCounter) stretch(now, span time.Duration) {
	m.slidingWindow.stretch(now, span)
	if m.lost != nil {
		m.lost.stretch(now, span)
	}
}

// biasNow is the bias as far as it is not out of date.
func (m *budgetCounter) biasNow(now time.Duration) float64 {
	if m.bias == 0 || now-m.biasAt >= m.span() {
		return 0
	}
	return m.bias
}

// room is what may still be used when pending is in flight and one call uses
// unit. While others have left nothing one call at a time may ask anew, and
// twice as many each time that they are served all the same.
func (m *budgetCounter) room(now time.Duration, pending, unit float64) float64 {
	room := m.open(now, unit) - float64(m.sum) - pending
	bias := m.biasNow(now)
	if bias < 0 && m.stale(now) {
		return math.Max(room+bias, math.Min(room, unit*float64(int(1)<<m.denied)-pending))
	}
	return room + bias
}

// stale reports whether what was said to remain is old enough to ask anew.
func (m *budgetCounter) stale(now time.Duration) bool { return now-m.biasAt >= m.span()/testShare }

// risked reports whether a call that brings our own use to that is a test.
func (m *budgetCounter) risked(now time.Duration, use float64) bool {
	return use > m.firm()+m.biasNow(now)
}

// configure takes a changed limit.
func (m *budgetCounter) configure(limit float64, fixed bool) {
	if m.ceiling.configure(limit, fixed) {
		m.bias = 0
	}
}

// refused takes the organization's word that nothing remained.
func (m *budgetCounter) refused(r refusal) {
	m.denied, m.trusts = 0, r.now+trustFor*m.span()
	if r.started >= max(m.doubt.since, m.others.since) { // else it is the same news
		m.lost = m.noLosses(r.started)
	}
	m.ceiling.refused(r, m.biasNow(r.now))
}

// served takes it for proof that what was served and is not about to leave the
// window found room. Where others use the same budget what remains is the
// better word.
func (m *budgetCounter) served(now, fading time.Duration, elsewhere float64) {
	if m.holds() > 0 && m.biasNow(now) == 0 {
		m.proves(math.Max(0, float64(m.sum-m.oldest(fading))-m.lostNow(now)) + elsewhere)
	}
}

// reading is what an answer said about a counter, beside our own count.
type reading struct {
	remaining float64
	most      float64 // that the organization can have counted of ours
	least     float64 // that it must have counted of ours
	unseen    float64 // that other proxies may have spent without our knowing, a part of most
}

// remains takes the organization's word on what remains. Between least and
// most our own count is as good as its word and nothing changes. It leads
// beyond a limit that we started from, but not beyond an operator's, nor
// beyond one that a refusal named. Proxies that are not seen are taken to have
// used their shares: these are not what strangers use.
func (m *budgetCounter) remains(now time.Duration, r reading) {
	limit := m.limit()
	if math.IsInf(limit, 1) {
		return
	}
	bias := m.biasNow(now)
	switch {
	case r.remaining > 0:
		m.denied = 0
	case m.denied == disbelief:
		m.bias = 0
		return
	case bias < 0 && m.stale(now) && now >= m.trusts:
		m.denied++
	}
	low, high := r.remaining+r.least-limit, r.remaining+r.most-limit
	if slack := limit / 100; low > bias {
		bias = low
	} else if high < bias-slack {
		bias = math.Min(high, low+r.unseen)
	}
	if m.named > 0 || m.fixed {
		bias = math.Min(bias, 0)
	}
	if r.unseen > 0 && bias == m.bias {
		return // which says nothing new, so wide is the room between least and most
	}
	m.bias, m.biasAt = bias, now
}
