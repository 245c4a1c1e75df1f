// Package odata leads the links in a Dataverse conversation home: those of an answer to the proxy, those of a request
// to the organization. It swaps the beginning of a link and nothing else. Which texts are links is decided by their
// position (control information, link headers, request lines), never by how they look, so a data column that holds an
// organization's address passes untouched. Bodies are streamed in constant memory.
package odata

import "strings"

// Rewriter maps addresses between one organization and the proxy, for one call. A base is scheme, host, an optional port
// and an optional path, without a trailing slash. Bases match without regard to case, to http or https, or to a default
// port that is written out, and only as a whole: what follows must be '/', '?', '#' or the end of the link.
// A Rewriter is not changed by its methods, and may be used by several goroutines.
type Rewriter struct {
	// Org is the organization's base as it is called: "https://contoso.crm.dynamics.com".
	Org string
	// OrgAliases are the organization's other bases: "https://contoso.api.crm.dynamics.com".
	OrgAliases []string
	// Public is the base to which answers lead: "http://proxy:8080/contoso", or "http://contoso.crm.lan".
	Public string
	// PublicAliases are all other bases under which callers may know the organization.
	PublicAliases []string
	// Hosts are names of hosts that lead to the organization with no path: "contoso.crm.lan".
	Hosts []string
	// Tenant is the first segment of the path that leads to the organization at any name of the proxy; empty for none.
	Tenant string
	// Came is the host, with a port if there is one, by which the caller came: one more name of the proxy.
	Came string
	// Site is the proxy itself, nil to know of no names but the bases above. With it, a link to another tenant of the proxy
	// is an error.
	Site *Site
}

// ForeignLink tells of a link that leads to another tenant of the proxy. A request can only name what its own organization
// holds.
type ForeignLink struct {
	base string // the beginning of the link, to where it names the tenant
}

func (e *ForeignLink) Error() string {
	return "a link begins with " + e.base + ", which is another tenant of this proxy: a request can only name records of the tenant that it is sent to"
}

// Unwrap makes a ForeignLink an errForeign.
func (e *ForeignLink) Unwrap() error { return errForeign }

// linkToPublic gives the proxy's form of a link of the organization. Any other text comes back as it is.
func (r *Rewriter) linkToPublic(link string) string {
	m := r.toPublic()
	f := find(&m, link)
	if f.n < 0 {
		return link
	}
	return m.to + link[f.n:]
}

// toPublic maps the organization's bases to the proxy's.
func (r *Rewriter) toPublic() mapping {
	m := mapping{to: r.Public, from: make([]base, 0, 1+len(r.OrgAliases))}
	m.add(false, r.Org)
	m.add(false, r.OrgAliases...)
	return m
}

// toOrg maps all bases to the organization's own.
func (r *Rewriter) toOrg() mapping {
	m := mapping{to: r.Org, from: make([]base, 0, 2+len(r.OrgAliases)+len(r.PublicAliases)), call: r}
	m.add(true, r.Public)
	m.add(false, r.Org)
	m.add(true, r.PublicAliases...)
	m.add(false, r.OrgAliases...)
	if r.Came != "" {
		scheme, _, _ := strings.Cut(r.Public, "://")
		m.came = newBase(scheme + "://" + r.Came)
		m.came.host = strings.TrimSuffix(m.came.host, ".")
	}
	return m
}

func (m *mapping) add(public bool, bases ...string) {
	for _, text := range bases {
		if text != "" {
			b := newBase(text)
			b.public = public
			m.from = append(m.from, b)
		}
	}
}
