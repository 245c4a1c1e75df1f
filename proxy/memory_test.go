//go:build !race

// The race detector empties pools at random: what a call takes of memory cannot
// be counted with it.

package proxy_test

import (
	"runtime"
	"testing"

	"dynproxy/internal/needs"
)

// TestMemoryOfACall holds what a call of 1 KB takes anew, from the caller's
// socket to the organization's and back.
func TestMemoryOfACall(t *testing.T) {
	const calls = 2000
	r := newRig(t, rows(1), false)
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
	mostMallocs, mostBytes := uint64(90), uint64(13<<10)
	if needs.ByTransport() {
		mostMallocs, mostBytes = 160, 16<<10
	}
	if mallocs > mostMallocs || bytes > mostBytes {
		t.Errorf("a call makes %d mallocs of %d bytes together; more than %d of %d are too many", mallocs, bytes, mostMallocs, mostBytes)
	}
}
