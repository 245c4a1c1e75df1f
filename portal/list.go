package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"dynproxy/internal/check"
	"dynproxy/internal/page"
	"dynproxy/internal/status"
)

const (
	perPage     = 50
	mostPerPage = 1000 // where all are asked for
)

// The orders of a list.
const (
	byWorst = "worst" // then by name
	byName  = "name"
	byCalls = "calls" // in the last hour, the most first
)

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
	Sort    string
	Size    int // of a page
	Page    int
	Pages   int
	shared  map[string][]string // by a tenant's name, the others on this page or not that spend its budget
}

// find picks the tenants of a request: ?q= in the name or the organization,
// ?state=, ?sort=, ?size=, ?page=; without ?sort= in the order that is given.
func (p *Portal) find(r *http.Request, order string) view {
	q := r.URL.Query()
	v := view{
		Source: p.source, Query: strings.ToLower(strings.TrimSpace(q.Get("q"))), State: status.State(q.Get("state")),
		States: status.States(), Count: map[status.State]int{}, Sort: order, Size: sizeAsked(r),
	}
	if sort := q.Get("sort"); slices.Contains([]string{byWorst, byName, byCalls}, sort) {
		v.Sort = sort
	}
	var found []string
	by := map[status.State][]string{}
	names := p.source.Names()
	for _, name := range names {
		if !strings.Contains(name, v.Query) && !strings.Contains(strings.ToLower(p.source.Organization(name)), v.Query) {
			continue
		}
		state := p.source.State(name)
		v.Count[state]++
		if v.State == "" || v.State == state {
			found = append(found, name)
			by[state] = append(by[state], name)
		}
	}
	switch v.Sort {
	case byWorst:
		found = found[:0]
		for _, state := range v.States {
			found = append(found, by[state]...)
		}
	case byCalls:
		calls := make(map[string]int, len(found))
		for _, name := range found {
			calls[name] = p.source.Calls(name)
		}
		slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(calls[b], calls[a]) })
	}
	v.All, v.Found = len(names), len(found)
	v.Pages = max(1, (len(found)+v.Size-1)/v.Size)
	v.Page, _ = strconv.Atoi(q.Get("page"))
	var shown []string
	if v.Page = max(v.Page, 1); !forPrograms(r) {
		v.Page = min(v.Page, v.Pages) // a program that asks on until nothing comes finds an end
	}
	if v.Page <= v.Pages {
		shown = found[(v.Page-1)*v.Size : min(v.Page*v.Size, len(found))]
	}
	p.source.Refresh(shown)
	for _, name := range shown {
		if t, ok := p.source.Tenant(name); ok {
			v.Tenants = append(v.Tenants, t)
		}
	}
	v.shared = p.source.Sharers(shown)
	return v
}

// sizeAsked is how many tenants a page has: 50, 200 or "all" (a thousand) of
// ?size=; for the API any number of ?limit=.
func sizeAsked(r *http.Request) int {
	q := r.URL.Query()
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && forPrograms(r) {
		return limit
	}
	switch q.Get("size") {
	case "200":
		return 200
	case "all":
		return mostPerPage
	}
	return perPage
}

