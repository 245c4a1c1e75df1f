package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw sends text to the proxy and returns all that comes back.
func (r *running) raw(text string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.calls, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, text)
	got, _ := io.ReadAll(conn)
	return string(got)
}

// Each hostile request gets the answer of the contract, and nothing of it
// reaches an organization.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	r.get(whoAmIPath)
	list := hostileRequests()
	if len(list) < 60 {
		t.Fatalf("only %d", len(list))
	}
	before := p.Organization("contoso").Received()
	var strangers sync.WaitGroup
	for _, h := range list {
		strangers.Go(func() {
			if wrong := h.judge(r.raw(h.raw)); wrong != "" {
				t.Errorf("%s: %s", h.name, wrong)
			}
		})
	}
	strangers.Wait()
	sound := 0
	for _, h := range list {
		if h.status == 200 {
			sound++
		}
	}
	if n := p.Organization("contoso").Received() - before; n != sound {
		t.Errorf("%d requests reached the organization, want %d", n, sound)
	}
	for _, request := range p.Organization("contoso").Requests() {
		if strings.Contains(request.Target, "smuggled") {
			t.Errorf("%s %s reached the organization", request.Method, request.Target)
		}
	}
	if resp, _ := r.get(whoAmIPath); resp.StatusCode != 200 {
		t.Errorf("afterwards a good call gets %d", resp.StatusCode)
	}
	if got := r.raw("GET http://localhost" + whoAmIPath + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("an absolute target that agrees with Host: %q", got)
	}
}

func TestCallersAreKnownByTheirKeys(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "northwind")
	dir := t.TempDir()
	settings[prefix+"CALLERS_DIR"] = dir
	key := addCaller(t, dir, "webform", map[string]string{"TENANTS": "contoso", "READ_ONLY": "true"})
	// What this one does is done by a person, in the organization's eyes.
	personal := addCaller(t, dir, "personal", map[string]string{"CALLER_OBJECT_ID": "5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b", "IMPERSONATION": "false"})
	r := start(t, settings)
	call := func(method, path string, change func(*http.Request)) *http.Response {
		t.Helper()
		req, _ := http.NewRequest(method, r.calls+path, nil)
		if method == "POST" {
			req, _ = http.NewRequest(method, r.calls+path, strings.NewReader("{}"))
			req.Header.Set("Content-Type", "application/json")
		}
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp
	}
	with := func(key string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Api-Key", key) }
	}
	basic := func(name, key string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, key) }
	}
	nobody := func(*http.Request) {}
	const whoAmI = "/contoso/api/data/v9.2/WhoAmI"
	wrong := strings.Repeat("-", len(key)) // which no key is
	for name, c := range map[string]struct {
		method, path string
		change       func(*http.Request)
		status       int
		code         string
	}{
		"key":              {"GET", whoAmI, with(key), 200, ""},
		"basic":            {"GET", whoAmI, basic("webform", key), 200, ""},
		"basic, domain":    {"GET", whoAmI, basic(`CORP\WebForm`, key), 200, ""},
		"nobody":           {"GET", whoAmI, nobody, 401, "unauthorized"},
		"wrong key":        {"GET", whoAmI, with(wrong), 401, "unauthorized"},
		"stranger, tenant": {"GET", "/nosuch/api/data/v9.2/WhoAmI", with(wrong), 401, "unauthorized"},
		"other tenant":     {"GET", "/northwind/api/data/v9.2/WhoAmI", with(key), 403, "forbidden"},
		"no such tenant":   {"GET", "/nosuch/api/data/v9.2/WhoAmI", with(key), 403, "forbidden"},
		"write":            {"POST", "/contoso/api/data/v9.2/accounts", with(key), 403, "forbidden"},
	} {
		resp := call(c.method, c.path, c.change)
		if resp.StatusCode != c.status || resp.Header.Get("Dynproxy-Error") != c.code {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Header.Get("Dynproxy-Error"))
		}
		if challenged := resp.Header.Get("WWW-Authenticate") != ""; challenged != (c.status == 401) {
			t.Errorf("%s: challenge %q", name, resp.Header.Get("WWW-Authenticate"))
		}
	}
	if resp := call("GET", whoAmI, func(r *http.Request) {
		r.Header.Set("X-Api-Key", personal)
		r.Header.Set("CallerObjectId", "somebody-else")
	}); resp.StatusCode != 403 {
		t.Errorf("a caller with a person of its own acts as another: %d", resp.StatusCode)
	}
	call("GET", whoAmI, with(personal))
	all := p.Organization("contoso").Requests()
	last := all[len(all)-1]
	if got := last.Header.Get("CallerObjectId"); got != "5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b" {
		t.Errorf("CallerObjectId %q", got)
	}
	if last.Header.Get("X-Api-Key") != "" || strings.Contains(fmt.Sprint(last.Header), key) {
		t.Error("the caller's key went on to the organization")
	}
	if strings.Contains(r.log.String(), key) {
		t.Error("the key is in the log")
	}
	r.await("a line that names the caller", func(line string) bool { return strings.Contains(line, `"caller":"webform"`) })

	// A caller that is removed is out within a second or so.
	os.Remove(filepath.Join(dir, "webform.env"))
	deadline := time.Now().Add(10 * time.Second)
	for call("GET", whoAmI, with(key)).StatusCode != 401 {
		if time.Now().After(deadline) {
			t.Fatal("a removed caller still gets in")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A body may be cut off on its way; nothing of it is sent on.
func TestAChunkThatLies(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	r.get("/contoso/api/data/v9.2/WhoAmI")
	got := r.raw("POST /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"nam\r\n+3\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
	if err != nil || resp.StatusCode != 400 || resp.Header.Get("Dynproxy-Error") != "bad_request" {
		t.Errorf("%v %q", err, got)
	}
	for _, request := range p.Organization("contoso").Requests() {
		if request.Method == "POST" {
			t.Error("a request was sent on")
		}
	}
}
