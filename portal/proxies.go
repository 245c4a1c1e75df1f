package portal

import (
	"net/http"
	"slices"

	"dynproxy/internal/cluster"
	"dynproxy/internal/page"
)

// proxiesPage shows the proxies that are one, and how each is.
func (p *Portal) proxiesPage(w http.ResponseWriter, _ *http.Request) {
	members, redis := p.source.Members()
	page.Write(w, http.StatusOK, p.pages, "proxies.html", struct {
		Members         []cluster.Member
		Redis           cluster.State
		Mixed, Draining bool // of several versions; whether this one is out of service
	}{members, redis, mixed(members), p.do.Draining()})
}

// mixed reports whether members are of several versions.
func mixed(members []cluster.Member) bool {
	return slices.ContainsFunc(members, func(m cluster.Member) bool { return m.Version != members[0].Version })
}
