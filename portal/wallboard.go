package portal

import (
	"fmt"
	"net/http"
	"strconv"

	"dynproxy/internal/page"
	"dynproxy/internal/status"
)

const (
	tiles         = 60 // that a screen on a wall can show so that they are read
	boardReloaded = 15 // seconds
)

// board is what the wallboard shows.
type board struct {
	view
	Paused bool
}

// Rest says how those are that have no tile, "" if all have one.
func (b board) Rest() string {
	left := b.Found - len(b.Tenants)
	if left <= 0 {
		return ""
	}
	shown := make(map[status.State]int)
	for _, t := range b.Tenants {
		shown[t.State]++
	}
	for _, s := range b.States {
		if n := b.Count[s] - shown[s]; n > 0 && s != status.Ready {
			return fmt.Sprintf("and %s more, %s of them not ready", figure(float64(left)), figure(float64(left-b.Count[status.Ready]+shown[status.Ready])))
		}
	}
	return fmt.Sprintf("and %s more, all ready", figure(float64(left)))
}

func (p *Portal) wallboard(w http.ResponseWriter, r *http.Request) {
	b := board{p.find(r, byWorst), isSet(r.URL.Query().Get("pause"))}
	b.Tenants = b.Tenants[:min(len(b.Tenants), tiles)]
	if !b.Paused {
		w.Header().Set("Refresh", strconv.Itoa(boardReloaded))
	}
	page.Write(w, http.StatusOK, p.pages, "wallboard.html", b)
}
