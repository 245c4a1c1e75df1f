// Package portal is what operators see: pages, rendered here and without
// JavaScript, of all tenants with what every check of them found, and the same
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
	"slices"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/calls"
	"dynproxy/internal/check"
	"dynproxy/internal/page"
	"dynproxy/internal/status"
	"dynproxy/internal/trend"
	"dynproxy/internal/usage"
	"dynproxy/tenants"
)

// Source is where facts come from. All of it must be quick but Check.
type Source interface {
	Names() []string // of all tenants, sorted, those with faults included
	State(name string) status.State
	Tenant(name string) (status.Tenant, bool)
	// Refresh says that somebody looks at these tenants: what is not known of
	// them is found out soon, and not now.
	Refresh(names []string)
	// CheckAnew checks the tenant now. It reports false if there is none.
	CheckAnew(ctx context.Context, name string) bool
	// ConsentLink is the address of the page that leads an administrator of the
	// tenant to consent.
	ConsentLink(name string) string
	// DirectoryFaults say which directory of settings cannot be read, and why.
	// What was read stays in force.
	DirectoryFaults() []string
	// Newcomers are tenants whose administrators say to have granted access, and
	// of which nothing is proven.
	Newcomers() []status.Newcomer
	// Usage is who called what, Forecasts what that comes to by the end of the day.
	Usage(usage.Question) []usage.Row
	Forecasts() []usage.Forecast
	// Trend is how the tenant's calls went, a point for each step of the span.
	Trend(tenant string, of trend.Span) []trend.Point
	// Settings are the tenant's settings in force, and where each comes from.
	Settings(tenant string) []tenants.Setting
	// Audit is the record of changes, the newest first, and what is wrong with it.
	Audit(limit int) ([]audit.Entry, error)
}

//go:embed pages
var files embed.FS

// Portal serves the pages.
type Portal struct {
	*http.ServeMux
	source Source
	calls  *calls.Ring
	pages  *template.Template
}

const (
	perPage     = 50
	mostPerPage = 1000 // by ?limit= of the API
)

// New returns the portal of what s knows, and of the calls that are remembered.
func New(s Source, remembered *calls.Ring) *Portal {
	p := &Portal{ServeMux: http.NewServeMux(), source: s, calls: remembered}
	p.pages = template.Must(template.New("").Funcs(template.FuncMap{
		"ago": ago, "in": in, "spark": spark, "checks": check.Links, "short": short, "count": count, "link": linkOf, "parts": parts, "zone": zone, "problem": firstProblem,
		"figure": figure, "rush": rush, "ms": inMillis, "stage": stageName, "along": along, "wide": wide, "timelines": timelines, "changes": changes, "differences": differences,
	}).ParseFS(files, "pages/*.html"))
	p.HandleFunc("GET /{$}", p.list)
	p.HandleFunc("GET /wallboard", p.wallboard)
	p.HandleFunc("GET /tenants/{name}", p.one)
	p.HandleFunc("POST /tenants/{name}/check", p.check)
	p.HandleFunc("GET /api/tenants", p.apiList)
	p.HandleFunc("GET /api/tenants/{name}", p.apiOne)
	p.HandleFunc("GET /api/newcomers", p.apiNewcomers)
	p.HandleFunc("GET /calls", p.callsPage)
	p.HandleFunc("GET /calls/{id}", p.callPage)
	p.HandleFunc("GET /api/calls", p.apiCalls)
	p.HandleFunc("GET /api/calls/{id}", p.apiCall)
	p.HandleFunc("GET /api/calls/stream", p.apiStream)
	p.HandleFunc("GET /events", p.eventsPage)
	p.HandleFunc("GET /usage", p.usagePage)
	p.HandleFunc("GET /usage.csv", p.usageCSV)
	p.HandleFunc("GET /api/usage", p.apiUsage)
	p.Handle("GET /portal.css", Style())
	return p
}

// Style serves the style sheet of all pages.
func Style() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		http.ServeFileFS(w, r, files, "pages/portal.css")
	})
}

