package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/audit"
	"dynproxy/internal/calls"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/emulator"
	"dynproxy/internal/status"
	"dynproxy/internal/usage"
)

// asJSON reads what an address of the operators answers.
func asJSON[T any](t *testing.T, url string) (value T) {
	t.Helper()
	resp, text := fetch(t, url)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", url, resp.StatusCode, text)
	}
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// Whatever a proxy has seen, any of them shows.
func TestAnyProxyShowsAll(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	settings := p.settings("contoso", "northwind")
	settings[prefix+"TENANTS_DIR"] = t.TempDir() // shared by all, and so one file that changes
	proxies := three(t, settings, server)
	shows := proxies[0]
	var ids []string
	for n, r := range proxies {
		for range n + 1 {
			resp, _ := r.get(whoAmI)
			ids = append(ids, resp.Header.Get("Dynproxy-Request-Id"))
		}
	}
	shows.eventually("each call by its id, and all of them", func() bool {
		for _, id := range ids {
			if resp, _ := fetch(t, shows.ops+"/api/calls/"+id); resp.StatusCode != http.StatusOK {
				return false
			}
		}
		got := asJSON[struct{ Calls []*calls.Call }](t, shows.ops+"/api/calls?tenant=contoso")
		return len(got.Calls) == len(ids)
	})
	if d := asJSON[calls.Detail](t, shows.ops+"/api/calls/"+ids[5]); len(d.Stages) == 0 || d.Next == "" || d.Call.Tenant != "contoso" {
		t.Errorf("a call of another proxy: %+v", d)
	}
	if resp, _ := fetch(t, shows.ops+"/api/calls/nobodys"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a call of nobody's: %d", resp.StatusCode)
	}
	shows.eventually("the sum of usage", func() bool {
		got := asJSON[struct {
			Usage    []usage.Row
			Forecast []usage.Forecast
		}](t, shows.ops+"/api/usage")
		return len(got.Usage) == 1 && got.Usage[0].Requests == int64(len(ids)) && len(got.Forecast) == 1 && got.Forecast[0].Today == int64(len(ids))
	})
	shows.eventually("the calls of the tenant", func() bool {
		got := asJSON[status.Tenant](t, shows.ops+"/api/tenants/contoso")
		sum := 0
		for _, n := range got.Traffic {
			sum += n
		}
		return sum == len(ids) && len(got.Callers) == 1 && got.Callers[0].Used == uint64(len(ids))
	})
	if err := os.WriteFile(filepath.Join(settings[prefix+"TENANTS_DIR"], "third.env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shows.eventually("the change, once", func() bool {
		got := asJSON[struct{ Entries []audit.Entry }](t, shows.ops+"/api/audit")
		if len(got.Entries) > 1 {
			t.Fatalf("%+v", got.Entries)
		}
		return len(got.Entries) == 1
	})
}

// A tenant that breaks at one proxy is looked at by the others, which nobody has
// called.
func TestAStateTurnsEverywhere(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	proxies := three(t, p.settings("contoso"), server)
	in := func(r *running, want string) func() bool {
		return func() bool {
			_, text := fetch(t, r.ops+"/api/tenants")
			return strings.Contains(text, fmt.Sprintf("%q: %q", "state", want))
		}
	}
	for _, r := range proxies {
		r.eventually("ready", in(r, "ready"))
	}
	p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Down})
	for range 5 {
		proxies[0].get(whoAmI)
	}
	for _, r := range proxies {
		r.eventually("broken", in(r, "broken"))
	}
}

// A Redis that is gone takes the others from sight, and nothing else.
func TestWithoutRedisAProxyShowsItsOwn(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	proxies := three(t, p.settings("contoso"), server)
	proxies[1].get(whoAmI)
	proxies[0].get(whoAmI)
	server.Kill()
	proxies[0].eventually("its own call", func() bool {
		got := asJSON[struct{ Calls []*calls.Call }](t, proxies[0].ops+"/api/calls")
		return len(got.Calls) == 1
	})
}
