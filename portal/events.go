package portal

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/history"
	"dynproxy/internal/page"
)

const (
	eventsShown = 200 // changes
	turnsShown  = 50  // of tenants' states
	endsSoon    = 60 * 24 * time.Hour
)

// End is a credential or certificate that ends.
type End struct {
	Subject string
	At      time.Time
}

// News is what operators are told of, by a webhook too where one is set.
type News struct {
	Turns   []history.Turn // of tenants' states, the newest first
	Ends    []End          // of which an end is known, the soonest first
	Webhook bool           // whether NOTIFY_URL is set
	Failing string         // why its receiver was not told last time, "" if it was
}

// Soon are the ends that are not far.
func (n News) Soon() (soon []End) {
	for _, e := range n.Ends {
		if !e.At.IsZero() && time.Until(e.At) < endsSoon {
			soon = append(soon, e)
		}
	}
	return soon
}

// eventsPage shows what happened, and who changed what.
func (p *Portal) eventsPage(w http.ResponseWriter, _ *http.Request) {
	entries, fault := p.source.Audit(eventsShown)
	page.Write(w, http.StatusOK, p.pages, "events.html", struct {
		News
		Newcomers int
		Entries   []audit.Entry
		Fault     error
	}{p.source.News(turnsShown), len(p.source.Newcomers()), entries, fault})
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
