package main

import (
	"bytes"
	"maps"
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
	for _, command := range []string{"config", "config --json", "tenant list", "tenant list --json", "tenant show a", "caller list", "version", "completion bash", "help draining", "--help", "tenant add --help"} {
		var said bytes.Buffer
		err := run(t.Context(), strings.Fields(command), environ, full, &said)
		if status := exitStatus(err, &said); status != 1 || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%s: status %d %s", command, status, said.String())
		}
	}
}

// A key that nobody has seen is no key: what was changed for it is taken back,
// and the application's own goes on to count.
func TestAKeyThatCouldNotBePrintedIsTakenBack(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	dir := t.TempDir()
	before := map[string]string{
		"keyed.env":   "KEY_SHA256=" + strings.Repeat("0", 64) + "\nRATE=5\n",
		"keyless.env": "CIDRS=10.1.0.0/16\n",
	}
	for name, text := range before {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var environ []string
	for name, value := range with("CALLERS_DIR=" + dir) {
		environ = append(environ, name+"="+value)
	}
	for _, command := range []string{"caller add fresh", "caller rotate keyed", "caller rotate keyless"} {
		var said bytes.Buffer
		err := run(t.Context(), strings.Fields(command), environ, full, &said)
		if status := exitStatus(err, &said); status != 1 || !strings.Contains(said.String(), "could not be printed, and was taken back: write /dev/full: no space left") {
			t.Errorf("%s: status %d %s", command, status, said.String())
		}
	}
	after := make(map[string]string)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		after[e.Name()] = string(text)
	}
	if !maps.Equal(after, before) {
		t.Errorf("%q", after)
	}
}

// A terminal that knows no colours gets none.
func TestADumbTerminalGetsNoColours(t *testing.T) {
	_, end := openTerminal(t)
	for term, colours := range map[string]bool{"dumb": false, "xterm": true} {
		t.Setenv("TERM", term)
		t.Setenv("NO_COLOR", "")
		var shown bytes.Buffer
		log := newLog(&config{verbosity: newVerbosity(0)}, end, &shown)
		log.Warn().Msg("x")
		if got := strings.Contains(shown.String(), "\x1b["); got != colours {
			t.Errorf("%s: %q", term, shown.String())
		}
	}
}
