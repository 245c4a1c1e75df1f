package textfile

import (
	"os"
	"testing"
)

// folder is t.TempDir without its judgement of what cannot be removed, in which
// Wine differs from Windows.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dynproxy-textfile-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
