package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"dynproxy/internal/calls"
	"dynproxy/internal/emulator"
)

// Every answer has an id, refusals too: it is the one that the organization was
// sent, and by which the call is explained.
func TestOneCallIsExplainedByTheIDOfItsAnswer(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	contoso := p.Organization("contoso")
	settings := p.settings("contoso", "fabrikam")
	r := start(t, settings)
	const batch = "/contoso/api/data/v9.2/$batch"
	for name, ask := range map[string]func(*testing.T, *running) (*http.Response, string){
		"a success":        request("GET", whoAmIPath, "", nil),
		"an id of its own": request("GET", whoAmIPath, "", []string{"x-ms-client-request-id: chosen-7"}),
		"not found":        request("GET", "/contoso/api/data/v9.2/nosuchtable", "", nil),
		"no tenant":        request("GET", "/nosuch/api/data/v9.2/WhoAmI", "", nil),
		"no consent":       request("GET", "/fabrikam/api/data/v9.2/WhoAmI", "", nil),
		"a refused path":   request("GET", "/contoso/main.aspx", "", nil),
		"a batch":          request("POST", batch, "--b\r\nContent-Type: application/http\r\n\r\nGET /api/data/v9.2/WhoAmI HTTP/1.1\r\n\r\n\r\n--b--\r\n", []string{"Content-Type: multipart/mixed; boundary=b"}),
		"a broken batch":   request("POST", batch, "nonsense", []string{"Content-Type: multipart/mixed; boundary=b"}),
		"SOAP":             request("POST", "/contoso/XRMServices/2011/Organization.svc/web", "nonsense", []string{"Content-Type: text/xml"}),
		"malformed":        rawRequest("GET /contoso/a b HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"no method":        rawRequest("TRACE " + whoAmIPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"two lengths":      rawRequest("POST " + whoAmIPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	} {
		resp, _ := ask(t, r)
		id := resp.Header.Get("Dynproxy-Request-Id")
		if id == "" {
			t.Errorf("%s: %d without an id: %v", name, resp.StatusCode, resp.Header)
			continue
		}
		for _, sent := range contoso.Requests() {
			if sent.Header.Get("X-Ms-Client-Request-Id") == id && resp.Header.Get("Dynproxy-Error") != "" {
				t.Errorf("%s: a refusal was sent on", name)
			}
		}
		var d calls.Detail
		awaitCall(t, r, id, &d)
		if d.Call.Status != resp.StatusCode || d.Call.Error != resp.Header.Get("Dynproxy-Error") || d.Next == "" || d.Call.Remote != "127.0.0.1" {
			t.Errorf("%s: %d %q is known as %+v", name, resp.StatusCode, resp.Header.Get("Dynproxy-Error"), d.Call)
		}
		if text, _, err := r.command(settings, "trace", id); err != nil || !strings.Contains(text, id) || !strings.Contains(text, "Next: "+d.Next) {
			t.Errorf("%s: %v %s", name, err, text)
		}
	}
	sent := false
	for _, request := range contoso.Requests() {
		sent = sent || request.Header.Get("X-Ms-Client-Request-Id") == "chosen-7"
	}
	if !sent {
		t.Error("the organization was not sent the id that the caller chose")
	}
}

// awaitCall reads what is known of a call: an answer has ended for its caller a
// moment before the call is remembered.
func awaitCall(t *testing.T, r *running, id string, d *calls.Detail) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		resp, text := fetch(t, r.ops+"/api/calls/"+id)
		if resp.StatusCode == http.StatusOK {
			if err := json.Unmarshal([]byte(text), d); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the call %s is not remembered", id)
		}
	}
}

