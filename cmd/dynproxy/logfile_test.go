package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// served runs "dynproxy serve" where there is no log to read until f returns,
// and returns what it printed.
func served(t *testing.T, settings map[string]string, f func(calls, ops string)) string {
	t.Helper()
	settings[prefix+"LISTEN"], settings[prefix+"OPS_LISTEN"] = unused(t), unused(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var printed bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"serve"}, environOf(settings), &printed, &printed) }()
	ops := "http://" + settings[prefix+"OPS_LISTEN"]
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if resp, err := http.Get(ops + "/healthz"); err == nil {
			resp.Body.Close()
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("it does not serve")
		}
	}
	f("http://"+settings[prefix+"LISTEN"], ops)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	return printed.String()
}

// In a file the log is what it is on standard output, where nothing stands
// then; for people it is without colours; and it is whole when the proxy ends.
func TestTheLogInAFile(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	for _, format := range []string{"json", "console", ""} {
		settings := p.settings("contoso")
		path := filepath.Join(t.TempDir(), "dynproxy.log")
		settings[prefix+"LOG_FILE"], settings[prefix+"LOG_FORMAT"] = path, format
		printed := served(t, settings, func(calls, _ string) {
			for range 20 {
				fetch(t, calls+"/contoso/api/data/v9.2/p4th-that-may-be-seen?$filter=name%20eq%20'qu3ry-canary'")
			}
		})
		text, err := os.ReadFile(path)
		if err != nil || printed != "" {
			t.Fatalf("%v; on standard output is %q", err, printed)
		}
		log := string(text)
		if strings.Count(log, "p4th-that-may-be-seen") != 20 || !strings.Contains(log, "serving") || !strings.Contains(log, "ended") ||
			strings.Contains(log, "qu3ry") || strings.Contains(log, demoSecret) || strings.Contains(log, "\x1b") || !strings.HasSuffix(log, "\n") {
			t.Errorf("%s: %s", format, log)
		}
		for line := range strings.Lines(log) {
			if json.Valid([]byte(line)) != (format != "console") {
				t.Errorf("%s: %s", format, line)
			}
		}
	}
}

// A disk that is full costs lines and no calls; they are counted.
func TestALogOnAFullDiskStopsNothing(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		needs.Missing(t, "there is no /dev/full")
	}
	settings := startEmulator(t, demoSeed()).settings("contoso")
	path := filepath.Join(t.TempDir(), "dynproxy.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	settings[prefix+"LOG_FILE"] = path
	printed := served(t, settings, func(calls, ops string) {
		for range 50 {
			if resp, _ := fetch(t, calls+whoAmIPath); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
		}
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if lines := (&child{ops: ops}).dropped(t); lines >= 50 {
				break
			} else if time.Since(began) > 20*time.Second {
				t.Fatalf("%d lines are counted", lines)
			}
		}
	})
	if strings.Count(printed, "\n") != 1 || !strings.Contains(printed, "cannot be written: no space left on device; lines are lost, and counted") {
		t.Errorf("%q", printed)
	}
}
