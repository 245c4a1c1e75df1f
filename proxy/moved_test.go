package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"dynproxy/proxy"
)

// What is for one hop alone ends there, in both directions, and so does what
// Connection lists.
func TestHopByHopHeadersGoNoFurther(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen http.Header
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = r.Header.Clone()
		h := w.Header()
		h["Connection"], h["X-Org-Hop"], h["Keep-Alive"], h["Proxy-Connection"] = []string{"X-Org-Hop"}, []string{"1"}, []string{"timeout=5"}, []string{"x"}
		h["X-Kept"], h["Cache-Control"] = []string{"one", "two"}, []string{"no-cache"}
		h.Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	}))
	got := c.raw("GET /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: localhost\r\nConnection: close, x-hop,X-Other ,\r\nKeep-Alive: timeout=9\r\n" +
		"Proxy-Connection: keep-alive\r\nX-Hop: 1\r\nX-Other: 1\r\nX-Two: a\r\nX-Two: b\r\nTrailer: X-End\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
	mu.Lock()
	defer mu.Unlock()
	for _, gone := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "X-Hop", "X-Other", "Trailer", "Http2-Settings"} {
		if values, there := seen[gone]; there {
			t.Errorf("the organization got %s: %q", gone, values)
		}
	}
	if strings.Join(seen["X-Two"], ",") != "a,b" {
		t.Errorf("X-Two arrived as %q", seen["X-Two"])
	}
	for _, gone := range []string{"X-Org-Hop", "Keep-Alive", "Proxy-Connection"} {
		if strings.Contains(got, gone) {
			t.Errorf("the caller got %s:\n%s", gone, got)
		}
	}
	for _, kept := range []string{"X-Kept: one\r\nX-Kept: two\r\n", "Cache-Control: no-cache\r\n", "Content-Type: application/json\r\n", "Content-Length: 2\r\n"} {
		if strings.Count(got, kept) != 1 {
			t.Errorf("%q is not in there once:\n%s", kept, got)
		}
	}
}

// An organization that wants to speak another protocol, unasked or asked for,
// does not get the caller's connection.
func TestNobodySwitchesProtocols(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		conn.Close()
	}))
	for _, asks := range []string{"", "Connection: Upgrade", "Connection: Upgrade\r\nUpgrade: websocket"} {
		a := c.get("/contoso/api/data/v9.2/accounts", strings.Split(asks, "\r\n")...)
		if a.StatusCode != 502 || a.Header.Get("Dynproxy-Error") == "" {
			t.Errorf("%q: %d %v %s", asks, a.StatusCode, a.Header, a.body)
		}
	}
}

// The figures of a tenant that is gone go, and those of its successor count.
func TestForgottenFiguresBeginAnew(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics := proxy.NewMetrics(registry)
	c := newTestProxy(t, func(_ map[string]string, p *proxy.Parts) { p.Metrics = metrics })
	counted := func() (n float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "dynproxy_requests_total" {
				for _, m := range family.GetMetric() {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	// Over a socket, a call would be counted behind its answer.
	call := func(path string) {
		c.handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	for range 3 {
		call("/contoso/api/data/v9.2/WhoAmI")
	}
	call("/nobody/api")
	if got := counted(); got != 4 {
		t.Errorf("%v calls are counted, want 4", got)
	}
	all := func(string) bool { return true }
	metrics.Keep(all, all)
	if got := counted(); got != 4 {
		t.Errorf("%v calls are counted while all are there, want 4", got)
	}
	metrics.Keep(func(tenant string) bool { return tenant != "contoso" }, all)
	if got := counted(); got != 1 {
		t.Errorf("%v calls are counted, want the 1 of no tenant", got)
	}
	call("/contoso/api/data/v9.2/WhoAmI")
	if got := counted(); got != 2 {
		t.Errorf("%v calls are counted, want 1 of no tenant and 1 of the new one", got)
	}
}
