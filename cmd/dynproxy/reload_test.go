package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/envfile"
)

// Of each setting it is decided whether a running proxy takes it up.
func TestConfigSaysWhatChangesWithoutARestart(t *testing.T) {
	for _, name := range envfile.Names[settings]() {
		if slices.Contains(liveSettings, name) == slices.Contains(restartSettings, name) {
			t.Errorf("%s must stand in live.go, once: among liveSettings (and be put in force by server.apply) or among restartSettings", name)
		}
	}
	for _, name := range slices.Concat(liveSettings, restartSettings) {
		if !slices.Contains(envfile.Names[settings](), name) {
			t.Errorf("%s is no setting any more: take it out of live.go", name)
		}
	}
}

// reloadable is a proxy whose settings stand in files.
type reloadable struct {
	*running
	file     string
	settings map[string]string
}

// startWithFile starts a proxy whose settings stand in a file, but for those
// in real, which are of its environment.
func startWithFile(t *testing.T, settings map[string]string, real ...string) *reloadable {
	t.Helper()
	f := &reloadable{file: filepath.Join(t.TempDir(), "settings.env"), settings: settings}
	for _, name := range []string{"LISTEN", "OPS_LISTEN"} {
		if settings[prefix+name] == "" {
			settings[prefix+name] = "127.0.0.1:0"
		}
	}
	f.write()
	f.running = startArgs(t, []string{"serve", "--env-file", f.file}, real)
	return f
}

