package main

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// fill sends a form of the portal as a browser without scripts does: as alice,
// from the portal's own page.
func (d *desk) fill(path string, values url.Values) (int, string, string) {
	d.t.Helper()
	r, err := http.NewRequest("POST", d.ops+path, strings.NewReader(values.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	r.SetBasicAuth("alice", opsWord)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := http.DefaultTransport.RoundTrip(r) // which follows no redirect
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

var shownKey = regexp.MustCompile(`<code class="key">([^<]+)</code>`)

// What commands and HTTP do, an operator does on pages: tenants and callers
// come, change and go, keys are shown once, and all of it is recorded.
func TestAnOperatorWorksOnPages(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	must := func(what string, status, want int, text string) {
		t.Helper()
		if status != want {
			t.Fatalf("%s: %d\n%s", what, status, text)
		}
	}

	status, at, text := d.fill("/change/tenant", url.Values{"name": {"Extra"}, "ORG_URL": {p.OrgURL("contoso")}})
	must("add a tenant", status, 303, text)
	if at != "/tenants/extra" {
		t.Errorf("it leads to %s", at)
	}
	status, _, text = d.fill("/change/tenant", url.Values{"name": {"extra"}, "ORG_URL": {p.OrgURL("contoso")}})
	must("add it again", status, 422, text)
	status, _, text = d.fill("/change/tenant", url.Values{"name": {"other"}, "ORG_URL": {"nonsense"}, "RATE": {"x"}})
	if must("nonsense", status, 422, text); !strings.Contains(text, "ORG_URL") || !strings.Contains(text, "RATE") || !strings.Contains(text, `value="nonsense"`) {
		t.Errorf("the faults, or what was typed, are not shown: %s", text)
	}
	status, _, text = d.fill("/change/tenant", url.Values{"name": {"extra"}, "existing": {"1"}, "ORG_URL": {p.OrgURL("contoso")}, "READ_ONLY": {"true"}, "CLIENT_SECRET": {"tenants-own-word"}, "CLIENT_ID": {"33333333-2222-4333-8444-555555555555"}})
	must("change it", status, 303, text)
	_, text = d.ask("GET", "/change/tenant?name=extra", "")
	if !strings.Contains(text, `name="READ_ONLY" value="true"`) || strings.Contains(text, "tenants-own-word") || !strings.Contains(text, "it has a value") {
		t.Errorf("its form: %s", text)
	}
	status, _, text = d.fill("/change/tenant", url.Values{"name": {"extra"}, "existing": {"1"}, "ORG_URL": {p.OrgURL("contoso")}, "READ_ONLY": {""}, "CLIENT_ID": {"33333333-2222-4333-8444-555555555555"}})
	must("take a setting back", status, 303, text)
	if _, text = d.ask("GET", "/change/tenant?name=extra", ""); strings.Contains(text, `name="READ_ONLY" value="true"`) || !strings.Contains(text, "it has a value") {
		t.Errorf("a setting is not taken back, or the secret is lost: %s", text)
	}

	status, _, text = d.fill("/change/caller", url.Values{"name": {"webform"}, "METHODS": {"GET"}})
	must("add a caller", status, 200, text)
	first := shownKey.FindStringSubmatch(text)
	status, _, text = d.fill("/confirm/rotate/caller/webform", nil)
	must("a new key", status, 200, text)
	second := shownKey.FindStringSubmatch(text)
	if first == nil || second == nil || first[1] == second[1] {
		t.Fatalf("keys %v, %v", first, second)
	}
	status, _, text = d.fill("/confirm/rotate/caller/webform", nil)
	must("a third key beside two", status, 409, text)
	for _, key := range []string{first[1], second[1]} {
		if got := d.as(key); got != 200 {
			t.Errorf("with a key of two that are valid: %d", got)
		}
	}
	status, _, text = d.fill("/confirm/withdraw/caller/webform", nil)
	must("withdraw", status, 303, text)
	if a, b := d.as(first[1]), d.as(second[1]); a != 401 || b != 200 {
		t.Errorf("after it, the former key gets %d, the new one %d", a, b)
	}
	_, text = d.ask("GET", "/callers", "")
	if !strings.Contains(text, `id="webform"`) || !strings.Contains(text, "GET") {
		t.Errorf("callers: %s", text)
	}

	status, _, text = d.fill("/confirm/drain/proxy", nil)
	must("drain", status, 303, text)
	if resp, text := fetch(t, d.ops+"/readyz"); resp.StatusCode != 503 || !strings.Contains(text, "operator") || d.as(second[1]) != 200 {
		t.Errorf("drained: %d %s", resp.StatusCode, text)
	}
	status, _, text = d.fill("/confirm/serve/proxy", nil)
	must("serve", status, 303, text)
	if resp, _ := fetch(t, d.ops+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("back in service: %d", resp.StatusCode)
	}
	status, _, text = d.fill("/confirm/check/all", nil)
	must("check all", status, 303, text)
	status, _, text = d.fill("/confirm/remove/caller/webform", nil)
	must("remove a caller", status, 303, text)
	status, at, text = d.fill("/confirm/remove/tenant/extra", nil)
	if must("remove a tenant", status, 303, text); at != "/" {
		t.Errorf("it leads to %s", at)
	}
	var done []string
	for _, e := range d.entries() {
		if e.By != "alice" {
			t.Errorf("by %q: %+v", e.By, e)
		}
		done = append(done, e.Kind+" "+e.Action)
	}
	want := "tenant removed, caller removed, proxy all tenants checked, proxy taken back into service, proxy drained, caller rotated, caller rotated, caller added, tenant changed, tenant changed, tenant added"
	if got := strings.Join(done, ", "); got != want {
		t.Errorf("recorded: %s", got)
	}
	for _, key := range []string{first[1], second[1], "tenants-own-word"} {
		if _, text := d.ask("GET", "/events", ""); strings.Contains(text, key) {
			t.Error("a secret is in the record")
		}
	}
}

// as calls contoso with a caller's key.
func (d *desk) as(key string) int {
	d.t.Helper()
	r, err := http.NewRequest("GET", d.calls+whoAmIPath, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", key)
	resp, _ := send(d.t, r)
	return resp.StatusCode
}

// Pages that change something want a password to be set, a page of our own to
// come from, and something that is there.
func TestPagesChangeNothingForStrangers(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	for path, want := range map[string]int{
		"/confirm/remove/tenant/nobody": 404, "/confirm/remove/caller/nobody": 404, "/confirm/melt/tenant/contoso": 404, "/confirm/remove/tenant": 404,
		"/confirm/drain/proxy/x": 404, "/change/nothing": 404, "/confirm/remove/tenant/contoso": 409, // which TENANTS lists
	} {
		if status, _, text := d.fill(path, nil); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	r, _ := http.NewRequest("POST", d.ops+"/confirm/drain/proxy", nil)
	r.SetBasicAuth("alice", opsWord)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if resp, text := send(t, r); resp.StatusCode != 403 {
		t.Errorf("from another site: %d %s", resp.StatusCode, text)
	}
	r, _ = http.NewRequest("POST", d.ops+"/confirm/drain/proxy", nil)
	if resp, text := send(t, r); resp.StatusCode != 401 {
		t.Errorf("without the password: %d %s", resp.StatusCode, text)
	}
	open, _ := startDesk(t, p, "OPS_PASSWORD=")
	for _, path := range []string{"/confirm/drain/proxy", "/change/tenant"} {
		if status, _, text := open.fill(path, url.Values{"name": {"extra"}}); status != 403 || !strings.Contains(text, "DYNPROXY_OPS_PASSWORD") {
			t.Errorf("%s where there is no password: %d %s", path, status, text)
		}
	}
	if resp, _ := fetch(t, open.ops+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("drained by a stranger: %d", resp.StatusCode)
	}
}

// Names are found in any case of letters, wherever they are asked for.
func TestNamesAreFoundInAnyCaseOfLetters(t *testing.T) {
	t.Parallel()
	d, _ := startDesk(t, startEmulator(t, demoSeed()))
	var made struct{ Key string }
	if status, text := d.ask("PUT", "/api/callers/webform", "{}"); status != http.StatusCreated || json.Unmarshal([]byte(text), &made) != nil {
		t.Fatalf("%d %s", status, text)
	}
	if status := d.as(made.Key); status != http.StatusOK {
		t.Fatal(status)
	}
	d.await("its line", func(line string) bool { return strings.Contains(line, `"message":"call"`) })
	for path, want := range map[string]string{
		"/api/tenants/CONTOSO": `"name": "contoso"`, "/api/callers/WEBFORM": `"name": "webform"`, "/tenants/CONTOSO": "<h1>contoso",
		"/api/usage?tenant=CONTOSO": `"tenant": "contoso"`, "/usage?tenant=CONTOSO": `href="/tenants/contoso"`, "/usage.csv?tenant=CONTOSO": "contoso",
		"/api/calls?tenant=CONTOSO": `"tenant":`, "/calls?tenant=CONTOSO": `href="/calls/`, "/?q=CONTOSO": `href="/tenants/contoso"`,
		"/change/caller?name=WebForm": "Change webform", "/confirm/remove/caller/WebForm": "Remove the caller webform?", "/confirm/rotate/caller/WEBFORM": "Make a new key for webform?",
	} {
		if status, text := d.ask("GET", path, ""); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d, without %q: %.400s", path, status, want, text)
		}
	}
	for _, action := range []string{"rotate", "withdraw", "remove"} {
		if status, _, text := d.fill("/confirm/"+action+"/caller/WebForm", nil); status != http.StatusOK && status != http.StatusSeeOther {
			t.Errorf("%s: %d %s", action, status, text)
		}
	}
}

// Two operators have the same form open: what one has left as it was shown
// does not undo what the other has set since, and what both have changed is
// shown before it is replaced.
func TestTwoOperatorsAtOneForm(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	hidden := regexp.MustCompile(`name="((?:was_)?[A-Z_]+|name|existing)" value="([^"]*)"`)
	opened := func(address string) url.Values {
		t.Helper()
		status, page := d.ask("GET", address, "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", address, status, page)
		}
		shown := url.Values{}
		for _, m := range hidden.FindAllStringSubmatch(page, -1) {
			shown.Set(m[1], html.UnescapeString(m[2]))
		}
		return shown
	}
	for kind, first := range map[string]url.Values{
		"tenant": {"name": {"a"}, "ORG_URL": {p.OrgURL("contoso")}, "RATE": {"5"}, "CLIENT_ID": {demoClientID}, "CLIENT_SECRET": {demoSecret}},
		"caller": {"name": {"a"}, "RATE": {"5"}},
	} {
		if status, _, text := d.fill("/change/"+kind, first); status != 303 && status != 200 {
			t.Fatalf("%s: %d %s", kind, status, text)
		}
		address, file := "/change/"+kind+"?name=a", d.dir+"/"+kind+"s/a.env"
		holds := func(what string, lines ...string) {
			t.Helper()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines {
				line, not := strings.CutPrefix(line, "no ")
				if strings.Contains(string(text), line) == not {
					t.Errorf("%s, %s: the file is\n%s\nwant %q", kind, what, text, lines)
				}
			}
		}
		saved := func(what string, form url.Values, want int, said string) {
			t.Helper()
			status, _, text := d.fill("/change/"+kind, form)
			if status != want || !strings.Contains(html.UnescapeString(text), said) {
				t.Errorf("%s, %s: %d, want %d and %q\n%s", kind, what, status, want, said, text)
			}
		}
		alice, bob := opened(address), opened(address)
		bob.Set("READ_ONLY", "true")
		saved("bob", bob, 303, "")
		alice.Set("RATE", "7")
		saved("alice, who has left READ_ONLY", alice, 303, "")
		holds("both", "READ_ONLY=true", "RATE=7")

		alice, bob = opened(address), opened(address)
		bob.Set("RATE", "8")
		saved("bob", bob, 303, "")
		alice.Set("RATE", "")
		alice.Set("BURST", "3")
		saved("alice, who has changed RATE too", alice, 409, "it is 8 now")
		holds("nothing of it", "RATE=8", "no BURST")
		alice.Set("was_RATE", "8") // as the page that came has it
		saved("alice, who has seen it", alice, 303, "")
		holds("alice's", "no RATE", "BURST=3", "READ_ONLY=true")
	}
}

// A caller whose file has become wrong is as it was, once, with what is wrong.
func TestACallerWhoseFileHasBecomeWrong(t *testing.T) {
	t.Parallel()
	d, _ := startDesk(t, startEmulator(t, demoSeed()))
	if status, text := d.ask("PUT", "/api/callers/webform", `{"READ_ONLY":true}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	file := d.dir + "/callers/webform.env"
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, "RATE=x\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.await("the fault", func(line string) bool { return strings.Contains(line, "RATE") })
	for path, once := range map[string]string{"/api/callers": `"name": "webform"`, "/api/callers/webform": `"name": "webform"`, "/callers": `id="webform"`} {
		status, said := d.ask("GET", path, "")
		if status != http.StatusOK || strings.Count(said, once) != 1 || !strings.Contains(said, "RATE must be a number") || strings.HasPrefix(path, "/api") && !strings.Contains(said, `"keys": 1`) {
			t.Errorf("%s: %d\n%s", path, status, said)
		}
	}
}
