package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/calls"
	"dynproxy/internal/changes"
	"dynproxy/internal/check"
	"dynproxy/internal/cluster"
	"dynproxy/internal/history"
	"dynproxy/internal/status"
	"dynproxy/internal/trend"
	"dynproxy/internal/usage"
	"dynproxy/tenants"
)

// fleet is a source of so many tenants, a tenth of which are broken.
type fleet []string

func newFleet(n int) fleet {
	names := make(fleet, n)
	for i := range names {
		names[i] = fmt.Sprintf("tenant%05d", i)
	}
	return names
}

func (c fleet) Names() []string { return c }

func (fleet) State(name string) status.State {
	if strings.HasSuffix(name, "7") {
		return status.Broken
	}
	return status.Ready
}

func (fleet) Newcomers() []status.Newcomer {
	return []status.Newcomer{{TenantID: "11111111-2222-4333-8444-555555555555", At: time.Now(), From: "192.0.2.7"}}
}

func (fleet) DirectoryFaults() []string {
	return []string{"DYNPROXY_TENANTS_DIR cannot be read: no such directory."}
}

func (fleet) Refresh([]string) {}

func (fleet) Usage(q usage.Question) []usage.Row {
	rows := []usage.Row{
		{Tenant: "tenant00001", Caller: "<webform>", Service: "webapi", Version: "v9.2", Requests: 12, Operations: 30, Last: time.Now()},
		{Tenant: "tenant00001", Caller: "=report", Service: "odata2011", Requests: 3, Errors: 3, Last: time.Now(), Retired: true, Next: "move to the Web API"},
	}
	if q.Tenant == "many" {
		return slices.Repeat(rows, usageShown)
	}
	return rows
}

func (fleet) Audit(int) ([]audit.Entry, error) {
	return []audit.Entry{
		{At: time.Now(), By: "alice <b>", From: "192.0.2.7", Via: audit.HTTP, Kind: "tenant", Name: "tenant00001", Action: "changed", Before: map[string]string{"RATE": "5"}, After: map[string]string{"READ_ONLY": "true"}},
		{At: time.Now(), Via: audit.File, Kind: "caller", Name: "webform", Action: "removed"},
	}, errors.New("a disk that is full")
}

func (fleet) InForce() Settings {
	return Settings{Rows: []Setting{{Name: "DYNPROXY_LISTEN", Value: "<b>", Source: "default"}, {Name: "DYNPROXY_TENANTS", Source: "environment"}}, Faults: []string{"A is wrong"}, Unknown: []string{"DYNPROXY_X"}}
}

func (fleet) Members() ([]cluster.Member, cluster.State) {
	return []cluster.Member{{Name: "here", Version: "v1", Self: true}, {Name: "there", Version: "v2"}}, cluster.State{State: cluster.Alone, Error: "it is gone"}
}

func (fleet) News(int) News {
	return News{Turns: []history.Turn{{Tenant: "tenant00007", Event: history.Event{At: time.Now(), State: "broken", Why: "token_refused"}, Before: "ready"}}, Ends: []End{{"the <secret>", time.Now().Add(time.Hour)}}, Webhook: true, Failing: "it <answered> 500"}
}

func (fleet) Version() string { return "v1.2.3" }

func (fleet) Organization(name string) string { return "https://" + name + ".crm.dynamics.com" }

func (fleet) Calls(name string) int { return int(name[len(name)-1]) }

func (fleet) Sharers(names []string) map[string][]string {
	return map[string][]string{"tenant00001": {"tenant00002"}, "tenant00002": {"tenant00001"}}
}

func (fleet) Trend(_ string, s trend.Span) []trend.Point {
	points := make([]trend.Point, s.Long/s.Step)
	for i := range points {
		points[i] = trend.Point{At: time.Now().Add(-s.Long).Add(time.Duration(i) * s.Step), Calls: i % 7, Errors: i % 3, Used: float64(i), Upstream: trend.Times{P50: time.Second, P95: 2 * time.Second}}
	}
	return points
}

func (fleet) Settings(string) []tenants.Setting {
	return []tenants.Setting{{Name: "ORG_URL", Value: "<https>", Source: "contoso.env"}}
}

func (fleet) Forecasts() []usage.Forecast {
	return []usage.Forecast{{Tenant: "tenant00001", Today: 100, Forecast: 240, Entitlement: 200, Percent: 120}, {Tenant: "tenant00002", Today: 1, Forecast: 2}}
}

func (c fleet) Tenant(name string) (status.Tenant, bool) {
	report := check.Faulty(name, fmt.Errorf("<b>not</b> \"safe\""))
	report.Error = "tenant_unknown"
	return status.Tenant{
		Name: name, Organization: "https://" + name + ".crm.dynamics.com", State: c.State(name), Report: &report, Traffic: make([]int, 60),
		Success: time.Now(), TokenEnds: time.Now(), Credential: "secret", CredentialEnds: time.Now(),
		Failures: []status.Failure{{Code: "token_refused", Count: 3, Last: time.Now()}}, Callers: []status.Share{{Name: "webform", Used: 3}},
	}, strings.HasPrefix(name, "tenant")
}

