package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
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
	t.Parallel()
	p := startEmulator(t, demoSeed())
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
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_PASSWORD"] = "let me in"
	r := start(t, settings)
	for _, path := range []string{"/", "/wallboard", "/tenants/contoso", "/api/tenants", "/metrics", "/nosuch"} {
		if resp, _ := fetch(t, r.ops+path); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/consent/nobody": 404, "/consent/contoso": 404, "/consent/callback": 400, "/portal.css": 200} {
		if resp, _ := fetch(t, r.ops+path); resp.StatusCode != want || resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}

// A hundred tenants are checked side by side; one whose organization never
// answers does not hold up what is said of the others.
func TestAHundredTenantsAreCheckedSideBySide(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
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
	settings[prefix+"UPSTREAM_TIMEOUT"] = "10s"
	cfg, err := loadConfig(settings)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newApp(cfg, newLog(cfg, io.Discard, io.Discard), false)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	reports, err := h.checkAll(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	well := 0
	for _, r := range reports {
		if r.OK {
			well++
		}
	}
	if well != 99 || len(reports) != 100 {
		t.Errorf("%d of %d are well", well, len(reports))
	}
	if l := reports[0].Link(check.TLS); reports[0].Tenant != "deaf" || l.State != check.Broken {
		t.Errorf("the deaf one: %+v", reports[0].FirstProblem())
	}
}

// signedLink is the link to consent that the portal shows of a tenant.
func signedLink(t *testing.T, page string) string {
	t.Helper()
	found := regexp.MustCompile(`href="(http://[^"]*/consent/[^"]*)"`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no link in %s", page)
	}
	return html.UnescapeString(found[1])
}

// Behind a password the links that portal and command print work, for who has
// no password; and the open page leads an administrator of whichever tenant to
// Entra ID and back, and the operators see who came.
func TestConsentBehindAPassword(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam")
	settings[prefix+"OPS_PASSWORD"], settings[prefix+"OPS_LISTEN"] = "let me in", unused(t)
	r := start(t, settings)
	asOperator := strings.Replace(r.ops, "http://", "http://ann:let%20me%20in@", 1)
	_, page := fetch(t, asOperator+"/tenants/fabrikam")
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"consent-url", "fabrikam", "--page"}, environOf(settings), &out, &errs); err != nil {
		t.Fatal(err, errs.String())
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	leads := func(link string) *url.URL {
		t.Helper()
		resp, err := client.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			t.Fatalf("%s: %d", link, resp.StatusCode)
		}
		return to
	}
	for _, link := range []string{signedLink(t, page), strings.TrimSpace(out.String())} {
		if to := leads(link); to.Host != p.LoginHost() || !strings.Contains(to.Path, p.Organization("fabrikam").TenantID()+"/v2.0/adminconsent") {
			t.Errorf("%s leads to %v", link, to)
		}
	}
	base := strings.TrimSuffix(signedLink(t, page)[:strings.Index(signedLink(t, page), "/consent/")], "/")
	to := leads(base + "/consent")
	if to.Host != p.LoginHost() || !strings.HasPrefix(to.Path, "/organizations/") {
		t.Errorf("/consent leads to %v", to)
	}
	stranger := p.Organization("northwind").TenantID()
	resp, err := client.Get(p.accepted(t, to, stranger))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	resp.Body.Close()
	if _, text := fetch(t, asOperator+"/api/newcomers"); !strings.Contains(text, stranger) {
		t.Errorf("operators see %s", text)
	}
	if resp, _ := fetch(t, r.ops+"/api/newcomers"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("strangers see newcomers: %d", resp.StatusCode)
	}
}

