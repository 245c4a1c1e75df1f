package portal

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"dynproxy/internal/callers"
	"dynproxy/internal/calls"
	"dynproxy/internal/page"
	"dynproxy/internal/problem"
	"dynproxy/internal/usage"
)

const (
	callersShown = 500
	calledShown  = 4 // tenants of one caller
)

// callerRow is one caller: what it may, and what it did.
type callerRow struct {
	Name, Ways, Allowed, Fault string
	InBook, TwoKeys            bool
	Seen                       time.Time
	Requests                   int64
	Operations, Errors         int64
	Refused                    int // by the proxy, of the calls that are remembered
	Called                     []string
	MoreCalled                 string
}

func (p *Portal) callersPage(w http.ResponseWriter, _ *http.Request) {
	v := struct {
		Rows         []callerRow
		Which, Fault string
	}{}
	rows, err := p.callerRows()
	if err != nil {
		v.Fault = err.Error()
	}
	v.Which = plural(len(rows), "caller")
	if len(rows) > callersShown {
		v.Which = fmt.Sprintf("%d of %s", callersShown, v.Which)
		rows = rows[:callersShown]
	}
	v.Rows = rows
	page.Write(w, http.StatusOK, p.pages, "callers.html", v)
}

// callerRows are all callers of the book, and whoever else has called: those
// with the most requests first.
func (p *Portal) callerRows() ([]callerRow, error) {
	byName := make(map[string]*callerRow)
	row := func(name string) *callerRow {
		if byName[name] == nil {
			byName[name] = &callerRow{Name: name, Ways: "its address"}
		}
		return byName[name]
	}
	book, err := p.do.Editor.Callers()
	if err == nil && book != nil {
		for _, e := range book.Entries() {
			r := row(e.Name)
			if r.InBook, r.Ways = true, ""; e.Caller != nil {
				r.describe(e.Caller)
			}
			if e.Fault != nil {
				r.Fault = e.Fault.Error()
			}
		}
	}
	called := make(map[string]map[string]bool)
	for _, u := range p.source.Usage(usage.Question{Since: time.Now().Add(-24 * time.Hour)}) {
		r := row(u.Caller)
		r.Requests, r.Operations, r.Errors = r.Requests+u.Requests, r.Operations+u.Operations, r.Errors+u.Errors
		if u.Last.After(r.Seen) {
			r.Seen = u.Last
		}
		if called[u.Caller] == nil {
			called[u.Caller] = make(map[string]bool)
		}
		called[u.Caller][u.Tenant] = true
	}
	for _, c := range p.calls.Last(calls.Filter{Failed: true}, mostCalls) {
		if r := byName[c.Caller]; r != nil && refusedHere(c) {
			r.Refused++
		}
	}
	for name, tenants := range called {
		all := slices.Sorted(maps.Keys(tenants))
		byName[name].Called, byName[name].MoreCalled = all[:min(len(all), calledShown)], more(len(all)-calledShown)
	}
	var rows []callerRow
	for _, r := range byName {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b callerRow) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Name, b.Name))
	})
	return rows, err
}

// refusedHere reports whether the proxy itself refused c: what an organization
// did not answer is no refusal, and who left was refused nothing.
func refusedHere(c *calls.Call) bool {
	switch problem.Code(c.Error) {
	case problem.Unauthorized, problem.Forbidden, problem.TenantUnknown, problem.PathNotAllowed, problem.ReadOnly, problem.BadRequest,
		problem.LimitWaitExceeded, problem.OutOfSpace, problem.Draining:
		return true
	}
	return false
}

// describe says how c is known and what it may, in words.
func (r *callerRow) describe(c *callers.Caller) {
	var ways, allowed []string
	if n := c.Keys(); n > 0 {
		ways = append(ways, "key")
		r.TwoKeys = n > 1
	}
	if c.Certificate != "" {
		ways = append(ways, "certificate")
	}
	if len(c.Principals) > 0 {
		ways = append(ways, "Kerberos")
	}
	if len(ways) == 0 {
		ways = []string{"its address"}
	}
	switch {
	case len(c.Tenants) == 0:
		allowed = append(allowed, "all tenants")
	default:
		allowed = append(allowed, strings.Join(c.Tenants[:min(3, len(c.Tenants))], ", ")+more(len(c.Tenants)-3))
	}
	if c.ReadOnly {
		allowed = append(allowed, "reads only")
	}
	if len(c.Methods) > 0 {
		allowed = append(allowed, strings.Join(c.Methods, ", "))
	}
	if c.Rate > 0 {
		allowed = append(allowed, figure(c.Rate)+" requests a second")
	}
	r.Ways, r.Allowed, r.Seen = strings.Join(ways, ", "), strings.Join(allowed, "; "), c.Seen()
}
