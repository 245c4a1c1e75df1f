package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/daemon"
	"dynproxy/internal/needs"
	"dynproxy/internal/usage"
)

// used are the rows of a running proxy, by caller, service and version.
func (r *running) used(query string) map[string]usage.Row {
	r.t.Helper()
	resp, text := fetch(r.t, r.ops+"/api/usage"+query)
	var found struct{ Usage []usage.Row }
	if err := json.Unmarshal([]byte(text), &found); err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%d %v %s", resp.StatusCode, err, text)
	}
	rows := make(map[string]usage.Row)
	for _, row := range found.Usage {
		rows[strings.TrimSpace(fmt.Sprint(row.Tenant, " ", row.Caller, " ", row.Service, " ", row.Version))] = row
	}
	return rows
}

// Who called what is counted, whatever came of it; a batch counts what is in
// it; what Microsoft has withdrawn is marked; the command and the page say the
// same; a kill costs the last seconds, and a tenant that goes takes it along.
func TestUsage(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings, dir := p.settings("contoso"), t.TempDir()
	settings[prefix+"TENANTS"], settings[prefix+"TENANTS_DIR"] = "", filepath.Join(dir, "tenants")
	settings[prefix+"CALLERS_DIR"], settings[prefix+"STATE_DIR"] = filepath.Join(dir, "callers"), filepath.Join(dir, "state")
	settings[prefix+"TENANT_DAILY_REQUESTS"] = "1000"
	for _, name := range []string{"tenants", "callers"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "tenants", "contoso.env")
	write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	write(t, filepath.Join(dir, "tenants", "other.env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	key := addCaller(t, settings[prefix+"CALLERS_DIR"], "webform", nil)
	r, process := startProcess(t, settings, nil)
	call := func(method, path, body, kind string) {
		t.Helper()
		ask, _ := http.NewRequest(method, r.calls+path, strings.NewReader(body))
		ask.Header.Set("X-Api-Key", key)
		ask.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for range 3 {
		call("GET", whoAmIPath, "", "")
	}
	call("GET", "/contoso/api/data/v8.2/accounts", "", "")
	call("GET", "/contoso/api/data/v9.2/nosuchtable", "", "")
	call("GET", "/contoso/XRMServices/2011/OrganizationData.svc/AccountSet", "", "")
	part := "--b\r\nContent-Type: application/http\r\n\r\nGET /contoso/api/data/v9.2/WhoAmI HTTP/1.1\r\n\r\n\r\n"
	call("POST", "/contoso/api/data/v9.2/$batch", strings.Repeat(part, 5)+"--b--\r\n", "multipart/mixed; boundary=b")
	call("GET", "/other/api/data/v9.2/WhoAmI", "", "")
	for i := range 50 { // a stranger makes no rows
		resp, _ := r.get(fmt.Sprintf("/contoso/api/data/v9.%d/x", i))
		if resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp.Status)
		}
	}
	const web, old, odata, other = "contoso webform webapi v9.2", "contoso webform webapi v8.2", "contoso webform odata2011", "other webform webapi v9.2"
	r.until("all calls", func() bool { u := r.used(""); return u[web].Requests == 5 && u[other].Requests == 1 })
	rows := r.used("?since=2h")
	if len(rows) != 4 || rows[web].Operations != 9 || rows[web].Errors != 1 || rows[web].Retired || rows[web].Last.IsZero() {
		t.Errorf("%+v", rows)
	}
	if !rows[old].Retired || !rows[odata].Retired || rows[odata].Errors != 1 || rows[odata].Operations != 0 || rows[odata].Next == "" {
		t.Errorf("%+v", rows)
	}
	if rows := r.used("?tenant=other"); len(rows) != 1 || rows[other].Requests != 1 {
		t.Errorf("%+v", rows)
	}

	text, _, err := r.command(settings, "usage")
	for _, part := range []string{"odata2011", "RETIRED", "1 requests: OData v2 is deprecated", "forecast", "of the entitlement of 1000"} {
		if err != nil || !strings.Contains(text, part) {
			t.Errorf("the command does not say %q: %v\n%s", part, err, text)
		}
	}
	if text, _, err := r.command(settings, "usage", "--csv", "--since", "1h", "--by", "hour"); err != nil || !strings.HasPrefix(text, "at,tenant,caller,service") || strings.Count(text, "\r\n") < 5 {
		t.Errorf("%v\n%s", err, text)
	}
	if text, _, err := r.command(settings, "usage", "--json", "--caller", "nobody"); err != nil || !strings.Contains(text, `"usage": []`) {
		t.Errorf("%v\n%s", err, text)
	}
	for _, wrong := range [][]string{{"usage", "--since", "soon"}, {"usage", "--by", "week"}, {"usage", "--csv", "--json"}} {
		if _, _, err := r.command(settings, wrong...); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
	if resp, page := fetch(t, r.ops+"/usage"); resp.StatusCode != 200 || !strings.Contains(page, "2 of these 8 requests go to what Microsoft has withdrawn") {
		t.Errorf("%d %s", resp.StatusCode, page)
	}

	r.until("what is kept", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "state", "process-0", "usage.jsonl"))
		return strings.Contains(string(text), `"t":"other"`)
	})
	process.Process.Kill()
	r.over()
	r, _ = startProcess(t, settings, nil)
	if after := r.used("?since=2h"); !maps.Equal(after, rows) {
		t.Errorf("after a kill:\n%+v\n%+v", after, rows)
	}
	os.Remove(file)
	r.until("the tenant to be forgotten", func() bool { return len(r.used("")) == 1 })
	r.until("the disk to forget it", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "state", "process-0", "usage.jsonl"))
		return err == nil && !strings.Contains(string(text), "contoso") && strings.Contains(string(text), "other")
	})
	write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	r.until("a new beginning", func() bool { call("GET", whoAmIPath, "", ""); return r.used("")[web].Requests >= 1 })
	if rows := r.used(""); rows[web].Errors > 0 || rows[old].Requests > 0 || len(rows) != 2 {
		t.Errorf("it remembers: %+v", rows)
	}
}

