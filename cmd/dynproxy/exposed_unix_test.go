//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files with secrets that every user can read are named by check, and by the
// log of a proxy that starts; those that nobody else can read are not.
func TestSecretsThatOthersCanReadAreToldOf(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	dir, err := os.MkdirTemp("", "dynproxy-exposed-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	settings := p.settings("contoso")
	delete(settings, prefix+"CLIENT_SECRET")
	put := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, mode)
		return path
	}
	settings[prefix+"CLIENT_SECRET_FILE"] = put("open-secret", demoSecret, 0o644)
	settings[prefix+"OPS_PASSWORD_FILE"] = put("hidden-password", "a long password", 0o640)
	withSecret := put("open.env", prefix+"NOTIFY_URL=https://hooks.example.com/token\n", 0o644)
	without := put("plain.env", prefix+"LOG_LEVEL=info\n", 0o644)
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"check", "--env-file", withSecret, "--env-file", without}, environ, &out, &errs); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	proxy := start(t, settings)
	for what, said := range map[string]string{"check": errs.String(), "log": proxy.log.String()} {
		if !strings.Contains(said, "open-secret") || strings.Contains(said, "hidden-password") || strings.Contains(said, "plain.env") {
			t.Errorf("%s: %s", what, said)
		}
	}
	if !strings.Contains(errs.String(), "open.env holds a secret, and every user of this machine can read it") {
		t.Errorf("%s", errs.String())
	}
}