// Guard sets the headers that every page of the operators has: nothing is
// loaded from elsewhere, nothing runs, nobody frames it, and what changes
// something must come from a page of its own.
func Guard(next http.Handler) http.Handler {
	guarded := http.NewCrossOriginProtection()
	// Entra ID answers the link of 2017 by a form on its own page. What that
	// may do is decided by the signed state alone.
	guarded.AddInsecureBypassPattern("POST /consent/callback")
	inner := guarded.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		inner.ServeHTTP(w, r)
	})
}

// view is what list and wallboard show.
type view struct {
	Source  Source
	Query   string
	State   status.State
	States  []status.State
	Count   map[status.State]int
	All     int
	Found   int
	Tenants []status.Tenant
	Page    int
	Pages   int
}

// find picks the tenants of a request: ?q= in the name, ?state=, ?page=; in the
// order of their names, or with the worst first.
func (p *Portal) find(r *http.Request, worstFirst bool) view {
	q := r.URL.Query()
	v := view{
		Source: p.source, Query: strings.ToLower(strings.TrimSpace(q.Get("q"))), State: status.State(q.Get("state")),
		States: status.States(), Count: map[status.State]int{},
	}
	var found []string
	by := map[status.State][]string{}
	names := p.source.Names()
	for _, name := range names {
		if !strings.Contains(name, v.Query) {
			continue
		}
		state := p.source.State(name)
		v.Count[state]++
		if v.State == "" || v.State == state {
			found = append(found, name)
			by[state] = append(by[state], name)
		}
	}
	if worstFirst {
		found = found[:0]
		for _, state := range v.States {
			found = append(found, by[state]...)
		}
	}
	v.All, v.Found = len(names), len(found)
	perPage := perPage
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && strings.HasPrefix(r.URL.Path, "/api/") {
		perPage = min(max(limit, 1), mostPerPage)
	}
	v.Pages = max(1, (len(found)+perPage-1)/perPage)
	v.Page, _ = strconv.Atoi(q.Get("page"))
	v.Page = min(max(v.Page, 1), v.Pages)
	shown := found[min((v.Page-1)*perPage, len(found)):min(v.Page*perPage, len(found))]
	for _, name := range shown {
		if t, ok := p.source.Tenant(name); ok {
			v.Tenants = append(v.Tenants, t)
		}
	}
	p.source.Refresh(shown)
	return v
}

// Before and After are the addresses of the pages beside this one, "" where
// there is none.
func (v view) Before() string { return v.to(v.Page - 1) }

// After is the next page's.
func (v view) After() string { return v.to(v.Page + 1) }

func (v view) to(page int) string {
	if page < 1 || page > v.Pages {
		return ""
	}
	q := url.Values{"page": {strconv.Itoa(page)}}
	if v.Query != "" {
		q.Set("q", v.Query)
	}
	if v.State != "" {
		q.Set("state", string(v.State))
	}
	return "/?" + q.Encode()
}

// Of is the address of the list of one state.
func (v view) Of(s status.State) string {
	q := url.Values{"state": {string(s)}}
	if v.Query != "" {
		q.Set("q", v.Query)
	}
	return "/?" + q.Encode()
}

func (p *Portal) list(w http.ResponseWriter, r *http.Request) {
	v := p.find(r, false)
	if slices.ContainsFunc(v.Tenants, func(t status.Tenant) bool { return t.State == status.Unchecked }) {
		w.Header().Set("Refresh", "3") // what was not known will be, in a moment
	}
	page.Write(w, http.StatusOK, p.pages, "list.html", struct {
		view
		Newcomers []status.Newcomer
	}{v, p.source.Newcomers()})
}

func (p *Portal) wallboard(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Refresh", "15")
	page.Write(w, http.StatusOK, p.pages, "wallboard.html", p.find(r, true))
}

func (p *Portal) apiList(w http.ResponseWriter, r *http.Request) {
	v := p.find(r, false)
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
	t, ok := p.source.Tenant(r.PathValue("name"))
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is no such tenant")
		return
	}
	p.source.Refresh([]string{t.Name})
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