// While one process takes over from another on one STATE_DIR, nothing is lost
// of what either has counted, and both say the same.
func TestTwoProcessesCountOnOneDirectory(t *testing.T) {
	t.Parallel()
	if !daemon.CanShare {
		needs.Missing(t, "a system on which processes share a port")
	}
	needs.Long(t)
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"STATE_DIR"], settings[prefix+"REUSE_PORT"] = filepath.Join(t.TempDir(), "state"), "true"
	const row = "contoso 127.0.0.1 webapi v9.2"
	calls := int64(0)
	call := func(r *running) {
		t.Helper()
		for range 20 {
			if resp, _ := r.get(whoAmIPath); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
			calls++
		}
	}
	old, _ := startProcess(t, settings, nil)
	settings[prefix+"LISTEN"] = strings.TrimPrefix(old.calls, "http://")
	for range 3 {
		call(old)
		next, _ := startProcess(t, settings, nil)
		call(next) // whichever of the two takes them
		for _, r := range []*running{old, next} {
			r.until("one count", func() bool { return r.used("")[row].Requests == calls })
		}
		old.stop()
		if err := old.over(); err != nil {
			t.Errorf("the old one ended with %v\n%s", err, old.log)
		}
		if got := next.used("")[row].Requests; got != calls {
			t.Errorf("%d of %d calls are known after the old one has ended", got, calls)
		}
		old = next
	}
}

// What the proxy kept back was no request of the organization's: it is neither
// an attempt nor an operation of the entitlement.
func TestWhatWasNotSentIsNoOperation(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam")
	for name, value := range map[string]string{"RATE": "0.01", "BURST": "1", "QUEUE_WAIT": "0s", "DAILY_REQUESTS": "10"} {
		settings[prefix+"TENANT_"+name] = value
	}
	r := start(t, settings)
	for range 12 {
		r.get(whoAmIPath)
	}
	r.get("/fabrikam/api/data/v9.2/WhoAmI") // no consent
	const contoso, fabrikam = "contoso 127.0.0.1 webapi v9.2", "fabrikam 127.0.0.1 webapi v9.2"
	r.until("all calls", func() bool { u := r.used(""); return u[contoso].Requests == 12 && u[fabrikam].Requests == 1 })
	if rows := r.used(""); rows[contoso].Operations != 1 || rows[contoso].Errors != 11 || rows[fabrikam].Operations != 0 || rows[fabrikam].Errors != 1 {
		t.Errorf("%+v", rows)
	}
	for tenant, sent := range map[string]int{"contoso": 1, "fabrikam": 0} {
		if figures, want := r.scrape(), fmt.Sprintf("dynproxy_upstream_attempts_total{tenant=%q} %d.0\n", tenant, sent); !strings.Contains(figures, want) {
			t.Errorf("no %s in\n%s", want, figures)
		}
	}
}