func (fleet) CheckAnew(_ context.Context, name string) bool { return strings.HasPrefix(name, "tenant") }

func (fleet) ConsentLink(name string) string { return "http://localhost:8081/consent/" + name }

func (fleet) AboutLink(name string) string { return "http://localhost:8081/consent/" + name + "/about" }

// operations are those of a portal without a password and without directories.
func operations() Operations {
	return Operations{
		Editor:  &changes.Editor{Audit: &audit.Log{}, Callers: func() (*callers.Book, error) { return callers.Open("") }},
		Guarded: func() bool { return false }, Who: func(*http.Request) changes.Who { return changes.Who{} },
		CheckAll: func() {}, Drain: func(bool) {}, Draining: func() bool { return false },
	}
}

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
	return w
}

func TestTenThousandTenantsByPages(t *testing.T) {
	p := New(newFleet(10_000), calls.NewRing(), operations())
	w := get(p, "/?page=3&q=tenant&state=ready")
	page := w.Body.String()
	if w.Code != 200 || strings.Count(page, `<th scope="row">`) != perPage || !strings.Contains(page, "101 to 150 of 9,000 that match, of 10,000 tenants") {
		t.Errorf("%d, %d rows", w.Code, strings.Count(page, `<th scope="row">`))
	}
	for _, part := range []string{"page=2", "page=4", "state=broken", `<caption>`, `lang="en"`, `href="#main"`, `aria-label`} {
		if !strings.Contains(page, part) {
			t.Errorf("no %s", part)
		}
	}
	for _, bad := range []string{"<script>", "style=", "onclick", "<b>not", "http://fonts"} {
		if strings.Contains(page, bad) {
			t.Errorf("%s is in the page", bad)
		}
	}
	if page := get(p, "/?page=99999&q=00042").Body.String(); strings.Count(page, `<th scope="row">`) != 1 {
		t.Error("a search beyond the last page finds nothing")
	}
	if w := get(p, "/tenants/nobody"); w.Code != 404 {
		t.Errorf("an unknown tenant gets %d", w.Code)
	}
}

// A search is one among what was chosen: states, order and how many on a page.
func TestASearchKeepsWhatWasChosen(t *testing.T) {
	p := New(newFleet(300), calls.NewRing(), operations())
	hidden := regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)
	for _, chosen := range []string{"", "sort=calls", "size=200", "state=ready", "size=all&sort=name&state=broken"} {
		body := get(p, "/?q=tenant&page=2&"+chosen).Body.String()
		kept := url.Values{}
		for _, of := range hidden.FindAllStringSubmatch(body, -1) {
			kept.Set(of[1], of[2])
		}
		if kept.Encode() != chosen {
			t.Errorf("after %q a search asks for %q too", chosen, kept.Encode())
		}
	}
}

// With ten thousand tenants no page is larger than 300 KB, but the one that was
// asked to show a thousand of them.
func TestNoPageIsLarge(t *testing.T) {
	p := New(newFleet(10_000), remembered(), operations())
	for _, path := range []string{"/", "/?sort=calls&size=200", "/wallboard", "/tenants/tenant00001", "/tenants/tenant00001?span=hour", "/calls", "/calls/broken-1", "/callers", "/usage", "/events", "/proxies", "/settings", "/change/caller", "/help", "/nothing"} {
		began := time.Now()
		w := get(p, path)
		if n := w.Body.Len(); n == 0 || n > 300<<10 {
			t.Errorf("%s has %d bytes", path, n)
		}
		t.Logf("%s: %d bytes, %v", path, w.Body.Len(), time.Since(began))
	}
}

// A budget that several tenants spend is shown at the first of them on the page.
func TestASharedBudgetIsShownOnce(t *testing.T) {
	page := get(New(newFleet(5), calls.NewRing(), operations()), "/?sort=name").Body.String()
	if n := strings.Count(page, "shared with tenant00002"); n != 1 {
		t.Errorf("told %d times with whom it is shared", n)
	}
	if n := strings.Count(page, "that of tenant00001"); n != 1 {
		t.Errorf("told %d times whose it is", n)
	}
}