// accepted presses Accept on the page of Entra ID, as the administrator of a
// tenant, and returns where that leads to.
func (p *localEmulator) accepted(t *testing.T, page *url.URL, tenantID string) string {
	t.Helper()
	p.Entra().AddRedirectURI(demoClientID, page.Query().Get("redirect_uri"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA())
	r, err := http.NewRequest(http.MethodPost, page.String(), strings.NewReader(url.Values{"tenant": {tenantID}, "decision": {"accept"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r) // which follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusFound {
		t.Fatalf("Entra ID answers %d %s", resp.StatusCode, text)
	}
	return resp.Header.Get("Location")
}

// A link outlives a change of the secret where its key is kept, and works with
// a credential that is no secret.
func TestALinkOutlivesTheSecret(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	dir := t.TempDir()
	keyFile, federated := filepath.Join(dir, "key"), filepath.Join(dir, "federated")
	write(t, keyFile, []byte("\ufeff a key that is long enough \r\n"))
	write(t, federated, []byte("an assertion"))
	for name, kept := range map[string][2]string{"LINK_KEY_FILE": {"LINK_KEY_FILE", keyFile}, "STATE_DIR": {"STATE_DIR", filepath.Join(dir, "state")}} {
		before := p.settings("contoso")
		before[prefix+kept[0]] = kept[1]
		var out, errs bytes.Buffer
		if err := run(t.Context(), []string{"consent-url", "contoso"}, environOf(before), &out, &errs); err != nil || errs.Len() > 0 {
			t.Fatal(name, err, errs.String())
		}
		link, err := url.Parse(strings.TrimSpace(out.String()))
		if err != nil {
			t.Fatal(err)
		}
		after := p.settings("contoso")
		after[prefix+kept[0]] = kept[1]
		delete(after, prefix+"CLIENT_SECRET")
		after[prefix+"FEDERATED_TOKEN_FILE"] = federated
		r := start(t, after)
		resp, text := fetch(t, r.ops+"/consent/callback?admin_consent=True&state="+url.QueryEscape(link.Query().Get("state")))
		if resp.StatusCode != http.StatusOK || strings.Contains(text, "no question of ours") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "state", "link.key"))
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", err, info)
	}
	for _, wrong := range []string{filepath.Join(dir, "none"), federated} {
		settings := p.settings("contoso")
		settings[prefix+"LINK_KEY_FILE"] = wrong
		var errs bytes.Buffer
		err := run(t.Context(), []string{"consent-url", "contoso"}, environOf(settings), io.Discard, &errs)
		if exitStatus(err, &errs) != 2 || !strings.Contains(errs.String(), "DYNPROXY_LINK_KEY_FILE") || strings.Contains(errs.String(), "assertion") {
			t.Errorf("%s: %v %s", wrong, err, errs.String())
		}
	}
}

func environOf(settings map[string]string) []string {
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	return environ
}

// What is wrong with the settings as a whole is on the portal: a directory that
// is gone, and two tenants whose numbers cannot both hold.
func TestThePortalAndCheckTellOfSettingsThatDoNotHold(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings, dir := p.settings("contoso"), filepath.Join(t.TempDir(), "tenants")
	settings[prefix+"TENANTS"], settings[prefix+"TENANTS_DIR"] = "", dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, requests := range map[string]string{"one": "1000", "same": "1000", "other": "10"} {
		write(t, filepath.Join(dir, name+".env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\nREQUESTS="+requests+"\n"))
	}
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	var out, errs bytes.Buffer
	run(t.Context(), []string{"check", "--json"}, environ, &out, &errs)
	var reports []check.Report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != 3 {
		t.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	for _, report := range reports {
		l := report.Link(check.Settings)
		want := map[string]string{"one": "shared with other,", "same": "shared with other,", "other": "shared with one, same,"}[report.Tenant]
		if !report.OK || l.State != check.Warning || !strings.Contains(l.Finding, want) || !strings.Contains(l.Finding, "the stricter hold") || l.Next == "" {
			t.Errorf("%s: %+v", report.Tenant, l)
		}
	}

	r := start(t, settings)
	shown := func(there bool) {
		t.Helper()
		for _, path := range []string{"/", "/wallboard", "/api/tenants"} {
			for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				_, text := fetch(t, r.ops+path)
				if strings.Contains(text, "DYNPROXY_TENANTS_DIR cannot be read") == there && strings.Contains(text, "other") {
					break
				}
				if time.Since(began) > 20*time.Second {
					t.Fatalf("%s: %s", path, text)
				}
			}
		}
	}
	os.Rename(dir, dir+".away")
	shown(true)
	os.Rename(dir+".away", dir)
	shown(false)
}
