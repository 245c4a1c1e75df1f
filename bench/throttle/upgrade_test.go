package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/needs"
)

// Two proxies are replaced by one whose program keeps its records in another
// way. While they are side by side it keeps to its share and says so, and when
// the others are gone and their record has ended the budget is its own.
func TestAnUpgradeUnderLoad(t *testing.T) {
	needs.Tool(t, "Redis")
	needs.Long(t)
	redis := redistest.Start(t).URL()
	d := newDrill(t, scales["small"], redis, redis)
	if served, _, err := d.ways[0].one(resigned); !served { // so that the record is the old version's
		t.Fatal("the first call failed: ", err)
	}
	d.field.Binary = nextVersion(t)
	d.join(redis)
	d.begin()
	d.until("keeping to a share", func() bool { return isApart(d, 2) })
	time.Sleep(2 * d.scale.limits.Window)
	d.until("the old version's sharing", func() bool { return !isApart(d, 0) && !isApart(d, 1) })
	side := d.overshoot()
	longest := d.stop()
	for range 2 {
		old := d.proxies[0]
		d.load.first.Add(1)
		d.until("the end of its calls", func() bool { return d.gauge(0, "dynproxy_requests_in_flight", "") == 0 })
		d.field.End(old.PID)
		d.proxies = d.proxies[1:]
	}
	d.stop = d.probe(d.proxies)
	t.Logf("%d refused while versions were side by side, longest extra wait %v; the budget is the new version's %v after the old one's end",
		side, longest.Round(time.Millisecond), d.until("the end of the old record", func() bool { return !isApart(d, 0) }))
	time.Sleep(2 * d.scale.limits.Window)
	// Beside the old version, which does not see it, the new one has its share of each window.
	d.end(int(time.Since(d.load.began)/d.scale.limits.Window+1)*d.share(), nil)
}

// nextVersion builds the program as it is, but for the version of a budget's record.
func nextVersion(t *testing.T) (binary string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "dynproxy").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, dir := strings.TrimSpace(string(out)), t.TempDir()
	script := filepath.Join(root, "internal", "cluster", "budget.lua")
	now, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	next := bytes.Replace(now, []byte("local VERSION = 1\n"), []byte("local VERSION = 1000\n"), 1)
	if bytes.Equal(next, now) {
		t.Fatal("the script does not say its version")
	}
	replaced, overlay := filepath.Join(dir, "budget.lua"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {script: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{replaced: next, overlay: text} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary = filepath.Join(dir, "dynproxy")
	if out, err := exec.Command("go", "-C", root, "build", "-overlay", overlay, "-o", binary, "./cmd/dynproxy").CombinedOutput(); err != nil {
		t.Fatalf("build the next version: %v\n%s", err, out)
	}
	return binary
}