func forPrograms(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/api/") }

// Before and After are the addresses of the pages beside this one, "" where
// there is none.
func (v view) Before() string { return v.to(v.Page - 1) }

// After is the next page's.
func (v view) After() string { return v.to(v.Page + 1) }

func (v view) to(page int) string {
	if page < 1 || page > v.Pages {
		return ""
	}
	return v.with("page", strconv.Itoa(page))
}

// Choices are what a search keeps of what this list was asked for, by the names
// of parameters: all but the words that were searched for, and the page.
func (v view) Choices() map[string]string {
	kept := make(map[string]string)
	if v.State != "" {
		kept["state"] = string(v.State)
	}
	if v.Sort != byWorst {
		kept["sort"] = v.Sort
	}
	if v.Size != perPage {
		kept["size"] = sizeName(v.Size)
	}
	return kept
}

// with is the address of this list with something else asked for.
func (v view) with(name, value string) string {
	asked := v.Choices()
	asked["q"] = v.Query
	asked[name] = value
	q := url.Values{}
	for name, value := range asked {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

func sizeName(n int) string {
	if n == mostPerPage {
		return "all"
	}
	return strconv.Itoa(n)
}

// Of is the address of the list of one state.
func (v view) Of(s status.State) string { return v.with("state", string(s)) }

// OfAll is the address of the list of all states.
func (v view) OfAll() string { return v.with("state", "") }

// choice is one of several things that a page can show.
type choice struct {
	Says, At string
	Now      bool // whether it is what is shown
}

// Sorts are the orders to choose from.
func (v view) Sorts() (all []choice) {
	for _, sort := range []struct{ name, says string }{{byWorst, "worst first"}, {byName, "name"}, {byCalls, "calls"}} {
		all = append(all, choice{sort.says, v.with("sort", sort.name), sort.name == v.Sort})
	}
	return all
}

// Sizes are the sizes of a page to choose from; none where all fit on one.
func (v view) Sizes() (all []choice) {
	if v.Found <= perPage {
		return nil
	}
	for _, n := range []int{perPage, 200, mostPerPage} {
		says := sizeName(n)
		if n == mostPerPage && v.Found > n {
			says = figure(float64(n))
		}
		all = append(all, choice{says, v.with("size", sizeName(n)), n == v.Size})
	}
	return all
}

// Shared says whose budget a tenant spends too: as is where the page has that
// budget at another tenant before this one.
func (v view) Shared(name string) (words string) {
	others := v.shared[name]
	if len(others) == 0 {
		return ""
	}
	if first := v.holder(name); first != name {
		return "that of " + first
	}
	return "shared with " + strings.Join(others[:min(3, len(others))], ", ") + more(len(others)-3)
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}

// Holds reports whether the page shows the tenant's budget at the tenant itself:
// one that several share is shown once.
func (v view) Holds(name string) bool { return v.holder(name) == name }

// holder is the first tenant of the page that spends the same budget.
func (v view) holder(name string) string {
	for _, t := range v.Tenants {
		if t.Name == name || slices.Contains(v.shared[name], t.Name) {
			return t.Name
		}
	}
	return name
}

// Which says which of how many tenants are shown.
func (v view) Which() string {
	of := figure(float64(v.All)) + " tenants"
	if v.All == 1 {
		of = "1 tenant"
	}
	if v.Found < v.All {
		of = fmt.Sprintf("%s that match, of %s", figure(float64(v.Found)), of)
	}
	if v.Pages == 1 {
		return of
	}
	first := (v.Page-1)*v.Size + 1
	return fmt.Sprintf("%s to %s of %s", figure(float64(first)), figure(float64(first+len(v.Tenants)-1)), of)
}

func (p *Portal) list(w http.ResponseWriter, r *http.Request) {
	v := p.find(r, byWorst)
	if slices.ContainsFunc(v.Tenants, func(t status.Tenant) bool { return t.State == status.Unchecked }) {
		w.Header().Set("Refresh", "3") // what was not known will be, in a moment
	}
	page.Write(w, http.StatusOK, p.pages, "list.html", struct {
		view
		Newcomers []status.Newcomer
	}{v, p.source.Newcomers()})
}

// chain is a tenant's checks in short.
type chain struct {
	Links   []check.Link
	Ok, All int
	Stopped string // the name of the first that is not, "" if there is none
}

// Says is the chain in words.
func (c chain) Says() string {
	switch {
	case c.Stopped == "" && c.Ok == c.All:
		return "all " + strconv.Itoa(c.All) + " ok"
	case c.Stopped == "":
		return strconv.Itoa(c.Ok) + " of " + strconv.Itoa(c.All) + " ok"
	}
	return fmt.Sprintf("%d of %d ok, then %s", c.Ok, c.All, c.Stopped)
}

func chainOf(r *check.Report) (c chain) {
	for _, name := range check.Links() {
		l := linkOf(r, name)
		c.Links = append(c.Links, l)
		c.All++
		if l.State == check.OK {
			c.Ok++
		}
	}
	c.Stopped = firstProblem(r).Name
	return c
}

// anchor is a check's name as it stands in an address.
func anchor(name string) string { return strings.ReplaceAll(name, " ", "-") }

// step is what to do next: words, and the command that ends them, if one does.
type step struct{ Words, Command string }

func nextStep(text string) step {
	for _, begin := range []string{"pac ", "dynproxy "} {
		if i := strings.Index(text, ": "+begin); i >= 0 {
			return step{text[:i+1], strings.TrimSpace(text[i+2:])}
		}
	}
	return step{Words: text}
}
