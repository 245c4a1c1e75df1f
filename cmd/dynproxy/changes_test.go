package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/audit"
)

const opsWord = "0perators-word"

// desk is the operators' API of a running proxy.
type desk struct {
	*running
	dir string // holds tenants, callers and state
}

// ask sends a request as alice, with the operators' password.
func (d *desk) ask(method, path, body string) (int, string) {
	d.t.Helper()
	r, err := http.NewRequest(method, d.ops+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.SetBasicAuth("alice", opsWord)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, text := send(d.t, r)
	return resp.StatusCode, text
}

func (d *desk) entries() (all []audit.Entry) {
	d.t.Helper()
	status, text := d.ask("GET", "/api/audit?limit=1000", "")
	var answer struct{ Entries []audit.Entry }
	if err := json.Unmarshal([]byte(text), &answer); status != 200 || err != nil {
		d.t.Fatal(status, text, err)
	}
	return answer.Entries
}

func startDesk(t *testing.T, p *localEmulator, change ...string) (*desk, map[string]string) {
	t.Helper()
	dir := t.TempDir()
	settings := p.settings("contoso")
	settings[prefix+"OPS_PASSWORD"] = opsWord
	for _, sub := range []string{"tenants", "callers", "state"} {
		os.Mkdir(filepath.Join(dir, sub), 0o700)
	}
	settings[prefix+"TENANTS_DIR"], settings[prefix+"CALLERS_DIR"], settings[prefix+"STATE_DIR"] = dir+"/tenants", dir+"/callers", dir+"/state"
	for _, c := range change {
		name, value, _ := strings.Cut(c, "=")
		settings[prefix+name] = value
	}
	return &desk{start(t, settings), dir}, settings
}

func TestTenantsAndCallersAreChangedOverHTTP(t *testing.T) {
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	org := p.OrgURL("contoso")
	for i, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "/api/tenants/north", `{"ORG_URL":"` + org + `/","read_only":true,"HOSTS":["north.crm.lan"],"RATE":20}`, 201, `"HOSTS": "north.crm.lan"`},
		{"PATCH", "/api/tenants/NORTH", `{"RATE":null,"BURST":3}`, 200, `"BURST": "3"`},
		{"PATCH", "/api/tenants/nobody", `{"RATE":1}`, 404, "there is no tenant"},
		{"PUT", "/api/tenants/north", `{"ORG_URL":"https://other.crm.dynamics.com"}`, 409, "replace=true"},
		{"PUT", "/api/tenants/contoso", `{"ORG_URL":"` + org + `"}`, 409, "listed in DYNPROXY_TENANTS"},
		{"PUT", "/api/tenants/evil", `{"ORG_URL":"https://evil.example","RATE":"fast"}`, 422, `"setting": "RATE"`},
		{"PUT", "/api/tenants/other", `{"ORG_URL":"` + org + `","HOSTS":"north.crm.lan"}`, 422, "already belongs to tenant north"},
		{"PUT", "/api/tenants/x%2F..%2Fy", `{"ORG_URL":"` + org + `"}`, 400, "a name begins with"},
		{"PUT", "/api/tenants/north", `["ORG_URL"]`, 400, "must be a JSON object"},
		{"PUT", "/api/tenants/north", `{"ORG_URL":{"a":1}}`, 400, "ORG_URL must be a text"},
		{"PATCH", "/api/tenants/north", `{"RATE":1,"rate":2}`, 400, "names RATE twice"},
		{"PATCH", "/api/tenants/north", `{"RATE":1} {`, 400, "must be a JSON object"},
		{"PATCH", "/api/tenants/north", `{"NOSUCH":1}`, 422, "is not a setting of a tenant"},
		{"PATCH", "/api/tenants/north", `{"HOSTS":"` + strings.Repeat("a", 200<<10) + `"}`, 413, "larger than"},
		{"PUT", "/api/callers/webform", `{"TENANTS":["contoso"]}`, 201, `"key": "`},
		{"PUT", "/api/callers/webform", `{"TENANTS":["contoso","north"]}`, 200, `"TENANTS": "contoso,north"`},
		{"PATCH", "/api/callers/webform", `{"RATE":"fast"}`, 422, "must be a number"},
		{"PUT", "/api/callers/bynet?key=false", `{"CIDRS":["10.0.0.0/8"]}`, 201, `"keys": 0`},
		{"PUT", "/api/callers/bynet2?key=false", `{"CIDRS":["10.0.0.0/8"]}`, 422, "already belongs to caller bynet"},
		{"POST", "/api/callers/webform/rotate", ``, 200, `"keys": 2`},
		{"POST", "/api/callers/webform/rotate", ``, 200, `"keys": 1`},
		{"POST", "/api/callers/nobody/rotate", ``, 404, "there is no caller"},
		{"GET", "/api/callers/webform", ``, 200, `"KEY_SHA256": "[redacted]"`},
		{"GET", "/api/callers", ``, 200, `"name": "bynet"`},
		{"DELETE", "/api/callers/bynet", ``, 204, ""},
		{"DELETE", "/api/callers/bynet", ``, 404, "there is no caller"},
		{"GET", "/api/tenants/north", ``, 200, `"name": "north"`},
		{"DELETE", "/api/tenants/north", ``, 204, ""},
		{"GET", "/api/tenants/north", ``, 404, "no such tenant"},
		{"GET", "/api/audit?limit=0", ``, 400, "limit must be a whole number from 1 to 1000"},
	} {
		status, text := d.ask(c.method, c.path, c.body)
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%d: %s %s: %d %.300s, want %d with %q", i, c.method, c.path, status, text, c.status, c.want)
		}
		if regexp.MustCompile(`[0-9a-f]{64}`).MatchString(text) {
			t.Errorf("%s %s shows a hash: %s", c.method, c.path, text)
		}
	}
	// What was done is recorded, with the name and the address of who did it.
	var told []string
	for _, e := range d.entries() {
		if e.By != "alice" || e.Via != audit.HTTP || e.From != "127.0.0.1" {
			t.Errorf("%+v", e)
		}
		told = append(told, e.Action+" "+e.Name)
	}
	if got, want := strings.Join(told, ", "), "removed north, removed bynet, rotated webform, rotated webform, added bynet, changed webform, added webform, changed north, added north"; got != want {
		t.Errorf("recorded: %s\nwant:     %s", got, want)
	}
	change := d.entries()[7]
	if fmt.Sprint(change.Before, change.After) != "map[RATE:20] map[BURST:3]" {
		t.Errorf("what differs: %v to %v", change.Before, change.After)
	}
}