func TestProxiesAndTheirVersions(t *testing.T) {
	page := get(New(newFleet(1), calls.NewRing(), operations()), "/proxies").Body.String()
	for _, text := range []string{"here", "there", "(this one", "v1", "v2", "of several versions", "Redis cannot be used", "it is gone", "/confirm/drain/proxy"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	if mixed([]cluster.Member{{Version: "v1"}, {Version: "v1"}}) || mixed(nil) {
		t.Error("equal versions are told to be several")
	}
}

func TestWhatTheProxyRefused(t *testing.T) {
	for want, all := range map[bool][]calls.Call{
		true:  {{Error: "read_only", Status: 403}, {Error: "limit_wait_exceeded", Attempts: 1, Status: 429}, {Error: "limit_wait_exceeded", Status: 429}, {Error: "unauthorized", Status: 401}},
		false: {{Error: "upstream_unreachable", Attempts: 2, Status: 502}, {Error: "consent_required", Status: 502}, {Error: "upstream_unreachable", Status: 502}, {Error: "caller_left", Status: 499}, {Attempts: 1, Status: 404}},
	} {
		for _, c := range all {
			if refusedHere(&c) != want {
				t.Errorf("%+v: %v", c, !want)
			}
		}
	}
}

// A board that hangs on a wall shows what is broken, however many tenants
// there are.
func TestTheWallboardShowsTheWorstFirst(t *testing.T) {
	w := get(New(newFleet(1000), calls.NewRing(), operations()), "/wallboard")
	page := w.Body.String()
	if strings.Count(page, `<li class="broken"><a`) != perPage || !strings.Contains(page, "<b>100</b> broken") || w.Header().Get("Refresh") == "" {
		t.Errorf("%d broken ones are shown", strings.Count(page, `<li class="broken"><a`))
	}
}

// What a page costs at ten thousand tenants: the goal is 100 ms.
func BenchmarkPageOfTenThousand(b *testing.B) {
	p := New(newFleet(10_000), calls.NewRing(), operations())
	for b.Loop() {
		if w := get(p, "/?q=7"); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

func TestGuard(t *testing.T) {
	base := ""
	p := Guard(New(newFleet(3), calls.NewRing(), operations()), func() string { return base })
	w := get(p, "/")
	for header, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		if !strings.Contains(w.Header().Get(header), want) {
			t.Errorf("%s: %q", header, w.Header().Get(header))
		}
	}
	post := func(site string) int {
		r := httptest.NewRequest("POST", "/tenants/tenant00001/check", nil)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w.Code
	}
	// Entra ID's form of 2017 posts from its own page.
	r := httptest.NewRequest("POST", "/consent/callback", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	back := httptest.NewRecorder()
	if p.ServeHTTP(back, r); back.Code == http.StatusForbidden {
		t.Error("the answer of Entra ID is kept out")
	}
	if post("same-origin") != http.StatusSeeOther || post("cross-site") != http.StatusForbidden {
		t.Errorf("own page %d, another site %d", post("same-origin"), post("cross-site"))
	}
	// Without TLS browsers tell nothing but the page's address; something in
	// front may have changed the Host.
	from := func(origin string) int {
		r := httptest.NewRequest("POST", "http://localhost:8081/tenants/tenant00001/check", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code == http.StatusForbidden && !strings.Contains(w.Body.String(), "DYNPROXY_OPS_PUBLIC_URL") {
			t.Errorf("%s: the cure is not told: %s", origin, w.Body)
		}
		return w.Code
	}
	for _, c := range []struct {
		base, origin string
		want         int
	}{
		{"", "http://localhost:8081", 303}, {"", "http://portal.lan", 403}, {"", "null", 403}, {"", "http://", 403},
		{"http://portal.lan/ops", "http://portal.lan", 303}, {"http://portal.lan", "http://PORTAL.lan", 303},
		{"http://portal.lan", "https://portal.lan", 403}, {"http://portal.lan", "http://portal.lan.evil.example", 403}, {"http://portal.lan", "null", 403},
	} {
		if base = c.base; from(c.origin) != c.want {
			t.Errorf("from %s, with the base %q: %d, want %d", c.origin, c.base, from(c.origin), c.want)
		}
	}
}

// The document names each field that the API has, and none that it has not.
func TestTheAPIIsAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tenants []map[string]any
		Total   int
	}
	if err := json.Unmarshal(get(New(newFleet(60), calls.NewRing(), operations()), "/api/tenants").Body.Bytes(), &got); err != nil || len(got.Tenants) != perPage || got.Total != 60 {
		t.Fatal(err, len(got.Tenants), got.Total)
	}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for name, inner := range v {
				if !strings.Contains(string(text), "`"+name+"`") {
					t.Errorf("docs/api.md does not name %s%s", path, name)
				}
				walk(path+name+".", inner)
			}
		case []any:
			for _, inner := range v {
				walk(path, inner)
			}
		}
	}
	walk("", got.Tenants[0])
}

// The page of changes says who, how and what, before and after, and what is
// wrong with the record; what others have written shows as text.
func TestChangesAreShown(t *testing.T) {
	w := httptest.NewRecorder()
	New(newFleet(3), nil, operations()).ServeHTTP(w, httptest.NewRequest("GET", "/events", nil))
	text := w.Body.String()
	for _, want := range []string{"alice &lt;b&gt;, 192.0.2.7", `<a href="/tenants/tenant00001">`, "<code>RATE</code> 5", "<code>READ_ONLY</code>", "not known", "caller webform removed", "The record is not whole: a disk that is full", `<caption>2 changes</caption>`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

// Who follows a code that is none is told which there are.
func TestACodeThatIsNone(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /help/{code}", Help())
	w := get(mux, "/help/%3Cb%3E")
	if page := w.Body.String(); w.Code != http.StatusNotFound || !strings.Contains(page, `<a href="/help/consent_required">`) || !strings.Contains(page, `<a href="/help/application_user_missing">`) || !strings.Contains(page, "viewport") || strings.Contains(page, "<b>") {
		t.Errorf("%d %s", w.Code, page)
	}
	if w := get(mux, "/help/draining"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<h1>draining</h1>") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
