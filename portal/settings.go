package portal

import (
	"net/http"
	"slices"
	"time"

	"dynproxy/internal/page"
)

// Setting is one of the proxy's own in force; a secret's value is redacted.
type Setting struct {
	Name, Value, Source string
	Live                bool // whether a change needs no restart
}

// Settings are those in force, and what is wrong with what stands in the files.
type Settings struct {
	Rows    []Setting
	Read    time.Time // when they were read again last, zero for never
	Faults  []string  // for which nothing was taken up then
	Waiting []string  // variables that have changed since the start and need a restart
	Unknown []string  // variables that mean nothing
}

func (p *Portal) settingsPage(w http.ResponseWriter, _ *http.Request) {
	v := struct {
		Settings
	}{p.source.InForce()}
	slices.SortStableFunc(v.Rows, func(a, b Setting) int {
		switch isDefault := func(s Setting) bool { return s.Source == "default" }; {
		case isDefault(a) == isDefault(b):
			return 0
		case isDefault(b):
			return -1
		}
		return 1
	})
	page.Write(w, http.StatusOK, p.pages, "settings.html", v)
}