// Without the password, and without a directory, nothing is changed.
func TestChangesOverHTTPNeedPasswordAndDirectory(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	r := start(t, settings)
	for _, c := range []struct{ method, path string }{
		{"PUT", "/api/tenants/x"}, {"PATCH", "/api/tenants/x"}, {"DELETE", "/api/tenants/x"},
		{"PUT", "/api/callers/x"}, {"PATCH", "/api/callers/x"}, {"DELETE", "/api/callers/x"}, {"POST", "/api/callers/x/rotate"},
	} {
		req, _ := http.NewRequest(c.method, r.ops+c.path, strings.NewReader("{}"))
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 403 || !strings.Contains(string(text), "DYNPROXY_OPS_PASSWORD") {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, text)
		}
	}
	d, _ := startDesk(t, p, "TENANTS_DIR=", "CALLERS_DIR=")
	for path, setting := range map[string]string{"/api/tenants/x": "DYNPROXY_TENANTS_DIR", "/api/callers/x": "DYNPROXY_CALLERS_DIR"} {
		if status, text := d.ask("PUT", path, "{}"); status != 409 || !strings.Contains(text, setting+" is missing") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	// A page of another site may not, whatever the browser remembers.
	req, _ := http.NewRequest("DELETE", d.ops+"/api/tenants/x", nil)
	req.SetBasicAuth("alice", opsWord)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("another site's page: %d", resp.StatusCode)
	}
}

