package envfile

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestPathsInAFileLeadFromItsFolder(t *testing.T) {
	root, err := filepath.Abs("/")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "conf", "proxy")
	for value, want := range map[string]string{
		"":                                   "",
		"secret":                             filepath.Join(dir, "secret"),
		"secrets/app.pem":                    filepath.Join(dir, "secrets", "app.pem"),
		"../secret":                          filepath.Join(root, "conf", "secret"),
		filepath.Join(root, "etc", "secret"): filepath.Join(root, "etc", "secret"),
	} {
		got := Resolve(dir, map[string]string{"X_FILE": value, "X_DIR": value, "X_URL": value})
		if got["X_FILE"] != want || got["X_DIR"] != want || got["X_URL"] != value {
			t.Errorf("%q: %q", value, got)
		}
	}
	if runtime.GOOS != "windows" {
		return
	}
	for value, want := range map[string]string{`\etc\secret`: filepath.VolumeName(dir) + `\etc\secret`, `Q:secret`: `Q:secret`, `\\host\share\x`: `\\host\share\x`} {
		if got := Resolve(dir, map[string]string{"X_FILE": value})["X_FILE"]; got != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}

func TestOfSeveralFilesEachHasItsOwnFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a/one.env": "A_FILE=x\nB_FILE=y\n", "b/two.env": "B_FILE=y\n"} {
		os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Environment([]string{"C_FILE=z"}, []string{filepath.Join(dir, "a", "one.env"), filepath.Join(dir, "b", "two.env")})
	if err != nil || got["A_FILE"] != filepath.Join(dir, "a", "x") || got["B_FILE"] != filepath.Join(dir, "b", "y") || got["C_FILE"] != "z" {
		t.Errorf("%q, %v", got, err)
	}
}
