package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A list that a full disk has cut off is no success.
func TestWhatCouldNotBePrintedIsTold(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	tenantsDir, callersDir := t.TempDir(), t.TempDir()
	for dir, text := range map[string]string{tenantsDir: "ORG_URL=https://a.crm.dynamics.com\n", callersDir: "KEY_SHA256=" + strings.Repeat("0", 64) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, "a.env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var environ []string
	for name, value := range with("TENANTS=", "TENANTS_DIR="+tenantsDir, "CALLERS_DIR="+callersDir, "OPS_LISTEN=127.0.0.1:1") {
		environ = append(environ, name+"="+value)
	}
	for _, command := range []string{"config", "config --json", "tenant list", "tenant list --json", "tenant show a", "caller list", "version", "completion bash", "help draining"} {
		var said bytes.Buffer
		err := run(t.Context(), strings.Fields(command), environ, full, &said)
		if status := exitStatus(err, &said); status != 1 || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%s: status %d %s", command, status, said.String())
		}
	}
}
