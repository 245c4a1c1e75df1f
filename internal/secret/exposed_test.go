//go:build !windows

package secret_test

import (
	"os"
	"path/filepath"
	"testing"

	"dynproxy/internal/secret"
)

func TestAFileThatEverybodyCanReadIsNoticed(t *testing.T) {
	dir, err := os.MkdirTemp("", "dynproxy-exposed-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	inner := filepath.Join(dir, "inner")
	path, link := filepath.Join(inner, "secret"), filepath.Join(dir, "link")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, []byte("s3cret"), 0o600)
	os.Symlink(path, link)
	for _, c := range []struct {
		folder, inner, file os.FileMode
		exposed             bool
	}{
		{0o755, 0o755, 0o600, false}, {0o755, 0o755, 0o640, false}, {0o755, 0o755, 0o644, true}, {0o755, 0o755, 0o604, true},
		{0o755, 0o700, 0o644, false}, {0o750, 0o755, 0o644, false}, {0o711, 0o711, 0o644, true},
	} {
		os.Chmod(dir, c.folder)
		os.Chmod(inner, c.inner)
		os.Chmod(path, c.file)
		for _, name := range []string{path, link} {
			if got := secret.Exposed(name) != ""; got != c.exposed {
				t.Errorf("%+v: %s: %v", c, name, got)
			}
		}
	}
	if secret.Exposed(filepath.Join(dir, "none")) != "" {
		t.Error("a file that is not there")
	}
}
