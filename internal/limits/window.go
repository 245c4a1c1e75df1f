package limits

import (
	"math"
	"time"
)

// slidingWindow sums amounts over a sliding time span, in slices. An amount is never
// forgotten before the span is over, and at most one slice later. Memory is
// taken for those slices in which something was added, and given back when
// nothing is left: most of many tenants are called now and then.
type slidingWindow struct {
	slice time.Duration // width of a slice
	last  int64         // number of the newest slice, counted from the epoch
	sum   uint64
	gone  uint64 // that was forgotten, ever
	n     int    // slices in the span
	slots slots  // of n+1 slices, by number modulo that
}

func newSlidingWindow(span time.Duration, n int) slidingWindow {
	slice := max((span+time.Duration(n)-1)/time.Duration(n), 1)
	return slidingWindow{slice: slice, n: n}
}

// span is how long an amount counts.
func (w *slidingWindow) span() time.Duration { return time.Duration(w.n) * w.slice }

// number is the slice that holds the instant.
func (w *slidingWindow) number(at time.Duration) int64 { return int64(at / w.slice) }

// nextTick is the next instant at which amounts may leave.
func (w *slidingWindow) nextTick() time.Duration { return time.Duration(w.last+1) * w.slice }

// place is where a slice stands; slices before the epoch have negative numbers.
func (w *slidingWindow) place(number int64) int {
	n := int64(w.n + 1)
	return int((number%n + n) % n)
}

// at is a slice's amount.
func (w *slidingWindow) at(number int64) uint32 { return w.slots.at(w.place(number)) }

// advance forgets what lies further back than the span. It reports whether a
// new slice began.
func (w *slidingWindow) advance(now time.Duration) bool {
	number := w.number(now)
	if number <= w.last {
		return false
	}
	if w.sum == 0 {
		w.last = number
		return true
	}
	if number-w.last > int64(w.n) {
		w.reset()
		w.last = number
		return true
	}
	for w.last < number {
		w.last++
		left := uint64(w.slots.take(w.place(w.last)))
		w.sum -= left
		w.gone += left
	}
	if w.sum == 0 {
		w.reset()
	}
	return true
}

// add counts an amount now.
func (w *slidingWindow) add(now time.Duration, amount uint64) {
	w.advance(now)
	w.put(w.last, amount)
}

func (w *slidingWindow) put(number int64, amount uint64) {
	if amount == 0 {
		return
	}
	place := w.place(number)
	held := w.slots.at(place)
	amount = min(amount, math.MaxUint32-uint64(held))
	if amount == 0 {
		return
	}
	w.slots.set(place, held+uint32(amount), w.n+1)
	w.sum += amount
}

// mostSpans is more than anybody waits.
const mostSpans = 1e6

// freed is the instant at which amount will have left. Beyond what the window
// holds that is what comes in its place, no more than limit in a span: it leaves
// a span after it came.
func (w *slidingWindow) freed(amount, limit float64) time.Duration {
	span := w.span()
	if w.sum == 0 && amount <= limit {
		return w.nextTick()
	}
	if more := amount - float64(w.sum); more > 0 {
		limit = math.Max(limit, 1)
		spans := math.Min(math.Ceil(more/limit), mostSpans)
		return w.freed(math.Min(amount-spans*limit, float64(w.sum)), limit) + time.Duration(spans)*span
	}
	left := 0.0
	for number := w.last - int64(w.n); number <= w.last; number++ {
		if left += float64(w.at(number)); left >= amount {
			return time.Duration(number+1)*w.slice + span
		}
	}
	return w.nextTick() + span // not reached: the sum is that of the slices
}

// oldest sums what will leave within d.
func (w *slidingWindow) oldest(d time.Duration) uint64 {
	if w.sum == 0 {
		return 0
	}
	sum := uint64(0)
	first := w.last - int64(w.n)
	for number := first; number <= min(first+int64(d/w.slice)+1, w.last); number++ {
		sum += uint64(w.at(number))
	}
	return sum
}

// stretch changes the span and keeps each amount at the time it was added.
func (w *slidingWindow) stretch(now, span time.Duration) {
	if w.slice == 0 {
		*w = newSlidingWindow(span, windowSlices)
		w.advance(now)
		return
	}
	w.advance(now)
	old := *w
	*w = newSlidingWindow(span, old.n)
	w.last, w.gone = w.number(now), old.gone
	if old.sum == 0 {
		return
	}
	for number := max(old.last-int64(old.n), 0); number <= old.last; number++ {
		to := w.number(min(time.Duration(number+1)*old.slice, now))
		if to >= w.last-int64(w.n) {
			w.put(to, uint64(old.at(number)))
		}
	}
	w.gone += old.sum - w.sum
}

// reset forgets everything and gives the memory back.
func (w *slidingWindow) reset() { w.gone, w.sum, w.slots = w.gone+w.sum, 0, slots{} }

// ever is all that was added.
func (w *slidingWindow) ever() uint64 { return w.gone + w.sum }

// left is what is left of what had been added when ever was so much.
func (w *slidingWindow) left(ever uint64) uint64 {
	if ever <= w.gone {
		return 0
	}
	return min(ever-w.gone, w.sum)
}
