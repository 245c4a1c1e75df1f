package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dynproxy/internal/needs"
)

// TestRealClient drives the proxy with a client library as it comes from its
// registry.
func TestRealClient(t *testing.T) {
	t.Parallel()
	needs.Tool(t, "node")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "client", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		needs.Missing(t, "the client library cannot be installed: "+string(out))
	}
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	client := exec.Command("node", "client.mjs", r.calls+"/contoso/")
	client.Dir = dir
	out, err := client.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the client failed: %v", err)
	}
}
