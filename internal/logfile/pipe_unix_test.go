//go:build unix

package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A device would be renamed when it is full, and a pipe opens when somebody
// reads it.
func TestOnlyAFileIsALogFile(t *testing.T) {
	pipe, link := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, os.DevNull} {
		if err := Check(path); err == nil || !strings.Contains(err.Error(), "name a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
