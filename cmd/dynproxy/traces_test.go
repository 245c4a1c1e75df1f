package main

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"dynproxy/internal/emulator"
)

// collector takes spans as OTLP has them, over TLS.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*traces.Span
	whole bytes.Buffer // all that came
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := new(collector)
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Error(err)
				return
			}
		}
		text, err := io.ReadAll(body)
		var sent collect.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(text, &sent) != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.whole.Write(text)
		for _, resource := range sent.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// settings let a proxy that uses p reach the collector too.
func (c *collector) settings(t *testing.T, p *localEmulator, names ...string) map[string]string {
	t.Helper()
	ca, err := os.ReadFile(p.caFile())
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(t.TempDir(), "roots.pem")
	ca = append(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})...)
	if err := os.WriteFile(both, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := p.settings(names...)
	settings[prefix+"TRUSTED_CA_FILE"] = both
	settings["OTEL_EXPORTER_OTLP_ENDPOINT"], settings["OTEL_BSP_SCHEDULE_DELAY"] = c.URL, "20"
	return settings
}

// await returns the first span that fits, when it has come.
func (c *collector) await(t *testing.T, what string, fits func(*traces.Span) bool) *traces.Span {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		for _, s := range c.spans {
			if fits(s) {
				c.mu.Unlock()
				return s
			}
		}
		c.mu.Unlock()
	}
	t.Fatalf("%s did not come", what)
	return nil
}

// below are the spans right below s.
func (c *collector) below(s *traces.Span) map[string][]*traces.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := make(map[string][]*traces.Span)
	for _, one := range c.spans {
		if bytes.Equal(one.ParentSpanId, s.SpanId) {
			found[one.Name] = append(found[one.Name], one)
		}
	}
	return found
}

func attributes(s *traces.Span) map[string]string {
	all := make(map[string]string)
	for _, a := range s.Attributes {
		all[a.Key] = a.Value.GetStringValue()
	}
	return all
}

// A call is one trace from its caller to the organization: what it waited for
// and every attempt lie below it, in time as well.
func TestACallIsATrace(t *testing.T) {
	const parent, trace = "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"
	p, c := startEmulator(t, demoSeed()), newCollector(t)
	r := start(t, c.settings(t, p, "contoso"))
	if err := p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Status, Status: 503, RetryAfter: time.Second, Path: "/api/data/v9.2/accounts", Times: 1}); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("GET", r.calls+"/contoso/api/data/v9.2/accounts?$filter=name%20eq%20'canary'&$top=1", nil)
	req.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-01")
	req.Header.Set("Tracestate", "vendor=1")
	req.Header.Set("Cookie", "canary=1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	call := c.await(t, "the call's span", func(s *traces.Span) bool { return s.Name == "GET contoso" })
	if hex.EncodeToString(call.TraceId) != trace || hex.EncodeToString(call.ParentSpanId) != parent || call.Kind != traces.Span_SPAN_KIND_SERVER {
		t.Errorf("the call does not go on in its caller's trace: %v", call)
	}
	if a := attributes(call); a["dynproxy.tenant"] != "contoso" || a["url.path"] != "/contoso/api/data/v9.2/accounts" || a["dynproxy.request_id"] != resp.Header.Get("Dynproxy-Request-Id") {
		t.Errorf("attributes %v", a)
	}
	parts := c.below(call)
	if len(parts["admission"]) != 1 || len(parts["attempt"]) != 2 || len(parts["answer"]) != 1 {
		t.Fatalf("below the call: %v", parts)
	}
	within(t, call, parts)
	arrived := p.Organization("contoso").Requests()
	for i, attempt := range parts["attempt"] {
		below := c.below(attempt)
		if len(below["queue"]) != 1 || len(below["token"]) != 1 || len(below["organization"]) != 1 {
			t.Fatalf("below attempt %d: %v", i, below)
		}
		within(t, attempt, below)
		got := arrived[len(arrived)-2+i].Header
		if want := "00-" + trace + "-" + hex.EncodeToString(below["organization"][0].SpanId) + "-01"; got.Get("Traceparent") != want || got.Get("Tracestate") != "vendor=1" {
			t.Errorf("attempt %d arrived with %q %q, want %q", i, got.Get("Traceparent"), got.Get("Tracestate"), want)
		}
	}
	r.await("a line that names the trace", func(line string) bool { return strings.Contains(line, `"trace_id":"`+trace+`"`) })
	for _, secret := range []string{"canary", "$filter", demoSecret, "Bearer"} {
		if bytes.Contains(c.whole.Bytes(), []byte(secret)) {
			t.Errorf("a span holds %q", secret)
		}
	}
}

// within fails where a part lies outside of the whole.
func within(t *testing.T, whole *traces.Span, parts map[string][]*traces.Span) {
	t.Helper()
	const rounding = 1000 // nanoseconds
	for name, all := range parts {
		for _, part := range all {
			if part.StartTimeUnixNano+rounding < whole.StartTimeUnixNano || part.EndTimeUnixNano > whole.EndTimeUnixNano+rounding || part.EndTimeUnixNano < part.StartTimeUnixNano {
				t.Errorf("%s is from %d to %d, within %s from %d to %d", name, part.StartTimeUnixNano, part.EndTimeUnixNano, whole.Name, whole.StartTimeUnixNano, whole.EndTimeUnixNano)
			}
		}
	}
}

