package machine

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// What the start has needed is given back whatever goes on, what work has left
// once it is over, and where nothing was done, nothing is.
func TestMemoryIsGivenBackAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer end()
		go SettleAtRest(ctx)
		var garbage []byte
		work := func() { garbage = make([]byte, atWork+1) }
		collections := func(during func()) int {
			before := forced()
			during()
			synctest.Wait()
			return int(forced() - before)
		}

		if n := collections(func() { work(); time.Sleep(restLook + time.Second) }); n != 1 {
			t.Errorf("%d collections after the start", n)
		}
		if n := collections(func() {
			for range 10 {
				work()
				time.Sleep(restLook)
			}
		}); n != 0 {
			t.Errorf("%d collections in the middle of work", n)
		}
		if n := collections(func() { time.Sleep(2 * restLook) }); n != 1 {
			t.Errorf("%d collections once it was over", n)
		}
		if n := collections(func() { time.Sleep(time.Minute) }); n != 0 {
			t.Errorf("%d collections at rest", n)
		}
		runtime.KeepAlive(garbage)
	})
}

// forced is how many collections were asked for.
func forced() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumForcedGC
}
