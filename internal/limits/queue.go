package limits

import (
	"math"
	"slices"
	"time"

	"dynproxy/internal/panics"
)

// line lets a call of s wait, or refuses it when that is sure to be in vain.
func (l *ledger) line(s *share, now, patience time.Duration) (*Pass, *waiter, error) {
	f := l.forecast(s, now)
	if f.least > patience || l.queued >= l.budget.QueueLength && !l.pushOut(s, now) {
		l.tidy(s, now)
		return nil, nil, l.refuse(f, now)
	}
	w := &waiter{ready: make(chan result, 1), since: now, until: now + patience, share: s}
	if len(s.queue) == 0 {
		s.start = math.Max(l.virtual, s.finish)
		l.waiting = append(l.waiting, s)
	}
	s.queue = append(s.queue, w)
	l.queued++
	l.dispatch(now)
	select {
	case v := <-w.ready:
		return v.pass, nil, v.err
	default:
		l.counters.odd().waited[f.kind]++
		if l.shared != nil {
			l.hurry(now)
		}
		return nil, w, nil
	}
}

// pushOut makes room in a full queue for a call of s: whoever has the longest
// line loses its newest call. It reports false if that would be s itself.
func (l *ledger) pushOut(s *share, now time.Duration) bool {
	longest := s
	for _, other := range l.waiting {
		if len(other.queue) > len(longest.queue) {
			longest = other
		}
	}
	if len(longest.queue) <= len(s.queue)+1 {
		return false
	}
	w := longest.queue[len(longest.queue)-1]
	l.leave(w)
	w.ready <- result{err: l.refuse(l.forecast(longest, now), now)}
	return true
}

// dispatch admits waiting calls in their fair order as long as there is room,
// then sets the timer for when there may be more.
func (l *ledger) dispatch(now time.Duration) {
	for len(l.waiting) > 0 {
		var next *share
		var wake time.Duration
		for _, s := range l.waiting {
			if next != nil && s.start >= next.start {
				continue
			}
			b := l.blocked(s, now)
			if b.kind == None || l.budget.Mode != Enforce {
				next = s
				continue
			}
			wake = earlier(wake, b.until)
		}
		if next == nil {
			l.arm(now, wake)
			return
		}
		w := next.queue[0]
		l.leave(w)
		pass := l.admit(next, now)
		next.start = next.finish // if more of it wait
		w.ready <- result{pass: pass}
	}
}

// earlier is the lesser of two instants, where zero means never.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// leave takes w out of the queue. It reports false if w has left already.
func (l *ledger) leave(w *waiter) bool {
	s := w.share
	i := slices.Index(s.queue, w)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	l.queued--
	if len(s.queue) == 0 {
		s.queue = nil
		i = slices.Index(l.waiting, s)
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return true
}

// expire ends the wait of w, whose patience is over. It returns nil if w has
// been given its result already.
func (l *ledger) expire(w *waiter) *Full {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leave(w) {
		return nil
	}
	now := l.now()
	l.tick(now)
	full := l.refuse(l.forecast(w.share, now), now)
	l.dispatch(now)
	return full
}

// abandon ends the wait of w, whose caller has gone. A place that it was given
// in the same moment is free again.
func (l *ledger) abandon(w *waiter) {
	l.mu.Lock()
	waited := l.leave(w)
	if waited {
		now := l.now()
		l.tick(now)
		l.dispatch(now)
	}
	l.mu.Unlock()
	if waited {
		return
	}
	if v := <-w.ready; v.pass != nil {
		v.pass.Done(Outcome{})
	}
}

// evict refuses those who are sure to lose their patience before the gate
// opens again.
func (l *ledger) evict(now time.Duration) {
	for _, s := range slices.Clone(l.waiting) {
		for _, w := range slices.Clone(s.queue) {
			if w.until >= l.cooldown.until {
				continue
			}
			l.leave(w)
			w.ready <- result{err: l.refuse(l.forecast(s, now), now)}
		}
	}
}

// arm makes sure that the timer fires at the instant or before.
func (l *ledger) arm(now, at time.Duration) {
	if at == 0 || l.gone || l.wakeAt != 0 && l.wakeAt <= at {
		return
	}
	l.wakeAt = max(at, now+1)
	if l.timer == nil {
		l.timer = time.AfterFunc(l.wakeAt-now, l.wake)
		return
	}
	l.timer.Reset(l.wakeAt - now)
}

// wake is the timer's: it lets in whom time has made room for, and lays the
// ledger to rest when nothing is left in it.
func (l *ledger) wake() {
	defer panics.Recover(l.gate.Log, "budget", nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeAt = 0
	now := l.now()
	l.tick(now)
	l.dispatch(now)
	l.rest(now)
}

// rest frees what an idle ledger does not need, once its window is empty.
func (l *ledger) rest(now time.Duration) {
	if l.inFlight > 0 || len(l.waiting) > 0 || l.wakeAt != 0 {
		return
	}
	if l.requests.sum > 0 || l.execution.sum > 0 {
		l.arm(now, now+l.span+2*l.requests.slice)
		return
	}
	l.requests.reset()
	l.execution.reset()
	l.requests.others, l.execution.others, l.concurrency.others = backoff{}, backoff{}, backoff{}
	l.shares, l.kept, l.heaviest = shares{}, 0, 0
	l.waiting, l.timer = nil, nil
}
