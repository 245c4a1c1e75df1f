package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/cluster/redistest"
)

// command runs a command line with settings and returns what it says.
func command(t *testing.T, settings map[string]string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, environOf(settings), &out, &out)
	return out.String(), err
}

// bookOf are settings of a machine whose tenants and callers lie in Redis.
func bookOf(p *localEmulator, server *redistest.Server) map[string]string {
	settings := withRedis(p.settings("contoso", "northwind"), server.URL())
	delete(settings, prefix+"TENANTS")
	settings[prefix+"TENANTS_REDIS"] = "true"
	settings[prefix+"OPS_PASSWORD"] = opsWord
	return settings
}

func (r *running) calledWith(key, tenant string) string {
	r.t.Helper()
	q, err := http.NewRequest("GET", r.calls+"/"+tenant+"/api/data/v9.2/WhoAmI", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("X-Api-Key", key)
	resp, _ := send(r.t, q)
	return resp.Status + " " + resp.Header.Get("Dynproxy-Error")
}

// Tenants and callers in Redis: commands on a third machine and the API of one
// proxy change them for all, with the checks that files have; without Redis, and
// over a restart without it, proxies go on with what they have; an emptied one
// gets it back.
func TestTenantsAndCallersInRedis(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	settings, dir := bookOf(p, server), t.TempDir()
	must := func(args ...string) string {
		t.Helper()
		out, err := command(t, settings, args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	on := func(name string) map[string]string {
		one := bookOf(p, server)
		one[prefix+"STATE_DIR"] = filepath.Join(dir, name)
		return one
	}
	a, b := start(t, on("a")), start(t, on("b"))
	desk := &desk{a, ""}
	change := func(method, path, body string) int {
		status, _ := desk.ask(method, path, body)
		return status
	}
	must("tenant", "add", "contoso", p.OrgURL("contoso"))
	lines := strings.Split(strings.TrimSpace(must("caller", "add", "webform")), "\n")
	key := lines[len(lines)-1]
	for _, r := range []*running{a, b} {
		r.eventually("the tenant and the caller", func() bool { return r.calledWith(key, "contoso") == "200 OK " })
	}
	if out, err := command(t, settings, "tenant", "add", "contoso", p.OrgURL("northwind")); err == nil || !strings.Contains(out+err.Error(), "--replace") {
		t.Errorf("another address: %v %s", err, out)
	}
	if out := must("tenant", "list"); !strings.Contains(out, "contoso") {
		t.Error(out)
	}
	// Where a command keeps its copy is gone when it is read.
	for _, args := range [][]string{
		{"tenant", "remove", "nobody"}, {"tenant", "set", "nobody", "RATE=5"}, {"tenant", "show", "nobody"}, {"check", "nobody"}, {"consent-url", "nobody"},
		{"caller", "remove", "nobody"}, {"caller", "show", "nobody"}, {"caller", "rotate", "nobody"},
	} {
		if out, err := command(t, settings, args...); err == nil || !strings.Contains(err.Error(), "there is no "+args[0]) && !strings.Contains(err.Error(), "there is no tenant") || strings.Contains(out+err.Error(), "dynproxy-book") {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	if status := change("PUT", "/api/tenants/north", `{"ORG_URL":"`+p.OrgURL("contoso")+`"}`); status != http.StatusCreated {
		t.Errorf("over HTTP: %d", status)
	}
	b.eventually("what came over HTTP at the other", func() bool { return b.calledWith(key, "north") == "200 OK " })
	if status := change("PATCH", "/api/tenants/north", `{"RATE":"fast"}`); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong setting: %d", status)
	}

	// Files go out and in.
	files := filepath.Join(dir, "out")
	must("tenant", "export", files)
	if text, err := os.ReadFile(filepath.Join(files, "contoso.env")); err != nil || !strings.Contains(string(text), p.OrgURL("contoso")) {
		t.Errorf("%s %v", text, err)
	}
	write(t, filepath.Join(files, "third.env"), []byte("\ufeffORG_URL="+p.OrgURL("contoso")+"\r\n"))
	must("tenant", "import", files)
	b.eventually("what was imported", func() bool { return b.calledWith(key, "third") == "200 OK " })
	must("tenant", "remove", "third")
	for _, r := range []*running{a, b} { // who has not heard of it would put it back
		r.eventually("what was removed", func() bool { return strings.Contains(r.calledWith(key, "third"), "tenant_unknown") })
	}

	server.CLI("FLUSHALL")
	a.eventually("all of it again", func() bool {
		out, err := command(t, settings, "tenant", "list")
		return err == nil && strings.Contains(out, "contoso") && strings.Contains(out, "north") && !strings.Contains(out, "third")
	})
	for _, k := range server.Dump() {
		for _, text := range []string{"contoso", p.OrgURL("contoso"), "webform"} {
			for _, form := range hiding(text) {
				if k.Life < 0 || strings.Contains(k.Name+k.Bytes, form) {
					t.Errorf("%s is in %s, which lives for %d", text, k.Name, k.Life)
				}
			}
		}
	}

	server.Kill()
	if got := a.calledWith(key, "contoso"); got != "200 OK " {
		t.Errorf("without Redis: %s", got)
	}
	a.eventually("a refusal of changes", func() bool {
		return change("PUT", "/api/tenants/fourth", `{"ORG_URL":"`+p.OrgURL("contoso")+`"}`) == http.StatusServiceUnavailable
	})
	if out, err := command(t, settings, "tenant", "list"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a command without Redis: %v %s", err, out)
	}
	a.end()
	again := start(t, on("a"))
	if got := again.calledWith(key, "north"); got != "200 OK " {
		t.Errorf("after a restart without Redis: %s", got)
	}
}

// A command says why Redis is of no use, and not that it is of none.
func TestAWrongPasswordOfRedisIsToldByCommands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "right")
	for address, want := range map[string]string{
		"redis://:wr0ng@" + server.Addr(): "Redis does not accept the user or the password",
		server.URL():                      "Redis wants a password",
		"redis://:wr0ng@127.0.0.1:1":      "Redis cannot be reached",
	} {
		for _, args := range [][]string{{"caller", "list"}, {"tenant", "list"}, {"caller", "add", "webform"}} {
			out, err := command(t, with("TENANTS=", "TENANTS_REDIS=true", "REDIS_URL="+address), args...)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error()+out, "wr0ng") {
				t.Errorf("%v: %v %s, want %q", args, err, out, want)
			}
		}
	}
}

func TestTenantsInRedisAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		want     string
	}{
		"no Redis":      {with("TENANTS=", "TENANTS_REDIS=true"), "TENANTS_REDIS needs a Redis"},
		"a directory":   {with("TENANTS_REDIS=true", "REDIS_URL=redis://x", "TENANTS_DIR=x"), "exclude each other"},
		"no secret":     {with("TENANTS_REDIS=true", "REDIS_URL=redis://x", "CLIENT_SECRET=", "MANAGED_IDENTITY=system"), "LINK_KEY_FILE"},
		"all is well":   {with("TENANTS=", "TENANTS_REDIS=true", "REDIS_URL=redis://x"), ""},
		"a list beside": {with("TENANTS_REDIS=true", "REDIS_URL=redis://x", "LISTEN=0.0.0.0:80"), ""},
	} {
		_, err := loadConfig(c.settings)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
