package portal

import (
	"maps"
	"net/http"
	"slices"

	"dynproxy/internal/audit"
	"dynproxy/internal/page"
)

// eventsShown is how many changes the page shows.
const eventsShown = 200

// eventsPage shows who changed what.
func (p *Portal) eventsPage(w http.ResponseWriter, _ *http.Request) {
	entries, fault := p.source.Audit(eventsShown)
	page.Write(w, http.StatusOK, p.pages, "events.html", struct {
		Entries []audit.Entry
		Fault   error
	}{entries, fault})
}

// difference is one setting of a change; "" is what was, or is, not set.
type difference struct{ Setting, Before, After string }

// differences are the settings of a change, sorted.
func differences(e audit.Entry) []difference {
	names := slices.Collect(maps.Keys(e.Before))
	names = append(names, slices.Collect(maps.Keys(e.After))...)
	slices.Sort(names)
	var all []difference
	for _, name := range slices.Compact(names) {
		all = append(all, difference{name, e.Before[name], e.After[name]})
	}
	return all
}