// A command's change is recorded as the command's, once; one by hand as the
// file's. Nothing of a secret is in the record.
func TestWhoChangedWhatIsRecorded(t *testing.T) {
	p := startEmulator(t, demoSeed())
	d, settings := startDesk(t, p)
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	environ = append(environ, "SUDO_USER=bob")
	command := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := run(t.Context(), args, environ, &out, io.Discard); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return strings.TrimSpace(out.String())
	}
	org := p.OrgURL("contoso")
	command("tenant", "add", "north", org, "--set", "CLIENT_ID="+demoClientID, "--set", "CLIENT_SECRET=tenants-s3cret-word")
	command("tenant", "set", "north", "READ_ONLY=true")
	key := command("caller", "add", "webform")
	command("caller", "rotate", "webform")
	command("tenant", "remove", "north")
	os.WriteFile(filepath.Join(d.dir, "tenants", "byhand.env"), []byte("ORG_URL="+org+"\nCLIENT_ID="+demoClientID+"\nCLIENT_SECRET=another-s3cret-word\n"), 0o600)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if entries := d.entries(); len(entries) > 5 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the file is not told of: %+v", d.entries())
		}
	}
	time.Sleep(1500 * time.Millisecond) // what would be told twice is told by now
	var told []string
	for _, e := range d.entries() {
		told = append(told, strings.Join([]string{e.Via, e.Action, e.Name}, " "))
		if e.Via == audit.Command && !strings.HasPrefix(e.By, "bob as ") {
			t.Errorf("by %q", e.By)
		}
	}
	want := "file added byhand, command removed north, command rotated webform, command added webform, command changed north, command added north"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("recorded: %s\nwant:     %s", got, want)
	}
	record, _ := os.ReadFile(filepath.Join(d.dir, "state", "audit.jsonl"))
	_, answer := d.ask("GET", "/api/audit", "")
	for _, secret := range []string{"tenants-s3cret-word", "another-s3cret-word", key, opsWord, demoSecret} {
		for _, form := range hiding(secret) {
			if strings.Contains(string(record)+answer+d.log.String(), form) {
				t.Errorf("%q is shown", form)
			}
		}
	}
	if regexp.MustCompile(`[0-9a-f]{64}`).Match(record) {
		t.Error("a hash is in the record")
	}
}

// Twenty changes of a tenant over HTTP, under some three hundred requests a
// second, lose no call, and each is in force when it is answered.
func TestTwentyChangesOverHTTPLoseNoCall(t *testing.T) {
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p, "CALLERS_DIR=")
	if status, text := d.ask("PUT", "/api/tenants/north", `{"ORG_URL":"`+p.OrgURL("contoso")+`"}`); status != 201 {
		t.Fatal(text)
	}
	load := startCalls(t, 300, aCall{http.MethodGet, d.calls + "/north/api/data/v9.2/WhoAmI", ""})
	for i := range 20 {
		readOnly := i%2 == 0
		if status, text := d.ask("PATCH", "/api/tenants/north", fmt.Sprintf(`{"READ_ONLY":%t,"RATE":%d}`, readOnly, 5000+i)); status != 200 {
			t.Error(text)
		}
		resp, err := http.Post(d.calls+"/north/api/data/v9.2/accounts", "application/json", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if (resp.Header.Get("Dynproxy-Error") == "read_only") != readOnly {
			t.Errorf("change %d is not in force when it is answered: %s", i, resp.Status)
		}
		load.more(20)
	}
	load.end(t, "twenty changes")
	t.Logf("%d entries of the record", len(d.entries()))
}

// The list of callers says when the running proxy saw each.
func TestCallersAreListedWithWhenTheyCame(t *testing.T) {
	p := startEmulator(t, demoSeed())
	d, settings := startDesk(t, p)
	var keys [2]string
	for i, name := range []string{"came", "waits"} {
		_, text := d.ask("PUT", "/api/callers/"+name, `{"TENANTS":["contoso"]}`)
		var made struct{ Key string }
		if err := json.Unmarshal([]byte(text), &made); err != nil || made.Key == "" {
			t.Fatal(text, err)
		}
		keys[i] = made.Key
	}
	r, _ := http.NewRequest("GET", d.calls+"/contoso/api/data/v9.2/WhoAmI", nil)
	r.Header.Set("X-Api-Key", keys[0])
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	d.ask("PATCH", "/api/callers/came", `{"RATE":5}`) // a changed caller was seen all the same
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	environ = append(environ, prefix+"OPS_LISTEN="+strings.TrimPrefix(d.ops, "http://"))
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"caller", "list"}, environ, &out, &errs); err != nil {
		t.Fatal(err, errs.String())
	}
	if !regexp.MustCompile(`(?m)^came .* last seen \d{4}-`).MatchString(out.String()) || !strings.Contains(out.String(), "not seen since the proxy started") {
		t.Errorf("%s%s", &out, &errs)
	}
}
