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
// reads it. Of a link to a device only the link would.
func TestOnlyAFileIsALogFile(t *testing.T) {
	pipe, link := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "link")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	harmless := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.DevNull, harmless); err != nil {
		t.Fatal(err)
	}
	if err := Check(harmless); err != nil {
		t.Error(err)
	}
	for _, path := range []string{pipe, link, os.DevNull} {
		if err := Check(path); err == nil || !strings.Contains(err.Error(), "name a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
