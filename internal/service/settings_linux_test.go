package service

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"dynproxy/internal/needs"
)

// What root has written before the service was installed, its group may read
// then; what an operator has given to another group stays that group's, and
// nothing behind a link is touched.
func TestSettingsAreSharedWithTheService(t *testing.T) {
	if os.Geteuid() != 0 {
		needs.Missing(t, "the right to give files away")
	}
	const group, other = 65533, 65532
	dir := t.TempDir()
	files := map[string]struct {
		gid  int
		mode os.FileMode
	}{"client-secret": {group, 0o640}, "tls.key": {other, 0o600}, "elsewhere": {0, 0o600}}
	for name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "tls.key"), 0, other); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(entries, fs.FileInfoToDirEntry(stat(t, dir))) {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			path = dir
		}
		if e.Name() == "elsewhere" {
			continue // by its link alone
		}
		if err := share(path, e, group); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range files {
		info := stat(t, filepath.Join(dir, name))
		if gid := int(info.Sys().(*syscall.Stat_t).Gid); gid != want.gid || info.Mode().Perm() != want.mode {
			t.Errorf("%s: group %d, %v", name, gid, info.Mode())
		}
	}
	if info := stat(t, dir); info.Mode()&os.ModeSetgid == 0 || info.Mode().Perm() != 0o750 {
		t.Errorf("%v", info.Mode())
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
