package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
)

func TestMain(m *testing.M) {
	needs.Waiting()
	testscript.Main(m, map[string]func(){"dynproxy": main})
}

// TestStories runs the files in testdata, each a story told with the real
// program, against one emulator.
func TestStories(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for name, value := range p.settings("contoso", "fabrikam", "northwind") {
				e.Setenv(name, value)
			}
			for _, name := range []string{"contoso", "fabrikam", "northwind"} {
				e.Setenv(strings.ToUpper(name)+"_URL", p.OrgURL(name))
			}
			return nil
		},
	})
}

func startEmulator(t *testing.T, seed emulator.Seed) *localEmulator {
	t.Helper()
	p, err := newLocalEmulator("127.0.0.1:0", seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// running is a proxy that was started as main starts it.
type running struct {
	t     *testing.T
	calls string // http://127.0.0.1:port
	ops   string
	log   *logBuffer
	stop  context.CancelFunc
	ended chan error
}

// logBuffer is the log of a running proxy.
type logBuffer struct {
	mu    sync.Mutex
	text  strings.Builder
	lines chan string
}

func (j *logBuffer) keep(r io.Reader) {
	defer close(j.lines)
	for s := bufio.NewScanner(r); s.Scan(); {
		j.mu.Lock()
		j.text.WriteString(s.Text() + "\n")
		j.mu.Unlock()
		select {
		case j.lines <- s.Text():
		default: // nobody waits for it
		}
	}
}

func (j *logBuffer) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// start runs "dynproxy serve" with settings, on free ports, until the test
// ends.
func start(t *testing.T, settings map[string]string) *running {
	t.Helper()
	var environ []string
	for _, name := range []string{"LISTEN", "OPS_LISTEN"} {
		if settings[prefix+name] == "" {
			environ = append(environ, prefix+name+"=127.0.0.1:0")
		}
	}
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	if needs.ByTransport() {
		environ = append(environ, prefix+"UPSTREAM_CLIENT=go")
	}
	return startArgs(t, []string{"serve"}, environ)
}

// startArgs runs the command line args, which serves, until the test ends.
func startArgs(t *testing.T, args, environ []string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	in, out := io.Pipe()
	r := &running{t: t, stop: stop, ended: make(chan error, 1), log: &logBuffer{lines: make(chan string, 1000)}}
	go r.log.keep(in)
	go func() {
		err := run(ctx, args, environ, out, out)
		out.Close()
		r.ended <- err
	}()
	t.Cleanup(func() { r.end() })
	r.awaitServing()
	return r
}

// awaitServing waits for the start, and learns the addresses.
func (r *running) awaitServing() {
	r.t.Helper()
	var serving struct {
		Message, Listen string
		OpsListen       string `json:"ops_listen"`
	}
	r.await("the start", func(line string) bool {
		return json.Unmarshal([]byte(line), &serving) == nil && serving.Message == "serving"
	})
	r.calls, r.ops = "http://"+serving.Listen, "http://"+serving.OpsListen
}

// await reads the log until a line is ok.
func (r *running) await(what string, ok func(line string) bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line, open := <-r.log.lines:
			if !open {
				r.t.Fatalf("the proxy ended before %s: %v\n%s", what, <-r.ended, r.log)
			}
			if ok(line) {
				return
			}
		case <-deadline:
			r.t.Fatalf("%s did not come\n%s", what, r.log)
		}
	}
}

func (r *running) end() error {
	r.stop()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(40 * time.Second):
		r.t.Fatal("the proxy does not end")
		return nil
	}
}

func (r *running) get(path string) (*http.Response, string) {
	r.t.Helper()
	return fetch(r.t, r.calls+path)
}

func fetch(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, r)
}

