package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/spool"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

// faulty is a part of ours with a fault in it.
type faulty struct{ proxy.TokenSource }

func (faulty) Token(context.Context, *tenants.Tenant) (string, error) { panic("a-canary") }

// A fault of the proxy itself is told in the log with its stack, and answered in
// the shape that the client reads; the next call is served.
func TestAFaultOfOurOwnIsToldAndAnswered(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, func(_ map[string]string, parts *proxy.Parts) { parts.Tokens = faulty{parts.Tokens} })
	for _, kind := range []string{"/contoso/api/data/v9.2/WhoAmI", soapPath} {
		method, body := http.MethodGet, ""
		if strings.Contains(kind, "svc") {
			method, body = http.MethodPost, soapEnvelope("", soapExecute("", "WhoAmI"))
		}
		r, err := http.NewRequest(method, c.server.URL+kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "text/xml; charset=utf-8")
			r.Header.Set("SOAPAction", "http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/Execute")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Dynproxy-Error") != "internal_error" {
			t.Errorf("%s: %d %v", kind, resp.StatusCode, resp.Header)
		}
	}
	text := c.log.String()
	if strings.Count(text, `"panic":"string"`) != 2 || !strings.Contains(text, "survive_test.go") || !strings.Contains(text, `"error":"internal_error"`) || strings.Contains(text, "a-canary") {
		t.Errorf("the log: %.2000s", text)
	}
}

// rotten is a body in which our own reading panics, after so many bytes.
type rotten struct {
	io.Reader
	left int
}

func (r *rotten) Read(p []byte) (int, error) {
	if r.left <= 0 {
		panic("a-canary")
	}
	n, err := r.Reader.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

func (*rotten) Close() error { return nil }

// A fault while a goroutine of net/http reads the request's body does not end
// the process: it is told, and answered.
func TestAFaultInABodyIsToldAndAnswered(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, func(_ map[string]string, parts *proxy.Parts) {
		parts.Spool = &spool.Place{Dir: filepath.Join(t.TempDir(), "missing")} // beyond 1 MiB bodies go by once
	})
	var after int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &rotten{r.Body, after}
		c.handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, after = range []int{0, 100, 3 << 19, 2 << 20} {
		r, err := http.NewRequest(http.MethodPatch, server.URL+"/contoso/api/data/v9.2/accounts(11111111-1111-1111-1111-111111111111)/file", strings.NewReader(strings.Repeat("x", 3<<20)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/octet-stream")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Dynproxy-Error") != "internal_error" {
			t.Errorf("after %d bytes: %d %v", after, resp.StatusCode, resp.Header)
		}
	}
	if text := c.log.String(); strings.Count(text, `"panic":"string"`) != 4 || !strings.Contains(text, `"where":"body"`) || strings.Contains(text, "a-canary") {
		t.Errorf("the log: %.2000s", text)
	}
}