func (f *reloadable) write() {
	var text strings.Builder
	for name, value := range f.settings {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	if err := os.WriteFile(f.file, []byte(text.String()), 0o600); err != nil {
		panic(err)
	}
}

// change writes the settings with changes, NAME=VALUE or -NAME, and has them
// read again. It returns when the log says what came of it.
func (f *reloadable) change(changes ...string) string {
	f.t.Helper()
	for _, c := range changes {
		if gone, is := strings.CutPrefix(c, "-"); is {
			delete(f.settings, prefix+gone)
			continue
		}
		name, value, _ := strings.Cut(c, "=")
		f.settings[prefix+name] = value
	}
	f.write()
	return f.again()
}

// again asks for the settings to be read, and returns the line that tells of it.
func (f *reloadable) again() (said string) {
	f.t.Helper()
	hangUp(f.t)
	f.await("what came of reading the settings again", func(line string) bool {
		said = line
		return strings.Contains(line, "read again")
	})
	return said
}

func TestSettingsAreReadAgain(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	dir := t.TempDir()
	settings[prefix+"TENANTS_DIR"] = dir
	os.WriteFile(filepath.Join(dir, "northwind.env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\nREAD_ONLY=false\n"), 0o600)
	os.WriteFile(filepath.Join(dir, "bare.env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\n"), 0o600)
	f := startWithFile(t, settings, prefix+"ANSWER_IDLE_TIMEOUT=77s")
	refused := func(tenant, code string) {
		t.Helper()
		resp, err := http.Post(f.calls+"/"+tenant+"/api/data/v9.2/accounts", "application/json", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Dynproxy-Error"); got != code {
			t.Errorf("%s: refused with %q, want %q", tenant, got, code)
		}
	}
	refused("contoso", "")

	// A default of tenants, for those that have no say of their own.
	said := f.change("TENANT_READ_ONLY=true")
	if !strings.Contains(said, `"changed":["DYNPROXY_TENANT_READ_ONLY"]`) {
		t.Errorf("said %s", said)
	}
	refused("contoso", "read_only")
	refused("bare", "read_only")
	refused("northwind", "")
	// The second change, and the line that is deleted: the default is back.
	f.change("TENANT_READ_ONLY=false")
	refused("bare", "")
	f.change("-TENANT_READ_ONLY", "TENANT_PATHS=/api/search/")
	refused("bare", "path_not_allowed")
	f.change("-TENANT_PATHS")
	refused("bare", "")
	questions := len(p.Organization("contoso").Requests())
	f.change("TENANT_QUEUE_WAIT=31s")
	refused("contoso", "")
	if asked := len(p.Organization("contoso").Requests()); asked != questions+1 {
		t.Errorf("%d requests for one call: changed policies ask an organization nothing", asked-questions)
	}

	// Tenants, addresses and names of the environment.
	f.change("TENANTS=contoso="+p.OrgURL("contoso")+",second="+p.OrgURL("contoso"), "ALLOW_CIDRS=127.0.0.1,::1")
	refused("second", "")
	f.change("ALLOW_CIDRS=192.0.2.1")
	refused("second", "forbidden")
	f.change("-ALLOW_CIDRS", "TENANTS=contoso="+p.OrgURL("contoso"))
	refused("contoso", "")
	refused("second", "tenant_unknown")

	// The log's level, at the most talkative and back.
	f.settings[prefix+"LOG_LEVEL"] = "error"
	f.write()
	hangUp(t)
	for silent := false; !silent; { // nothing tells at this level that it is in force
		before := strings.Count(f.log.String(), `"message":"call"`)
		f.get("/contoso/api/data/v9.2/WhoAmI")
		time.Sleep(20 * time.Millisecond)
		silent = strings.Count(f.log.String(), `"message":"call"`) == before
	}
	f.change("LOG_LEVEL=info")

	// Who asks in the middle of another reload is heard: what was written last
	// holds.
	for _, queue := range []string{"11s", "12s", "13s", "14s"} {
		f.settings[prefix+"TENANT_QUEUE_WAIT"] = queue
		f.settings[prefix+"TENANT_READ_ONLY"] = fmt.Sprint(queue == "14s")
		f.write()
		hangUp(t)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Post(f.calls+"/contoso/api/data/v9.2/accounts", "application/json", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Header.Get("Dynproxy-Error") == "read_only" {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("what was written last is not in force\n%s", f.log)
		}
	}
	f.change("-TENANT_READ_ONLY")

	// What cannot change is named, and only for as long as it differs.
	f.change("LISTEN=127.0.0.1:9", "GC_HEADROOM=32MB", "HTTPS_PROXY_OF_NOBODY=x")
	f.await("what needs a restart", func(line string) bool {
		return strings.Contains(line, "need a restart") && strings.Contains(line, `"settings":["DYNPROXY_GC_HEADROOM","DYNPROXY_LISTEN"]`)
	})
	refused("contoso", "")
	f.change("LISTEN=127.0.0.1:0", "-GC_HEADROOM", "-HTTPS_PROXY_OF_NOBODY", "ANSWER_IDLE_TIMEOUT=1s")
	refused("contoso", "")
	before := strings.Count(f.log.String(), "need a restart")
	f.again()
	if n := strings.Count(f.log.String(), "need a restart"); n != before {
		t.Errorf("%d times a restart was asked for", n)
	}
	if strings.Contains(f.log.String(), "ANSWER_IDLE_TIMEOUT\"") {
		t.Error("a variable of the environment does not win over the file")
	}
}

// Settings with faults change nothing; each fault is told. A setting that is
// sound by itself, and not beside what needs a restart, is one.
func TestSettingsWithFaultsChangeNothing(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_LISTEN"], settings[prefix+"OPS_PASSWORD"] = "0.0.0.0:0", "the-first-password"
	f := startWithFile(t, settings)
	f.ops = strings.Replace(f.ops, "[::]", "127.0.0.1", 1)
	let := func(password string) bool {
		r, _ := http.NewRequest("GET", f.ops+"/api/tenants", nil)
		r.SetBasicAuth("x", password)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	}
	stays := func(names ...string) {
		t.Helper()
		told := f.log.String()
		for _, name := range names {
			if !strings.Contains(told, `"setting":"`+name+`"`) {
				t.Errorf("%s is not told of", name)
			}
		}
		if resp, _ := f.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode != 200 || !let("the-first-password") {
			t.Errorf("something has changed: %d", resp.StatusCode)
		}
	}
	f.change("OPS_PASSWORD=the-second-password", "TENANT_RATE=fast", "LOG_LEVEL=loud", "UPSTREAM_TIMEOUT=-1s")
	stays(prefix+"TENANT_RATE", prefix+"UPSTREAM_TIMEOUT", prefix+"LOG_LEVEL")
	// With this OPS_LISTEN no password is needed; with the one that stays it is.
	f.change("-TENANT_RATE", "-LOG_LEVEL", "-UPSTREAM_TIMEOUT", "OPS_LISTEN=127.0.0.1:0", "-OPS_PASSWORD")
	stays(prefix + "OPS_LISTEN")
	f.change("OPS_LISTEN=0.0.0.0:0", "OPS_PASSWORD_FILE="+f.file+".none")
	stays(prefix + "OPS_PASSWORD_FILE")
	os.Rename(f.file, f.file+".away")
	f.again()
	stays("--env-file")
	os.Rename(f.file+".away", f.file)
	f.change("-OPS_PASSWORD_FILE", "OPS_PASSWORD=the-second-password")
	if let("the-first-password") || !let("the-second-password") {
		t.Error("the second password is not in force")
	}
	for _, secret := range []string{"the-first-password", "the-second-password", demoSecret} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// A hundred reloads of changing settings, some of them with faults, under some
// three hundred requests a second: none is lost and none is refused.
func TestAHundredReloadsLoseNoCall(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "northwind")
	f := startWithFile(t, settings)
	load := startCalls(t, 300, aCall{http.MethodGet, f.calls + whoAmIPath, ""})
	for i := range 100 {
		load.more(5)
		switch i % 4 {
		case 0:
			f.change(fmt.Sprintf("TENANT_QUEUE_WAIT=%ds", 20+i), "TENANT_REQUESTS=5900", fmt.Sprintf("UPSTREAM_TIMEOUT=%dm", 1+i))
		case 1:
			f.change("TENANTS=contoso=" + p.OrgURL("contoso"))
		case 2:
			f.change("LOG_LEVEL=loud") // a fault
		case 3:
			f.change("-LOG_LEVEL", "-TENANT_REQUESTS", fmt.Sprintf("MAX_CONNECTIONS=%d", 1000+i), "TENANTS=contoso="+p.OrgURL("contoso")+",northwind="+p.OrgURL("northwind"))
		}
	}
	load.end(t, "a hundred reloads")
	told := f.log.String()
	t.Logf("%d reloads in force, %d refused, %d mints", strings.Count(told, "the settings were read again"),
		strings.Count(told, "cannot be read again"), p.Entra().TokenRequests(emulator.TokenRequest{}))
}

// Who writes down what holds anyway has changed nothing, and needs no restart.
func TestASettingThatSaysItsDefaultIsNoChange(t *testing.T) {
	before := map[string]string{prefix + "KEEP_ALIVE": "2m", prefix + "LISTEN": "127.0.0.1:1", prefix + "TENANT_REQUESTS": ""}
	after := map[string]string{prefix + "REUSE_PORT": "false", prefix + "DRAIN_DELAY": "0s", prefix + "LOG_LEVEL": "info", prefix + "LISTEN": "127.0.0.1:8080", prefix + "TENANT_REQUESTS": "6000"}
	// A tenant's number that somebody has set is a ceiling, and the default is none.
	want := []string{prefix + "LISTEN", prefix + "TENANT_REQUESTS"}
	if got := differing(before, after); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := differing(after, before); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
