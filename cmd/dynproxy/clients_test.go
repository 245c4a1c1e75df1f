package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dynproxy/internal/callers"
	"dynproxy/internal/needs"
)

// TestOldClients drives the proxy with clients as Debian ships them. Each does
// the same things in its own language: lists and pages, binds to the proxy's
// own addresses, writes on condition, sends a batch, a file and messages of
// SOAP, and reads refusals as what they are.
func TestOldClients(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"PHP":    {"php", "php/client.php"},
		"Java":   {"java", "java/Client.java"},
		"Perl":   {"perl", "perl/client.pl"},
		"Python": {"/usr/bin/python3", "python/client.py"},
	} {
		t.Run(name, func(t *testing.T) {
			needs.Tool(t, name)
			t.Parallel()
			proxy, key := behindOldNames(t)
			client := exec.Command(command[0], append(command[1:], proxy, "legacy", key)...)
			client.Dir = filepath.Join("testdata", "clients")
			client.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "PYTHONDONTWRITEBYTECODE=1", "PERL_LWP_ENV_PROXY=")
			out, err := client.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Errorf("the client failed: %v", err)
			}
		})
	}
}

// behindOldNames starts a proxy before the demo's organizations and returns its
// address and the key of its only caller, legacy.
func behindOldNames(t *testing.T) (proxy, key string) {
	t.Helper()
	p := startEmulator(t, demoSeed())
	dir := t.TempDir()
	settings := p.settings("contoso", "fabrikam", "northwind")
	settings[prefix+"CALLERS_DIR"] = dir
	key = addCaller(t, dir, "legacy", nil)
	return start(t, settings).calls, key
}

// addCaller writes a caller's file into dir and returns its key.
func addCaller(t *testing.T, dir, name string, settings map[string]string) string {
	t.Helper()
	w, err := callers.Apply(dir, name, callers.Edit{Set: settings, New: true, Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	return w.Key
}
