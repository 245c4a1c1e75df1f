package machine

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// resident is how many KiB of files this process has in memory.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What the start has read in goes, and what runs goes on.
func TestSettleGivesBackWhatTheStartHasReadIn(t *testing.T) {
	before := resident(t)
	settle()
	after := resident(t)
	t.Logf("%d KiB of files before, %d after", before, after)
	if after > before {
		t.Errorf("%d KiB of files before, %d after", before, after)
	}
	if strings.ToUpper("still there") != "STILL THERE" {
		t.Error("the program is damaged")
	}
}
