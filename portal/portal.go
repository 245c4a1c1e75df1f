// Package portal is what operators see: pages, rendered here so that they need
// no script, of all tenants with what every check of them found, and the same
// facts as JSON. It looks nothing up on its own: a page shows what
// its Source remembers, so that ten thousand tenants cost no more than ten.
package portal

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/calls"
	"dynproxy/internal/check"
	"dynproxy/internal/cluster"
	"dynproxy/internal/page"
	"dynproxy/internal/problem"
	"dynproxy/internal/status"
	"dynproxy/internal/trend"
	"dynproxy/internal/usage"
	"dynproxy/tenants"
)

// Source is where facts come from. All of it must be quick but Check.
type Source interface {
	Names() []string // of all tenants, sorted, those with faults included
	State(name string) status.State
	Organization(name string) string // its address, "" where it is not known
	Calls(name string) int           // in the last hour
	Tenant(name string) (status.Tenant, bool)
	Version() string // of the program
	// InForce are the proxy's own settings.
	InForce() Settings
	// Members are the proxies that are one with this, itself included, and how
	// Redis is, which makes them one.
	Members() ([]cluster.Member, cluster.State)
	// Refresh says that somebody is about to look at these tenants: what is not
	// known of them is found out soon, and not now.
	Refresh(names []string)
	// CheckAnew checks the tenant now. It reports false if there is none.
	CheckAnew(ctx context.Context, name string) bool
	// ConsentLink is the address of the page that leads an administrator of the
	// tenant to consent.
	ConsentLink(name string) string
	// AboutLink is likewise that of the page that says first what is asked.
	AboutLink(name string) string
	// DirectoryFaults say which directory of settings cannot be read, and why.
	// What was read stays in force.
	DirectoryFaults() []string
	// Newcomers are tenants whose administrators say to have granted access, and
	// of which nothing is proven.
	Newcomers() []status.Newcomer
	// Usage is who called what, Forecasts what that comes to by the end of the day.
	Usage(usage.Question) []usage.Row
	Forecasts() []usage.Forecast
	// Sharers are, by the names of these tenants, the others that spend the same
	// budget; those that share with nobody are left out.
	Sharers(names []string) map[string][]string
	// Trend is how the tenant's calls went, a point for each step of the span.
	Trend(tenant string, of trend.Span) []trend.Point
	// Settings are the tenant's settings in force, and where each comes from.
	Settings(tenant string) []tenants.Setting
	// News is what happened of itself, and what will.
	News(turns int) News
	// Audit is the record of changes, the newest first, and what is wrong with it.
	Audit(limit int) ([]audit.Entry, error)
}

// Calls are those that are remembered, as calls.Ring has them.
type Calls interface {
	Last(f calls.Filter, limit int) []*calls.Call
	Explain(id string) (calls.Detail, bool)
	Watch(f calls.Filter) *calls.Watch
}

//go:embed pages
var files embed.FS

// Portal serves the pages.
type Portal struct {
	*http.ServeMux
	source Source
	calls  Calls
	do     Operations
	pages  *template.Template
}

// New returns the portal of what s knows, of the calls that are remembered, and
// for what operators do.
func New(s Source, remembered Calls, do Operations) *Portal {
	p := &Portal{ServeMux: http.NewServeMux(), source: s, calls: remembered, do: do}
	p.pages = template.Must(template.New("").Funcs(template.FuncMap{
		"ago": ago, "in": in, "spark": spark, "checks": check.Links, "short": short, "count": count, "link": linkOf, "parts": parts, "zone": zone, "version": s.Version, "problem": firstProblem,
		"anchor": anchor, "words": strings.Fields, "next": nextStep, "chain": chainOf, "figure": anyFigure, "rush": rush, "ms": inMillis, "stage": stageName, "along": along, "wide": wide, "timelines": timelines, "changes": lastChanges, "differences": differences,
	}).ParseFS(files, "pages/*.html"))
	p.HandleFunc("GET /{$}", p.list)
	p.HandleFunc("GET /wallboard", p.wallboard)
	p.HandleFunc("GET /tenants/{name}", p.one)
	p.HandleFunc("GET /api/tenants", p.apiList)
	p.HandleFunc("GET /api/tenants/{name}", p.apiOne)
	p.HandleFunc("GET /api/newcomers", p.apiNewcomers)
	p.HandleFunc("GET /calls", p.callsPage)
	p.HandleFunc("GET /calls/{id}", p.callPage)
	p.HandleFunc("GET /api/calls", p.apiCalls)
	p.HandleFunc("GET /api/calls/{id}", p.apiCall)
	p.HandleFunc("GET /api/calls/stream", p.apiStream)
	p.HandleFunc("GET /callers", p.callersPage)
	p.HandleFunc("GET /proxies", p.proxiesPage)
	p.HandleFunc("GET /settings", p.settingsPage)
	p.HandleFunc("GET /events", p.eventsPage)
	p.HandleFunc("GET /usage", p.usagePage)
	p.HandleFunc("GET /usage.csv", p.usageCSV)
	p.HandleFunc("GET /api/usage", p.apiUsage)
	for pattern, handler := range p.operations() {
		p.HandleFunc(pattern, handler)
	}
	p.HandleFunc("GET /help", func(w http.ResponseWriter, _ *http.Request) {
		page.Write(w, http.StatusOK, p.pages, "guide.html", nil)
	})
	for pattern, file := range Files() {
		p.Handle(pattern, file)
	}
	p.HandleFunc("/", p.notFound)
	return p
}

