package machine

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	restLook = 2 * time.Second // how often it is looked whether the process rests
	atRest   = 4 << 20         // it does when it has allocated fewer bytes than these since
	atWork   = 8 << 20         // and has worked when it has allocated more since it settled, and a quarter of what lives
)

// SettleAtRest gives back what the start has needed, and after that the
// garbage of each time of work once it is over, until ctx ends. Headroom is for
// those who work: without this, what a busy hour has left would lie there all
// night.
func SettleAtRest(ctx context.Context) {
	looks := time.NewTicker(restLook)
	defer looks.Stop()
	giveBack := settle
	var last, settled uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
		now, live := allocated()
		resting := now-last < atRest
		last = now
		if settled == 0 || resting && now-settled > max(atWork, live/4) {
			giveBack()
			giveBack = debug.FreeOSMemory
			settled, _ = allocated()
		}
	}
}

// allocated is how many bytes the process has allocated in its life, and how
// many of them lived when garbage was last collected.
func allocated() (ever, live uint64) {
	sizes := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sizes)
	return sizes[0].Value.Uint64(), sizes[1].Value.Uint64()
}
