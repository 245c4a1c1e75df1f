//go:build unix

package envfile

import (
	"path/filepath"
	"syscall"
	"testing"
)

// Whatever lies in a directory of settings, the others in it are read.
func TestAPipeInTheDirectoryIsAFaultOfItsOwn(t *testing.T) {
	path := t.TempDir()
	put(t, path, "good.env", "A=1")
	if err := syscall.Mkfifo(filepath.Join(path, "pipe.env"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ := newDir(path)
	if got := scan(t, d); got != "good=1 !pipe " {
		t.Errorf("got %q", got)
	}
}