// notFound answers where nothing is.
func (p *Portal) notFound(w http.ResponseWriter, r *http.Request) {
	if forPrograms(r) || r.URL.Path == "/api" {
		refuse(w, http.StatusNotFound, "not_found", "there is nothing at this address; /api/openapi.json lists what there is")
		return
	}
	page.Write(w, http.StatusNotFound, p.pages, "nothing.html", r.URL.Path)
}

// Files are what all pages load, by their patterns: they tell nothing, and need
// no password.
func Files() map[string]http.Handler {
	all := make(map[string]http.Handler)
	for _, name := range []string{"portal.css", "portal.js", "favicon.svg"} {
		all["GET /"+name] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			http.ServeFileFS(w, r, files, "pages/"+name)
		})
	}
	return all
}

// Guard sets the headers that every page of the operators has: nothing is
// loaded from elsewhere, nothing but our own script runs, nobody frames it, and what changes
// something must come from a page of its own: of the Host that it is sent to, or of base,
// under which browsers know it where something in front changes the Host.
func Guard(next http.Handler, base func() string) http.Handler {
	guarded := http.NewCrossOriginProtection()
	guarded.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		public, err := url.Parse(base())
		if err == nil && public.Host != "" && strings.EqualFold(r.Header.Get("Origin"), public.Scheme+"://"+public.Host) {
			next.ServeHTTP(w, r)
			return
		}
		problem.New(problem.Forbidden, "This was sent by a page of another address than the one that it was sent to, and nothing was done. Use the portal's own pages; where something in front of it changes the Host, set DYNPROXY_OPS_PUBLIC_URL to the address that browsers show.").Answer(w)
	}))
	// Entra ID answers the link of 2017 by a form on its own page. What that
	// may do is decided by the signed state alone.
	guarded.AddInsecureBypassPattern("POST /consent/callback")
	inner := guarded.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		// With "no-referrer" browsers send the forms of our own pages as from
		// nowhere (Origin: null); without TLS nothing else says whose they are.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		inner.ServeHTTP(w, r)
	})
}

func (p *Portal) apiList(w http.ResponseWriter, r *http.Request) {
	v := p.find(r, byName)
	answer(w, http.StatusOK, struct {
		Tenants []status.Tenant      `json:"tenants"`
		Total   int                  `json:"total"` // that match
		Page    int                  `json:"page"`
		Pages   int                  `json:"pages"`
		States  map[status.State]int `json:"states"`
		Faults  []string             `json:"directory_faults,omitempty"`
	}{append([]status.Tenant{}, v.Tenants...), v.Found, v.Page, v.Pages, v.Count, p.source.DirectoryFaults()})
}

func (p *Portal) apiNewcomers(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, struct {
		Newcomers []status.Newcomer `json:"newcomers"`
	}{append([]status.Newcomer{}, p.source.Newcomers()...)})
}

func (p *Portal) apiOne(w http.ResponseWriter, r *http.Request) {
	p.source.Refresh([]string{r.PathValue("name")})
	t, ok := p.source.Tenant(r.PathValue("name"))
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is no such tenant")
		return
	}
	answer(w, http.StatusOK, t)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	e.Encode(value)
}

// ago says how long something is past.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(time.Since(t)) + " ago"
}

// in says how far something is away, "" for an unknown time.
func in(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	left := time.Until(t)
	if left < 0 {
		return "ended " + span(-left) + " ago"
	}
	return "in " + span(left)
}

func span(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := int(d / unit.size); n > 0 {
			if n > 1 {
				unit.name += "s"
			}
			return fmt.Sprintf("%d %s", n, unit.name)
		}
	}
	return "a moment"
}

// spark draws calls a minute as the points of a line, 120 wide and 24 high.
func spark(calls []int) string {
	most := 1
	for _, n := range calls {
		most = max(most, n)
	}
	var b strings.Builder
	for i, n := range calls {
		if i > 0 && i+1 < len(calls) && calls[i-1] == n && calls[i+1] == n {
			continue // on a straight line
		}
		fmt.Fprintf(&b, "%d,%.1f ", i*120/max(len(calls)-1, 1), 23-22*float64(n)/float64(most))
	}
	return strings.TrimSpace(b.String())
}

func count(calls []int) (sum int) {
	for _, n := range calls {
		sum += n
	}
	return sum
}

func short(host string) string { return strings.TrimPrefix(host, "https://") }

func linkOf(r *check.Report, name string) check.Link {
	if r == nil {
		return check.Link{Name: name, State: check.Unknown, Finding: "not checked yet"}
	}
	l := r.Link(name)
	l.State = cmp.Or(l.State, check.Unknown)
	return l
}

// firstProblem is what a tenant's next step is about.
func firstProblem(r *check.Report) check.Link {
	if r == nil {
		return check.Link{}
	}
	return r.FirstProblem()
}
