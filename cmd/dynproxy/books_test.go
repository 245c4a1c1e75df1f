package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A caller that may only read does not write while its file is being saved
// piece by piece, however often that happens.
func TestAHalfSavedCallerDoesNotWrite(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	dir := t.TempDir()
	key := addCaller(t, dir, "webform", map[string]string{"READ_ONLY": "true"})
	path := filepath.Join(dir, "webform.env")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	half := strings.Index(string(text), "READ_ONLY")
	settings := p.settings("contoso")
	settings[prefix+"CALLERS_DIR"] = dir
	r := start(t, settings)

	saved := make(chan time.Duration, 1) // the longest time for which the file was half there
	go func() {
		var longest time.Duration
		for range 12 {
			began := time.Now()
			os.WriteFile(path, text[:half], 0o600)
			time.Sleep(150 * time.Millisecond) // the pause of a slow editor
			os.WriteFile(path, text, 0o600)
			longest = max(longest, time.Since(began))
			time.Sleep(50 * time.Millisecond)
		}
		saved <- longest
	}()
	for asked := 0; ; asked++ {
		req, _ := http.NewRequest("POST", r.calls+"/contoso/api/data/v9.2/accounts", strings.NewReader(`{"name":"forbidden"}`))
		req.Header.Set("X-Api-Key", key)
		req.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden {
			// What stands still for half a second counts, also on a machine so busy
			// that the editor was held up that long.
			if longest := <-saved; longest < 500*time.Millisecond {
				t.Fatalf("write %d: %s, though no pause was longer than %v", asked, answer.Status, longest)
			}
			return
		}
		select {
		case <-saved:
			return
		default:
		}
	}
}

// A directory that goes for a while is a fault of the directory, of no tenant,
// and forgotten when it is back.
func TestADirectorysFaultIsNobodysAndPasses(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	dir := filepath.Join(t.TempDir(), "tenants")
	os.Mkdir(dir, 0o700)
	if err := os.WriteFile(filepath.Join(dir, "contoso.env"), []byte("ORG_URL="+p.OrgURL("contoso")), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := p.settings("contoso")
	delete(settings, prefix+"TENANTS")
	settings[prefix+"TENANTS_DIR"] = dir
	r := start(t, settings)
	look := func(path string) string {
		answer, err := http.Get(r.ops + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var text json.RawMessage
		if err := json.NewDecoder(answer.Body).Decode(&text); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	until := func(what string, is func(ready string) bool) {
		t.Helper()
		var ready string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if ready = look("/readyz"); is(ready) {
				return
			}
		}
		t.Fatalf("%s: %s", what, ready)
	}
	healthy := look("/readyz")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	until("the fault", func(ready string) bool {
		return strings.Contains(ready, `"tenants_dir":`) && strings.Contains(ready, `"faults":0`) && strings.Contains(ready, `"tenants":1`)
	})
	if all := look("/api/tenants"); strings.Contains(all, `"name":""`) || !strings.Contains(all, `"contoso"`) {
		t.Errorf("a tenant without a name: %s", all)
	}
	os.Rename(dir+".away", dir)
	until("back again", func(ready string) bool { return ready == healthy })
}
