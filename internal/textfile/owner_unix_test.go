//go:build unix

package textfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"dynproxy/internal/needs"
)

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// What a command writes into the settings of a service, its group may read; so
// it stays when the file is replaced.
func TestAGroupsDirectoryLetsItsGroupRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.env")
	for dirMode, want := range map[os.FileMode]os.FileMode{0o750: 0o600, 0o750 | os.ModeSetgid: 0o640} {
		if err := os.Chmod(dir, dirMode); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := Replace(path, []byte("A=1\n")); err != nil {
				t.Fatal(err)
			}
			if got := modeOf(t, path); got != want {
				t.Errorf("in a directory of %v: %v, want %v", dirMode, got, want)
			}
		}
		os.Remove(path)
		if err := Create(path, nil); err != nil || modeOf(t, path) != want {
			t.Errorf("%v %v", err, modeOf(t, path))
		}
	}
}

// Root makes no file in a service's own directory that the service cannot read.
func TestRootWritesForTheOwnerOfADirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		needs.Missing(t, "the right to give files away")
	}
	const somebody = 65534
	dir := t.TempDir()
	if err := os.Chown(dir, somebody, somebody); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "link.key")
	if err := Create(path, []byte("k")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != somebody || owner.Gid != somebody || info.Mode().Perm() != 0o600 {
		t.Errorf("%d:%d %v", owner.Uid, owner.Gid, info.Mode())
	}
}
