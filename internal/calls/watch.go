package calls

import (
	"slices"
	"sync"
	"sync/atomic"
)

// watched is how many calls wait for a reader before they are lost to it.
const watched = 256

// mostWatchers bounds what each call is compared with.
const mostWatchers = 32

// Watch hears of calls as they end. A reader that is slow loses some.
type Watch struct {
	Calls  <-chan *Call // which must not be changed; never closed
	filter Filter
	calls  chan *Call
	lost   atomic.Uint64
	from   *watchers
}

// Watch begins to watch what f picks, until the Watch is closed. It returns nil
// if too many watch.
func (r *Ring) Watch(f Filter) *Watch {
	calls := make(chan *Call, watched)
	w := &Watch{Calls: calls, calls: calls, filter: f, from: &r.watchers}
	if !r.watchers.change(func(all []*Watch) []*Watch {
		if len(all) >= mostWatchers {
			return nil
		}
		return append(all, w)
	}) {
		return nil
	}
	return w
}

// Lost returns how many calls were lost since it was asked last.
func (w *Watch) Lost() uint64 { return w.lost.Swap(0) }

// Close ends the watch.
func (w *Watch) Close() {
	w.from.change(func(all []*Watch) []*Watch {
		return slices.DeleteFunc(all, func(other *Watch) bool { return other == w })
	})
}

// watchers are those who are told of calls as they end.
type watchers struct {
	mu  sync.Mutex               // guards changes of all
	all atomic.Pointer[[]*Watch] // never changed, but replaced
}

// change replaces who watches by what to makes of a copy, unless that is nil.
func (w *watchers) change(to func([]*Watch) []*Watch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*Watch, 0, mostWatchers)
	if now := w.all.Load(); now != nil {
		all = append(all, *now...)
	}
	if all = to(all); all == nil {
		return false
	}
	w.all.Store(&all)
	return true
}

// want reports whether anybody wants to hear of c.
func (w *watchers) want(c *Call) bool {
	all := w.all.Load()
	return all != nil && slices.ContainsFunc(*all, func(one *Watch) bool { return one.filter.picks(c) })
}

// tell tells of c, which must not change any more. It never waits.
func (w *watchers) tell(c *Call) {
	all := w.all.Load()
	if all == nil {
		return
	}
	for _, one := range *all {
		if !one.filter.picks(c) {
			continue
		}
		select {
		case one.calls <- c:
		default:
			one.lost.Add(1)
		}
	}
}
