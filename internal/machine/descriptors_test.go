package machine

import "testing"

// Whatever is wanted, each call has room for its way out, a body on disk, and
// the files that are read meanwhile.
func TestDescriptorsLeaveRoomForEachCall(t *testing.T) {
	for _, c := range []struct{ files, wanted, callers, operators int }{
		{0, 20_000, 20_000, 256}, {0, 0, 0, 256}, {1 << 16, 20_000, 20_000, 256}, {1 << 16, 0, 32_608, 256},
		{1024, 20_000, 448, 64}, {1024, 100, 100, 64}, {256, 20_000, 88, 16}, {20, 0, 8, 8},
	} {
		callers, operators := ShareDescriptors(c.files, c.wanted, 256)
		if callers != c.callers || operators != c.operators {
			t.Errorf("%d files, %d wanted: %d and %d, want %d and %d", c.files, c.wanted, callers, operators, c.callers, c.operators)
		}
		if c.files >= 256 && 2*callers+operators >= c.files {
			t.Errorf("%d files do not do for %d callers and %d operators", c.files, callers, operators)
		}
	}
}
