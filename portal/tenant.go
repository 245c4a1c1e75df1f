package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"dynproxy/internal/calls"
	"dynproxy/internal/page"
	"dynproxy/internal/status"
	"dynproxy/internal/trend"
	"dynproxy/tenants"
)

// failuresShown is how many of a tenant's last failed calls its page lists.
const failuresShown = 8

// tenantView is what the page of one tenant shows.
type tenantView struct {
	status.Tenant
	Source   Source
	Span     trend.Span
	Charts   []chart
	Rush     string // what the present rate of calls leads to, "" if to nothing bad
	Failed   []*calls.Call
	Settings []tenants.Setting
}

// Spans are what charts can be asked for.
func (tenantView) Spans() []trend.Span { return trend.Spans() }

func (p *Portal) one(w http.ResponseWriter, r *http.Request) {
	p.source.Refresh([]string{r.PathValue("name")})
	t, ok := p.source.Tenant(r.PathValue("name"))
	if !ok {
		page.Write(w, http.StatusNotFound, p.pages, "missing.html", r.PathValue("name"))
		return
	}
	if t.Report == nil && t.Fault == "" {
		w.Header().Set("Refresh", "2")
	}
	v := tenantView{Tenant: t, Source: p.source, Span: spanAsked(r), Settings: p.source.Settings(t.Name)}
	v.Charts = charts(p.source.Trend(t.Name, v.Span), v.Span, t.Budget.Limit)
	v.Rush = rush(t.Traffic, time.Duration(t.Budget.Window*float64(time.Second)), t.Budget.Limit)
	v.Failed = p.calls.Last(calls.Filter{Tenant: t.Name, Failed: true}, failuresShown)
	page.Write(w, http.StatusOK, p.pages, "tenant.html", v)
}

// spanAsked is the span of ?span=, a day if it names none.
func spanAsked(r *http.Request) trend.Span {
	all := trend.Spans()
	for _, s := range all {
		if s.Name == r.URL.Query().Get("span") {
			return s
		}
	}
	return all[1]
}

// parts are how many of a hundred requests each of the callers has sent. They
// add up to a hundred: what rounding leaves goes to the largest remainders.
func parts(callers []status.Share) []int {
	sum := uint64(0)
	for _, c := range callers {
		sum += c.Used
	}
	all, left := make([]int, len(callers)), 100
	if sum == 0 {
		return all
	}
	byRest := make([]int, len(callers))
	for i, c := range callers {
		all[i] = int(c.Used * 100 / sum)
		left -= all[i]
		byRest[i] = i
	}
	slices.SortStableFunc(byRest, func(a, b int) int { return cmp.Compare(callers[b].Used*100%sum, callers[a].Used*100%sum) })
	for _, i := range byRest[:left] {
		all[i]++
	}
	return all
}

// zone names the proxy's time zone as people know it.
func zone() string {
	name, offset := time.Now().Zone()
	if offset == 0 {
		return "UTC"
	}
	return fmt.Sprintf("%s (UTC%+03d:%02d)", name, offset/3600, max(offset, -offset)%3600/60)
}
