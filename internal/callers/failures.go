package callers

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"dynproxy/internal/source"
)

const (
	freeFailures    = 5 // of one source before it is slowed
	firstDelay      = 50 * time.Millisecond
	longestDelay    = time.Second
	failureMemory   = 10 * time.Minute // a source that was quiet so long begins anew
	failingRemember = 4096             // sources; the one quiet longest is forgotten first
)

// failures counts wrong proofs by source, in bounded memory. The zero value
// has seen none.
type failures struct {
	mu       sync.Mutex // guards all below
	bySource map[netip.Prefix]*list.Element
	recent   list.List // of *failing, the latest first
}

type failing struct {
	from  netip.Prefix
	count int
	last  time.Time
}

// add counts a failure of addr and returns how long to hold back the answer.
func (f *failures) add(addr netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bySource == nil {
		f.bySource = make(map[netip.Prefix]*list.Element)
	}
	from := source.Of(addr)
	at := f.bySource[from]
	if at == nil {
		at = f.recent.PushFront(&failing{from: from})
		f.bySource[from] = at
	}
	f.recent.MoveToFront(at)
	if f.recent.Len() > failingRemember {
		delete(f.bySource, f.recent.Remove(f.recent.Back()).(*failing).from)
	}
	one := at.Value.(*failing)
	if now.Sub(one.last) > failureMemory {
		one.count = 0
	}
	one.count++
	one.last = now
	return delay(one.count)
}

// delay doubles with each failure beyond the free ones, up to longestDelay.
func delay(count int) time.Duration {
	over := count - freeFailures
	switch {
	case over <= 0:
		return 0
	case over > 10:
		return longestDelay
	}
	return min(firstDelay<<(over-1), longestDelay)
}
