// Package odata leads the links in a Dataverse conversation home: those of an answer to the proxy, those of a request
// to the organization. It swaps the beginning of a link and nothing else. Which texts are links is decided by their
// position (control information, link headers, request lines), never by how they look, so a data column that holds an
// organization's address passes untouched. Bodies are streamed in constant memory.
package odata

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
}

// ToPublic gives the proxy's form of a link of the organization. Any other text comes back as it is.
func (r *Rewriter) ToPublic(link string) string {
	return swap(r.toPublic(), link)
}

// ToOrg gives the organization's own form of a link to the proxy or to one of the organization's hosts. Any other text
// comes back as it is.
func (r *Rewriter) ToOrg(link string) string {
	return swap(r.toOrg(), link)
}

func swap(m mapping, link string) string {
	n := longest(m.from, link)
	if n < 0 {
		return link
	}
	return m.to + link[n:]
}

// toPublic maps the organization's bases to the proxy's.
func (r *Rewriter) toPublic() mapping {
	return newMapping(r.Public, []string{r.Org}, r.OrgAliases)
}

// toOrg maps all bases to the organization's own.
func (r *Rewriter) toOrg() mapping {
	return newMapping(r.Org, []string{r.Public, r.Org}, r.PublicAliases, r.OrgAliases)
}