func TestTraceTellsOfAttempts(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	r := start(t, settings)
	r.get(whoAmIPath) // for the token
	inject := func(f emulator.Fault) {
		t.Helper()
		if err := p.Organization("contoso").Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	inject(emulator.Fault{Kind: emulator.Status, Status: 503, Times: 1})
	resp, _ := r.get(accountsPath)
	id := resp.Header.Get("Dynproxy-Request-Id")
	var d calls.Detail
	awaitCall(t, r, id, &d)
	text, _, err := r.command(settings, "trace", id)
	if err != nil || d.Call.Attempts != 2 || d.Call.Retry < 100*time.Millisecond {
		t.Errorf("%v %+v", err, d.Call)
	}
	for _, want := range []string{"200 after", "the organization is not available: 503", "upstream 2", "answered with 200", "retry", "own work", "Next: Nothing"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	p.Organization("contoso").RemoveApplicationUser(demoClientID)
	resp, _ = r.get(accountsPath)
	id = resp.Header.Get("Dynproxy-Request-Id")
	awaitCall(t, r, id, &d)
	text, _, err = r.command(settings, "trace", id)
	for _, want := range []string{"0x80072560, application_user_missing", "Next: Create the application user: pac admin assign-user"} {
		if !strings.Contains(text, want) || err != nil {
			t.Errorf("%v, no %q in\n%s", err, want, text)
		}
	}
	out, _, err := r.command(settings, "trace", "--json", id)
	var again calls.Detail
	if json.Unmarshal([]byte(out), &again) != nil || err != nil || again.Call.ID != id || len(again.Stages) != len(d.Stages) {
		t.Errorf("%v %s", err, out)
	}
	var errs bytes.Buffer
	_, _, err = r.command(settings, "trace", "nobody")
	if exitStatus(err, &errs) != 1 || !strings.Contains(errs.String(), "No call with this id is remembered") {
		t.Errorf("%v %s", err, errs.String())
	}
	for range 3 {
		fetchAs(t, r.calls+"/contoso/nowhere", "chosen")
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		text, _, _ := r.command(settings, "trace", "chosen")
		if strings.Contains(text, "the latest of 3 calls with this id") {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal(text)
		}
	}
}

// fetchAs asks with an id of the caller's choice.
func fetchAs(t *testing.T, url, id string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-ms-client-request-id", id)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// tailing is "dynproxy tail" at work.
type tailing struct {
	t     *testing.T
	mu    sync.Mutex
	text  strings.Builder // both outputs
	stop  context.CancelFunc
	ended chan error
}

func (l *tailing) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *tailing) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func tailOf(t *testing.T, settings map[string]string, args ...string) *tailing {
	ctx, stop := context.WithCancel(t.Context())
	l := &tailing{t: t, stop: stop, ended: make(chan error, 1)}
	go func() { l.ended <- run(ctx, append([]string{"tail"}, args...), environOf(settings), l, l) }()
	t.Cleanup(stop)
	return l
}

// until waits for what tail prints while again is done again and again.
func (l *tailing) until(what string, again func()) {
	l.t.Helper()
	for began := time.Now(); !strings.Contains(l.String(), what); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			l.t.Fatalf("%q is not printed:\n%s", what, l)
		}
		again()
	}
}

func TestTailFollowsAProxyThatComesBack(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_LISTEN"], settings[prefix+"OPS_PASSWORD"] = unused(t), "let me in"
	if err := run(t.Context(), []string{"tail"}, environOf(settings), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no proxy answers") {
		t.Errorf("nobody there: %v", err)
	}
	r := start(t, settings)
	all, failed, asJSON := tailOf(t, settings), tailOf(t, settings, "--failed", "--tenant", "contoso"), tailOf(t, settings, "--json", "--caller", "127.0.0.1")
	tailOf(t, settings, "--tenant", "fabrikan").until("there is no tenant fabrikan", func() {})
	call := func() { r.get(whoAmIPath); r.get("/contoso/main.aspx"); r.get("/nobody/x") }
	all.until("GET "+whoAmIPath, call)
	all.until("-  127.0.0.1  GET /nobody/x  tenant_unknown", call)
	failed.until("403", call)
	asJSON.until(`"path":"`+whoAmIPath+`"`, call)
	r.end()
	failed.until("waiting for it to come back", func() {})
	r = start(t, settings)
	before := strings.Count(failed.String(), "path_not_allowed")
	for began := time.Now(); strings.Count(failed.String(), "path_not_allowed") == before; time.Sleep(20 * time.Millisecond) {
		if call(); time.Since(began) > 30*time.Second {
			t.Fatalf("it does not go on:\n%s", failed)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(asJSON.String()), "\n") {
		if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
			t.Errorf("%s", line)
		}
	}
	if text := failed.String(); strings.Contains(text, "no tenant") || strings.Contains(text, "WhoAmI") || strings.Contains(text, "nobody") {
		t.Errorf("what was not asked for:\n%s", text)
	}
	for _, l := range []*tailing{all, failed, asJSON} {
		l.stop()
		if err := <-l.ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	settings[prefix+"OPS_PASSWORD"] = "wrong"
	if err := run(t.Context(), []string{"tail"}, environOf(settings), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "refuses the operators' password") {
		t.Errorf("a wrong password: %v", err)
	}
}
