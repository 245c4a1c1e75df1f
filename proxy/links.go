package proxy

import (
	"net/http"

	"dynproxy/internal/httpguard"
	"dynproxy/internal/odata"
	"dynproxy/tenants"
)

// newSite gathers the names of the proxy, once for all calls.
func newSite(e *AccessPolicy, book *tenants.Book) *odata.Site {
	isTenant := func(name string) bool { return book.Lookup(name) != nil }
	isTenantHost := func(host string) bool { return book.ByHost(host) != nil }
	return odata.NewSite(e.Names, e.Ports, []string{e.PublicURL}, isTenant, isTenantHost)
}

// linksFor makes the call's rewriter. Answers lead to where the caller came
// in; requests may carry any name under which callers know the tenant. prefix
// is that of the tenant in the path, empty for one with a host of its own.
func (h *Handler) linksFor(t *tenants.Tenant, r *http.Request, prefix string) *odata.Rewriter {
	scheme := "http://"
	if httpguard.TLSState(r) != nil {
		scheme = "https://"
	}
	came, entrance := httpguard.Authority(r), h.entrance.Load()
	links := &odata.Rewriter{
		Org: t.Org, Public: scheme + came + prefix,
		Hosts: t.Hosts, Tenant: t.Name, Came: came, Site: entrance.site,
	}
	if t.Alias != "" {
		links.OrgAliases = []string{t.Alias}
	}
	if public := entrance.PublicURL; public != "" && prefix != "" {
		links.Public = public + prefix
	}
	return links
}
