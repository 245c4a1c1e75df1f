package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/status"
)

func (r *running) facts(t *testing.T, name string) (status.Tenant, int) {
	t.Helper()
	resp, text := fetch(t, r.ops+"/api/tenants/"+name)
	var facts status.Tenant
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &facts); err != nil {
			t.Fatal(err)
		}
	}
	return facts, resp.StatusCode
}

// The portal knows what calls have shown, asks nothing of an organization
// until somebody looks, and forgets a tenant that is removed.
func TestThePortalKnowsWhatCallsHaveShown(t *testing.T) {
	p := pretended(t, demoSeed())
	settings, dir := p.settings("contoso"), t.TempDir()
	settings[prefix+"TENANTS"], settings[prefix+"TENANTS_DIR"] = "", dir
	file := filepath.Join(dir, "contoso.env")
	write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	write(t, filepath.Join(dir, "broken.env"), []byte("ORG_URL=nonsense\n"))
	r := start(t, settings)
	if n := p.Organization("contoso").Received(); n != 0 {
		t.Errorf("%d requests before anybody looked", n)
	}
	r.get(whoAmIPath)
	r.get("/contoso/api/data/v9.2/nosuchtable")
	r.get("/contoso/main.aspx")
	facts, _ := r.facts(t, "contoso")
	if facts.State != status.Ready || time.Since(facts.Success) > time.Minute || facts.Traffic[59]+facts.Traffic[58] != 3 || facts.TokenEnds.IsZero() || facts.Budget.Limit != 6000 || facts.Budget.Requests < 2 {
		t.Errorf("%+v", facts)
	}
	codes := map[string]int{}
	for _, f := range facts.Failures {
		codes[f.Code] = f.Count
	}
	if codes["status 404"] != 1 || codes["path_not_allowed"] != 1 {
		t.Errorf("recent errors %v", codes)
	}
	if len(facts.Callers) != 1 || facts.Callers[0].Used < 2 {
		t.Errorf("callers %+v", facts.Callers)
	}
	if facts, _ := r.facts(t, "broken"); facts.State != status.Broken || !strings.Contains(facts.Fault, "ORG_URL") {
		t.Errorf("a faulty file: %+v", facts)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // since somebody looked
		if facts, _ := r.facts(t, "contoso"); facts.Report != nil && facts.Report.OK {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("nobody looked at the chain")
		}
	}
	os.Remove(file)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, status := r.facts(t, "contoso"); status == http.StatusNotFound {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the tenant is still there")
		}
	}
	write(t, file, []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if facts, status := r.facts(t, "contoso"); status == http.StatusOK {
			if !facts.TokenEnds.IsZero() || !facts.Success.IsZero() || facts.Budget.Requests != 0 {
				t.Errorf("something was kept: %+v", facts)
			}
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("the tenant does not come back")
		}
	}
}

func TestThePortalIsBehindThePassword(t *testing.T) {
	p := pretended(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_PASSWORD"] = "let me in"
	r := start(t, settings)
	for _, path := range []string{"/", "/wallboard", "/tenants/contoso", "/api/tenants", "/metrics", "/nosuch"} {
		if resp, _ := fetch(t, r.ops+path); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/consent/nobody": 404, "/consent/callback": 400, "/portal.css": 200} {
		if resp, _ := fetch(t, r.ops+path); resp.StatusCode != want || resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}

// A hundred tenants are checked side by side; one whose organization never
// answers does not hold up what is said of the others.
func TestAHundredTenantsAreCheckedSideBySide(t *testing.T) {
	p := pretended(t, demoSeed())
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	settings := p.settings("contoso")
	list := []string{"deaf=https://" + deaf.Addr().String()}
	for i := range 99 {
		list = append(list, fmt.Sprintf("t%d=%s", i, p.OrgURL("contoso")))
	}
	settings[prefix+"TENANTS"] = strings.Join(list, ",")
	settings[prefix+"ALLOWED_ORG_HOSTS"] += "," + deaf.Addr().String()
	cfg, err := loadConfig(settings)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newApp(cfg, newLog(cfg, new(strings.Builder)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	time.AfterFunc(4*time.Second, cancel)
	reports, err := h.checkAll(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	well := 0
	for _, r := range reports {
		if r.OK {
			well++
		}
	}
	t.Logf("%d well after %v", well, time.Since(began))
	if well != 99 || len(reports) != 100 {
		t.Errorf("%d of %d are well", well, len(reports))
	}
	if l := reports[0].Link(check.TLS); reports[0].Tenant != "deaf" || l.State != check.Broken {
		t.Errorf("the deaf one: %+v", reports[0].FirstProblem())
	}
}