// send returns the answer to r and its body.
func send(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestAThousandFirstCallersCostOneToken(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam")
	settings[prefix+"TENANT_QUEUE_WAIT"] = "5m" // on a busy machine too
	r := start(t, settings)
	for _, tenant := range []string{"contoso", "fabrikam"} {
		var callers sync.WaitGroup
		codes := make(chan string, 1000)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
		for range 1000 {
			callers.Go(func() {
				resp, err := client.Get(r.calls + "/" + tenant + "/api/data/v9.2/WhoAmI")
				if err != nil {
					codes <- err.Error()
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				codes <- resp.Header.Get("Dynproxy-Error") + resp.Status
			})
		}
		callers.Wait()
		client.CloseIdleConnections()
		close(codes)
		want := map[string]string{"contoso": "200 OK", "fabrikam": "consent_required502 Bad Gateway"}[tenant]
		for code := range codes {
			if code != want {
				t.Fatalf("%s: got %q, want %q", tenant, code, want)
			}
		}
	}
	for _, tenant := range demoSeed().Organizations[:2] {
		if n := p.Entra().TokenRequests(emulator.TokenRequest{Tenant: tenant.TenantID}); n != 1 {
			t.Errorf("%s: %d token requests", tenant.Name, n)
		}
	}
}

func TestTenantsComeChangeAndGoWhileServing(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "northwind")
	delete(settings, prefix+"TENANTS")
	settings[prefix+"TENANTS_DIR"] = t.TempDir()
	r := start(t, settings)
	if resp, _ := fetch(t, r.ops+"/readyz"); resp.StatusCode != 503 {
		t.Errorf("ready without a tenant: %d", resp.StatusCode)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(settings[prefix+"TENANTS_DIR"], name+".env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		began := time.Now()
		for !ok() {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("%s was not seen\n%s", what, r.log)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if took := time.Since(began); took > time.Second {
			t.Logf("%s took %v", what, took)
		}
	}
	status := func(path string) int { resp, _ := r.get(path); return resp.StatusCode }

	put("one", "ORG_URL="+p.OrgURL("contoso"))
	until("a new tenant", func() bool { return status("/one/api/data/v9.2/WhoAmI") == 200 })
	if resp, _ := fetch(t, r.ops+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("not ready: %d", resp.StatusCode)
	}
	// A call in flight outlives its tenant.
	p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Slow, Delay: 1500 * time.Millisecond, Path: "/api/data/v9.2/accounts", Times: 1})
	slow := make(chan int, 1)
	go func() { slow <- status("/one/api/data/v9.2/accounts?$top=1") }()
	until("the slow call", func() bool {
		return strings.Contains(fmt.Sprint(p.Organization("contoso").Requests()), "/accounts")
	})
	put("one", "ORG_URL="+p.OrgURL("contoso")+"\nREAD_ONLY=true")
	until("a changed tenant", func() bool {
		resp, err := http.Post(r.calls+"/one/api/data/v9.2/accounts", "application/json", strings.NewReader(`{"name":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Header.Get("Dynproxy-Error") == "read_only"
	})
	put("one", "ORG_URL=nonsense")
	put("two", "ORG_URL="+p.OrgURL("contoso"))
	until("another tenant", func() bool { return status("/two/api/data/v9.2/WhoAmI") == 200 })
	if status("/one/api/data/v9.2/WhoAmI") != 200 {
		t.Error("a wrong file took its tenant away")
	}
	os.Remove(filepath.Join(settings[prefix+"TENANTS_DIR"], "one.env"))
	until("a removed tenant", func() bool { return status("/one/api/data/v9.2/WhoAmI") == 404 })
	if got := <-slow; got != 200 {
		t.Errorf("the call in flight got %d", got)
	}
	if n := p.Entra().TokenRequests(emulator.TokenRequest{}); n != 1 {
		t.Errorf("%d token requests for one organization", n)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"DRAIN_DELAY"] = "3s"
	r := start(t, settings)
	r.get("/contoso/api/data/v9.2/WhoAmI")
	p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Slow, Delay: time.Second, Path: "/api/data/v9.2/accounts"})
	slow := make(chan int, 1)
	go func() {
		resp, _ := r.get("/contoso/api/data/v9.2/accounts?$top=1")
		slow <- resp.StatusCode
	}()
	for !strings.Contains(fmt.Sprint(p.Organization("contoso").Requests()), "/accounts") {
		time.Sleep(time.Millisecond)
	}
	r.stop()
	r.await("draining", func(line string) bool { return strings.Contains(line, "draining") })
	for {
		resp, text := fetch(t, r.ops+"/readyz")
		if resp.StatusCode == 503 {
			if !strings.Contains(text, "draining") {
				t.Errorf("/readyz says %s", text)
			}
			break
		}
	}
	if resp, _ := r.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode != 200 {
		t.Errorf("within DRAIN_DELAY a call got %d", resp.StatusCode)
	}
	if got := <-slow; got != 200 {
		t.Errorf("the call in flight got %d", got)
	}
	if err := r.end(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestAnAddressInUseIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	settings := p.settings("contoso")
	settings[prefix+"LISTEN"] = strings.TrimPrefix(r.calls, "http://")
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	err := run(t.Context(), []string{"serve"}, environ, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "DYNPROXY_LISTEN") {
		t.Errorf("got %v", err)
	}
}

func TestWhatOperatorsGet(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam")
	settings[prefix+"OPS_PASSWORD"] = "an-ops-password"
	r := start(t, settings)
	r.get("/contoso/api/data/v9.2/accounts?$filter=name%20eq%20'query-canary'")
	r.get("/fabrikam/api/data/v9.2/WhoAmI")
	if resp, _ := fetch(t, r.ops+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("/healthz: %d", resp.StatusCode)
	}
	if resp, _ := fetch(t, r.ops+"/metrics"); resp.StatusCode != 401 {
		t.Errorf("/metrics without the password: %d", resp.StatusCode)
	}
	// An answer has ended for its caller a moment before it is counted.
	for range 2 {
		r.await("a line for each call", func(line string) bool { return strings.Contains(line, `"message":"call"`) })
	}
	resp, text := fetch(t, strings.Replace(r.ops, "http://", "http://anybody:an-ops-password@", 1)+"/metrics")
	if resp.StatusCode != 200 {
		t.Fatalf("/metrics: %d", resp.StatusCode)
	}
	for _, want := range []string{
		`dynproxy_requests_total{error="",status="2xx",tenant="contoso"} 1`,
		`dynproxy_requests_total{error="consent_required",status="5xx",tenant="fabrikam"} 1`,
		`dynproxy_mints_total{result="minted"} 1`, `dynproxy_mints_total{result="consent"} 1`,
		`dynproxy_limit{facet="requests",tenant="contoso"} 6000`, `dynproxy_limit_used{facet="requests",tenant="contoso"} 1`,
		`dynproxy_operations_today{tenant="contoso"} 1`, `dynproxy_limit_events_total{event="throttled",facet="concurrency",tenant="contoso"} 0`,
		"dynproxy_requests_in_flight 0", "dynproxy_request_duration_seconds_bucket",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	for _, canary := range []string{"query-canary", demoSecret, "an-ops-password", "eyJ"} {
		if strings.Contains(text+r.log.String(), canary) {
			t.Errorf("%s is in metrics or log", canary)
		}
	}
}

// A place for large bodies that cannot be written is told at the start, and to
// whoever asks whether the proxy is ready; calls go on.
func TestASpoolThatCannotBeWrittenIsTold(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"SPOOL_DIR"] = t.TempDir() + "/missing"
	r := start(t, settings)
	if said := r.log.String(); !strings.Contains(said, `"level":"warn"`) || !strings.Contains(said, "DYNPROXY_SPOOL_DIR") || !strings.Contains(said, "no such file") {
		t.Errorf("the start says %s", said)
	}
	r.get("/contoso/api/data/v9.2/WhoAmI")
	resp, text := fetch(t, r.ops+"/readyz")
	if resp.StatusCode != 200 || !strings.Contains(text, `"spool":{"state":"fault"`) || strings.Contains(text, "missing") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if _, text := fetch(t, r.ops+"/metrics"); !strings.Contains(text, "dynproxy_spool_bytes 0") || !strings.Contains(text, "dynproxy_spool_max_bytes 4.294967296e+09") {
		t.Error("the metrics do not tell of the spool")
	}
}
