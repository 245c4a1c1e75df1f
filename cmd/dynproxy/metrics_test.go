package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"dynproxy/internal/logqueue"
)

// described is one metric of ours, as the code declares it.
type described struct{ name, labels, help string }

var description = regexp.MustCompile(`fqName: "([^"]+)", help: "(.*?)"(?:, unit: "[^"]*")?, constLabels: {([^}]*)}, variableLabels: {([^}]*)}`)

// describedMetrics are those of a proxy that serves, sorted by their names.
func describedMetrics(t *testing.T) []described {
	t.Helper()
	p, ca := startEmulator(t, demoSeed()), newTestCA(t)
	settings := p.settings("contoso")
	overTLS(t, ca, settings)
	cfg, err := loadConfig(settings)
	if err != nil {
		t.Fatal(err)
	}
	lines := logqueue.New(io.Discard, 1<<20)
	t.Cleanup(func() { lines.Close(0) })
	h, err := newServer(cfg, zerolog.Nop(), lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	in := &entrances{}
	cfg.Listen, cfg.OpsListen = "127.0.0.1:0", "127.0.0.1:0"
	if err := in.open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.close)
	h.guard(in.callers, in.operators)
	descs := make(chan *prometheus.Desc)
	go func() { h.registry.Describe(descs); close(descs) }()
	var all []described
	for d := range descs {
		found := description.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("cannot read %s", d)
		}
		if !strings.HasPrefix(found[1], "dynproxy_") {
			continue // of Go and the process
		}
		var labels []string
		for one := range strings.SplitSeq(found[3]+","+found[4], ",") {
			if name, _, _ := strings.Cut(one, "="); name != "" {
				labels = append(labels, "`"+name+"`")
			}
		}
		all = append(all, described{found[1], strings.Join(labels, ", "), found[2]})
	}
	slices.SortFunc(all, func(a, b described) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(all, func(a, b described) bool { return a.name == b.name })
}

// scrape returns what /metrics says. As a scraper does, it asks for
// OpenMetrics, which has exemplars.
func (r *running) scrape() string {
	r.t.Helper()
	q, _ := http.NewRequest("GET", r.ops+"/metrics", nil)
	q.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatal(resp.Status, err)
	}
	return string(text)
}

// Tenants that nobody calls make no series, whether somebody looks at them or
// not, and strangers make none of their own.
func TestIdleTenantsAndStrangersMakeNoSeries(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"TENANTS_DIR"], settings[prefix+"CALLERS_DIR"] = t.TempDir(), t.TempDir()
	key := addCaller(t, settings[prefix+"CALLERS_DIR"], "webform", nil)
	for n := range 500 {
		write(t, filepath.Join(settings[prefix+"TENANTS_DIR"], fmt.Sprintf("idle%d.env", n)), []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	}
	r := start(t, settings)
	fetch(t, r.ops+"/api/tenants?limit=500")
	for n := range 20 {
		r.get(fmt.Sprintf("/stranger%d/api/data/v9.2/WhoAmI", n)) // refused: no key
	}
	q, _ := http.NewRequest("GET", r.calls+whoAmIPath, nil)
	q.Header.Set("X-Api-Key", key)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for range 21 {
		r.await("a line for each call", func(line string) bool { return strings.Contains(line, `"message":"call"`) })
	}
	text := r.scrape()
	t.Logf("%d bytes", len(text))
	if len(text) > 300<<10 {
		t.Errorf("%d bytes", len(text))
	}
	if found := regexp.MustCompile(`\n.*(="idle\d|stranger).*`).FindString(text); found != "" {
		t.Errorf("a series of a tenant that nobody called: %s", found)
	}
	for _, want := range []string{
		`dynproxy_caller_requests_total{caller="webform",status="2xx"} 1.0`,
		`dynproxy_requests_total{error="unauthorized",status="4xx",tenant=""} 20.0`,
		`dynproxy_tenant_state{state="ready",tenant="contoso"} 1`,
		`dynproxy_build_info{`, `dynproxy_config_faults{kind="tenant"} 0`, `dynproxy_consents_total{outcome="granted"} 0`,
		`dynproxy_token_expiry_seconds{tenant="contoso"} `, `dynproxy_tenant_last_success_timestamp_seconds{tenant="contoso"} `,
		`dynproxy_draining 0`, `dynproxy_log_queue_bytes `, `dynproxy_overhead_seconds_count 21`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not there", want)
		}
	}
	if !regexp.MustCompile(`dynproxy_overhead_seconds_bucket\{le="[^"]+"\} \d+ # \{request_id="[-0-9a-f]{36}"\} `).MatchString(text) {
		t.Error("no bucket of the overhead names a call")
	}
}

// What is gone is forgotten: tenants, callers, and the faults of files.
func TestSeriesGoWithWhatTheyAreOf(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"TENANTS_DIR"], settings[prefix+"CALLERS_DIR"] = t.TempDir(), t.TempDir()
	tenant := write(t, filepath.Join(settings[prefix+"TENANTS_DIR"], "passing.env"), []byte("ORG_URL="+p.OrgURL("contoso")+"\n"))
	key := addCaller(t, settings[prefix+"CALLERS_DIR"], "guest", nil)
	r := start(t, settings)
	q, _ := http.NewRequest("GET", r.calls+"/passing/api/data/v9.2/WhoAmI", nil)
	q.Header.Set("X-Api-Key", key)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r.await("the call's line", func(line string) bool { return strings.Contains(line, `"message":"call"`) })
	if text := r.scrape(); !strings.Contains(text, `tenant="passing"`) || !strings.Contains(text, `caller="guest"`) {
		t.Fatalf("before: %s", text)
	}
	wrong := write(t, filepath.Join(settings[prefix+"TENANTS_DIR"], "wrong.env"), []byte("ORG_URL=nonsense\n"))
	r.await("word of the fault", func(line string) bool { return strings.Contains(line, `"tenant":"wrong"`) })
	if text := r.scrape(); !strings.Contains(text, `dynproxy_config_faults{kind="tenant"} 1`) || !strings.Contains(text, `dynproxy_tenant_state{state="broken",tenant="wrong"} 1`) {
		t.Errorf("a wrong file is not told of: %s", text)
	}
	for _, file := range []string{tenant, wrong, filepath.Join(settings[prefix+"CALLERS_DIR"], "guest.env")} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	for gone := 0; gone < 2; {
		r.await("word of their end", func(line string) bool {
			if strings.Contains(line, `"removed":true`) {
				gone++
			}
			return true
		})
	}
	// What tells of it and what forgets are one after the other.
	for try := 0; ; try++ {
		text := r.scrape()
		if !strings.Contains(text, "passing") && !strings.Contains(text, "guest") && !strings.Contains(text, `tenant="wrong"`) && strings.Contains(text, `dynproxy_config_faults{kind="tenant"} 0`) {
			break
		}
		if try == 1000 {
			t.Fatalf("still there: %s", text)
		}
	}
}

func TestWrongPasswordsAreCounted(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_PASSWORD"] = "an-ops-password"
	r := start(t, settings)
	if resp, _ := fetch(t, strings.Replace(r.ops, "http://", "http://x:wrong@", 1)+"/metrics"); resp.StatusCode != 401 {
		t.Fatal(resp.Status)
	}
	if _, text := fetch(t, strings.Replace(r.ops, "http://", "http://x:an-ops-password@", 1)+"/metrics"); !strings.Contains(text, "dynproxy_wrong_passwords_total 1") {
		t.Error("it is not counted")
	}
}
