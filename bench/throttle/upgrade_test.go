package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Two proxies are replaced by one whose program keeps its records in another
// way. While they are side by side it keeps to its share and says so, and when
// the others are gone and their record has ended the budget is its own.
func TestAnUpgradeUnderLoad(t *testing.T) {
	d, redis := withRedis(t, scales["small"], 2)
	if served, _, err := d.ways[0].one(resigned); !served { // so that the record is the old version's
		t.Fatal("the first call failed: ", err)
	}
	d.field.Binary = nextVersion(t)
	d.join(redis.URL())
	d.begin()
	d.until("keeping to a share", func() bool { return isApart(d, 2) })
	time.Sleep(2 * d.scale.limits.Window)
	d.until("the old version's sharing", func() bool { return !isApart(d, 0) && !isApart(d, 1) })
	side := d.overshoot()
	longest := d.stop()
	for range 2 {
		d.leave()
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
	script := filepath.Join(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "dynproxy"), "internal", "cluster", "budget.lua")
	return altered(t, map[string]string{script: otherwise(t, script, "local VERSION = 1\n", "local VERSION = 1000\n")})
}

// otherwise is what a file holds, but for some words.
func otherwise(t *testing.T, path, these, those string) string {
	t.Helper()
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(now), these) != 1 {
		t.Fatalf("%s does not say once %q", path, these)
	}
	return strings.Replace(string(now), these, those, 1)
}

// altered builds the program with other contents of some files.
func altered(t *testing.T, files map[string]string) (binary string) {
	t.Helper()
	dir, overlay := t.TempDir(), make(map[string]string)
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, content := range files {
		overlay[path] = write(filepath.Base(path), content)
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "dynproxy")
	output(t, "go", "-C", output(t, "go", "list", "-m", "-f", "{{.Dir}}", "dynproxy"), "build", "-overlay", write("overlay.json", string(text)), "-o", binary, "./cmd/dynproxy")
	return binary
}

// output is what a command prints.
func output(t *testing.T, command ...string) string {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, &errs)
	}
	return strings.TrimSpace(string(out))
}
