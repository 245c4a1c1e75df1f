package machine

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	leastGCPercent = 50      // a large heap must not be collected all the time
	leastHeap      = 4 << 20 // the runtime takes no heap for smaller
)

// gcPercent returns the percentage at which a heap of so many bytes, of what
// lives and what must be scanned, grows by headroom before it is collected.
func gcPercent(headroom, scanned uint64) int {
	return int(max(100*headroom/max(scanned, leastHeap), leastGCPercent))
}

// CollectByHeadroom collects garbage when so many bytes of it have come
// together, whatever the size of the heap: what lives here is small, and in
// proportion to that the collector would run dozens of times a second. GOMEMLIMIT
// holds as ever. It returns the way back to what was before.
func CollectByHeadroom(headroom uint64) (stop func()) {
	h := &headroomKeeper{headroom: headroom, percent: 100}
	before := debug.SetGCPercent(h.percent)
	h.adjust()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stopped = true
		debug.SetGCPercent(before)
	}
}

type headroomKeeper struct {
	headroom uint64

	mu      sync.Mutex // guards what follows
	percent int        // as it was set last
	stopped bool
}

// collected is garbage from the beginning: its end tells of a collection.
type collected struct{ _ [16]byte }

// adjust sets the percentage, now and after each collection: only there is it
// known what lives, and a fixed interval would come too late for a heap that
// grows.
func (h *headroomKeeper) adjust() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	runtime.SetFinalizer(new(collected), func(*collected) { h.adjust() })
	sizes := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(sizes)
	scanned := uint64(0)
	for _, size := range sizes {
		scanned += size.Value.Uint64()
	}
	if percent := gcPercent(h.headroom, scanned); percent != h.percent { // setting it stops the world
		h.percent = percent
		debug.SetGCPercent(percent)
	}
}
