package machine

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestGCPercentComesFromHeadroom(t *testing.T) {
	for _, c := range []struct {
		headroom, scanned uint64
		want              int
	}{
		{24 << 20, 0, 600}, {24 << 20, 3 << 20, 600}, {256 << 20, 3 << 20, 6400}, {24 << 20, 6 << 20, 400},
		{24 << 20, 24 << 20, 100}, {24 << 20, 48 << 20, 50}, {24 << 20, 1 << 30, 50}, {256 << 20, 128 << 20, 200},
	} {
		if got := gcPercent(c.headroom, c.scanned); got != c.want {
			t.Errorf("headroom %d MiB, %d MiB scanned: %d percent, want %d", c.headroom>>20, c.scanned>>20, got, c.want)
		}
	}
}

// The heap may grow by the headroom and not in proportion, when it is large as
// well as when it has become small again.
func TestHeapGrowsByHeadroom(t *testing.T) {
	const headroom = 24 << 20
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	stop := CollectByHeadroom(headroom)
	room := func() int64 {
		for range 3 { // the finalizer of one is done before the end of the next
			runtime.GC()
			done := make(chan struct{})
			runtime.SetFinalizer(new([16]byte), func(*[16]byte) { close(done) })
			runtime.GC()
			<-done
		}
		sizes := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
		metrics.Read(sizes)
		return int64(sizes[0].Value.Uint64()) - int64(sizes[1].Value.Uint64())
	}
	held := make([]byte, 32<<20)
	if got := room(); got < headroom/2 || got > headroom*5/4 {
		t.Errorf("a heap of 32 MiB may grow by %d MiB", got>>20)
	}
	runtime.KeepAlive(held)
	held = nil
	if got := room(); got < headroom/2 || got > headroom*5/4 {
		t.Errorf("a small heap may grow by %d MiB", got>>20)
	}
	stop()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("%d percent behind the end, want what was before: 100", got)
	}
}
