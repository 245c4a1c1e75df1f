// Package odata rewrites the links of OData messages between an organization
// and the proxy: in headers, queries, JSON bodies and batches. It touches only
// what is a link by its place (control information), never data that looks like
// one, and of a link only its base.
package odata

import "strings"

// Rewriter maps addresses between one organization and the proxy, for one
// call. It must not be changed while it is used. Bases have no slash at their
// end.
type Rewriter struct {
	Org        string   // the organization as it is called upstream: https://contoso.crm.dynamics.com
	OrgAliases []string // its other addresses, which lead home too

	Public        string   // where answers lead: http://proxy:8080/contoso
	PublicAliases []string // other bases under which callers know it
}

// ToPublic returns link with the organization's base replaced by the proxy's,
// and a link from the root of the organization ("/api/...") put below the
// proxy's base. Every other link is returned as it is.
func (r *Rewriter) ToPublic(link string) string {
	if n := r.orgBase(link); n > 0 {
		return r.Public + link[n:]
	}
	if strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "//") {
		return pathOf(r.Public) + link
	}
	return link
}

// ToOrg returns link with any base under which callers, or the organization
// itself, know the organization replaced by the one that is used upstream.
// Every other link is returned as it is.
func (r *Rewriter) ToOrg(link string) string {
	if n := r.anyBase(link); n > 0 {
		return r.Org + link[n:]
	}
	return link
}

// orgBase returns how much of s is a base of the organization, 0 for none.
func (r *Rewriter) orgBase(s string) int {
	if n := baseLen(s, r.Org); n > 0 {
		return n
	}
	for _, alias := range r.OrgAliases {
		if n := baseLen(s, alias); n > 0 {
			return n
		}
	}
	return 0
}

// anyBase returns how much of s is a base of the proxy or of the organization.
func (r *Rewriter) anyBase(s string) int {
	// The longest first: one base of the proxy may begin another.
	longest := baseLen(s, r.Public)
	for _, alias := range r.PublicAliases {
		longest = max(longest, baseLen(s, alias))
	}
	if longest > 0 {
		return longest
	}
	return r.orgBase(s)
}

// longestBase returns how many bytes of a link have to be known to tell its
// base.
func (r *Rewriter) longestBase() int {
	n := max(len(r.Org), len(r.Public))
	for _, alias := range r.OrgAliases {
		n = max(n, len(alias))
	}
	for _, alias := range r.PublicAliases {
		n = max(n, len(alias))
	}
	return n + len("s:443/")
}

// baseLen returns how much of s is base: the same host and path in any case of
// letters, with either scheme, with or without a default port, and ending where
// a path, a query or the whole link ends. Otherwise it returns 0.
func baseLen(s, base string) int {
	wantHost, ok := afterScheme(base)
	host, found := afterScheme(s)
	if !ok || !found {
		return 0
	}
	want := base[wantHost:]
	authority, path := want, ""
	if slash := strings.IndexByte(want, '/'); slash >= 0 {
		authority, path = want[:slash], want[slash:]
	}
	authority = strings.TrimSuffix(authority, defaultPort(base))
	rest, ok := cutFold(s[host:], authority)
	if !ok {
		return 0
	}
	if port := defaultPort(s); strings.HasPrefix(rest, port) && (len(rest) == len(port) || strings.IndexByte("/?#", rest[len(port)]) >= 0) {
		rest = rest[len(port):]
	}
	if rest, ok = cutFold(rest, path); !ok {
		return 0
	}
	if rest != "" && strings.IndexByte("/?#", rest[0]) < 0 {
		return 0
	}
	return len(s) - len(rest)
}

// afterScheme returns where the host of an http or https address begins.
func afterScheme(s string) (int, bool) {
	for _, scheme := range []string{"https://", "http://"} {
		if _, ok := cutFold(s, scheme); ok {
			return len(scheme), true
		}
	}
	return 0, false
}

func defaultPort(s string) string {
	if _, ok := cutFold(s, "https:"); ok {
		return ":443"
	}
	return ":80"
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// pathOf returns the path of a base: "/contoso", or "".
func pathOf(base string) string {
	host, _ := afterScheme(base)
	if slash := strings.IndexByte(base[host:], '/'); slash >= 0 {
		return base[host+slash:]
	}
	return ""
}

// hostOf returns host and port of a base.
func hostOf(base string) string {
	host, _ := afterScheme(base)
	authority, _, _ := strings.Cut(base[host:], "/")
	return authority
}