// A refused call is a trace too, and a caller that does not want to be traced is
// not. What is still to be sent at the end is sent.
func TestTracesOfRefusalsAndOfTheLastCalls(t *testing.T) {
	p, c := startEmulator(t, demoSeed()), newCollector(t)
	settings := c.settings(t, p, "contoso")
	settings["OTEL_BSP_SCHEDULE_DELAY"] = "3600000"
	r := start(t, settings)
	unsampled, _ := http.NewRequest("GET", r.calls+"/contoso/unsampled", nil)
	unsampled.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	if resp, err := http.DefaultClient.Do(unsampled); err != nil {
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	if resp, _ := r.get("/contoso/main.aspx"); resp.StatusCode != 403 {
		t.Fatal(resp.Status)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	refused := c.await(t, "the refused call", func(s *traces.Span) bool { return attributes(s)["error.type"] == "path_not_allowed" })
	if refused.Status.GetCode() == traces.Status_STATUS_CODE_ERROR {
		t.Error("a caller's own mistake is told as an error of the server")
	}
	for _, s := range c.spans {
		if attributes(s)["url.path"] == "/contoso/unsampled" {
			t.Error("a call was traced whose caller does not want it")
		}
	}
}

// Without a collector a caller's trace goes on to the organization untouched;
// one that is not there costs a line in the log and no call.
func TestWithoutACollector(t *testing.T) {
	const came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	p := startEmulator(t, demoSeed())
	for name, endpoint := range map[string]string{"off": "", "gone": "http://127.0.0.1:1/?key=canary"} {
		settings := p.settings("contoso")
		settings["OTEL_EXPORTER_OTLP_ENDPOINT"], settings["OTEL_BSP_SCHEDULE_DELAY"], settings["OTEL_EXPORTER_OTLP_TIMEOUT"] = endpoint, "20", "200"
		r := start(t, settings)
		req, _ := http.NewRequest("GET", r.calls+whoAmIPath, nil)
		req.Header.Set("Traceparent", came)
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v %v", name, resp, err)
		}
		resp.Body.Close()
		all := p.Organization("contoso").Requests()
		if got := all[len(all)-1].Header.Get("Traceparent"); (got == came) != (endpoint == "") || got == "" {
			t.Errorf("%s: the organization got %q", name, got)
		}
		if endpoint != "" {
			r.await("a line that tells of it", func(line string) bool { return strings.Contains(line, "traces do not reach") })
		}
		if strings.Contains(r.log.String(), "canary") {
			t.Errorf("%s: the collector's key is in the log", name)
		}
		r.end()
	}
}

// What OpenTelemetry's library would pass over, quote or break on is a fault.
func TestSettingsOfTracesThatCannotBeUsed(t *testing.T) {
	p := startEmulator(t, demoSeed())
	const secret = "canary"
	least := []string{"0", "-1", "9223372036854775807", "1e3", "10s", "NaN", " x"}
	files := []string{t.TempDir(), "/missing/" + t.Name(), "traces_test.go"}
	for variable, values := range map[string][]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":           {"nonsense", "collector:4317", "grpc://collector:4317", "http://:4318", "http://collector:99999", "http://u:" + secret + "@%zz"},
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":    {"nonsense"},
		"OTEL_EXPORTER_OTLP_PROTOCOL":           {"grpc"},
		"OTEL_EXPORTER_OTLP_COMPRESSION":        {"brotli"},
		"OTEL_TRACES_EXPORTER":                  {"jaeger"},
		"OTEL_EXPORTER_OTLP_HEADERS":            {secret, "a b=" + secret, "authorization=" + secret + "%zz", "a=b," + secret},
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS":     {secret},
		"OTEL_RESOURCE_ATTRIBUTES":              {"nonsense", "=x"},
		"OTEL_EXPORTER_OTLP_CERTIFICATE":        files,
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": {"traces_test.go"},
		"OTEL_EXPORTER_OTLP_TIMEOUT":            least,
		"OTEL_BSP_SCHEDULE_DELAY":               least,
		"OTEL_BSP_MAX_QUEUE_SIZE":               least,
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":        least,
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":       {"many"},
		"OTEL_TRACES_SAMPLER":                   {"sometimes"},
	} {
		for _, value := range values {
			var environ []string
			for name, value := range p.settings("contoso") {
				environ = append(environ, name+"="+value)
			}
			environ = append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", prefix+"LISTEN=127.0.0.1:0", prefix+"OPS_LISTEN=127.0.0.1:0", prefix+"LOG_LEVEL=loud", variable+"="+value)
			var said bytes.Buffer
			err := run(t.Context(), []string{"serve"}, environ, io.Discard, &said)
			if status := exitStatus(err, &said); status != 2 || strings.Count(said.String(), variable) != 1 || !strings.Contains(said.String(), "LOG_LEVEL") || strings.Contains(said.String(), secret) {
				t.Errorf("%s=%s: exit status %d, %s", variable, value, status, &said)
			}
		}
	}
}
