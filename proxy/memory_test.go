//go:build !race

// The race detector empties pools at random: what a call takes of memory cannot
// be counted with it.

package proxy_test

import (
	"runtime"
	"testing"

	"dynproxy/internal/needs"
)

// A call takes no more memory anew than this, from the caller's socket to the
// organization's and back: for a page of 1 KB, and for a write of 10 KB.
func TestMemoryOfACall(t *testing.T) {
	get := newRig(t, rows(1), false)
	post := newRig(t, rows(1), false)
	post.post(rows(10))
	t.Run("GET", func(t *testing.T) { get.bounded(t, bound{90, 13 << 10}, bound{160, 16 << 10}) })
	t.Run("POST 10 KB", func(t *testing.T) { post.bounded(t, bound{125, 18 << 10}, bound{230, 32 << 10}) })
}

// bound is how much one call may take.
type bound struct{ mallocs, bytes uint64 }

// bounded holds calls to one of the bounds: that of the client which is used.
func (r *rig) bounded(t *testing.T, most, byTransport bound) {
	const calls = 2000
	for range 100 {
		if err := r.call(); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		if err := r.call(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	mallocs, bytes := (after.Mallocs-before.Mallocs)/calls, (after.TotalAlloc-before.TotalAlloc)/calls
	t.Logf("%d mallocs, %d bytes", mallocs, bytes)
	if needs.ByTransport() {
		most = byTransport
	}
	if mallocs > most.mallocs || bytes > most.bytes {
		t.Errorf("a call makes %d mallocs of %d bytes together; more than %d of %d are too many", mallocs, bytes, most.mallocs, most.bytes)
	}
}
