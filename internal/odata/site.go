package odata

import "strings"

// Site is the proxy itself, as callers may write it in links. It is made once, by NewSite, and serves all Rewriters.
type Site struct {
	hosts        []string
	ports        []string
	urls         []base
	isTenant     func(name string) bool
	isTenantHost func(host string) bool
}

// NewSite makes a Site that goes by the hosts (names and address literals, without ports: "localhost", "127.0.0.1",
// "[::1]") at the ports, and by the whole addresses in urls, which may have a path. isTenant tells whether the first
// segment of a path names a tenant, isTenantHost whether a host alone does; both are asked about any text, from many
// goroutines.
func NewSite(hosts, ports, urls []string, isTenant, isTenantHost func(string) bool) *Site {
	s := &Site{ports: ports, isTenant: isTenant, isTenantHost: isTenantHost}
	for _, host := range hosts {
		if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
			host = "[" + host + "]"
		}
		s.hosts = append(s.hosts, host)
	}
	for _, address := range urls {
		if address != "" {
			s.urls = append(s.urls, newBase(address))
		}
	}
	return s
}

// findName looks for a name of the proxy, and the tenant behind it, in a link whose host begins at n. Names that only
// another tenant has are left out where the link is home, of a base of the organization's: they would change nothing.
func findName[T text](m *mapping, link T, n int, secure, home bool) linkMatch {
	site, f := m.call.Site, nowhere
	for i := range site.urls {
		if k := match(link, n, secure, &site.urls[i]); k >= 0 {
			f = better(f, findTenant(m, link, k))
		}
	}
	host, port, ok := authority(link, n)
	if !ok {
		return f
	}
	name, known := link[n:host], knownPort(m, link[host:port], secure)
	if len(name) > 0 && name[len(name)-1] == '.' { // as it may end: the same name
		name = name[:len(name)-1]
	}
	// A host that is there for one tenant is reached at the default port too, where something stands before the proxy.
	usual := known || isDefault(link[host:port], secure)
	switch {
	case usual && isOneOf(name, m.call.Hosts):
		return better(f, linkMatch{n: port})
	case known && (sameText(name, m.came.host) || isOneOf(name, site.hosts)):
		return better(f, findTenant(m, link, port))
	case usual && f.n < 0 && !home && len(name) <= longestHost && site.isTenantHost(string(name)):
		return linkMatch{n: port, foreign: true}
	}
	return f
}

// better is the find that reaches further, of which another tenant's counts least.
func better(a, b linkMatch) linkMatch {
	if a.n < 0 || b.n > a.n && !b.foreign || a.foreign && b.n >= 0 {
		return b
	}
	return a
}

// findTenant looks at the first segment of the path that begins at n.
func findTenant[T text](m *mapping, link T, n int) linkMatch {
	if n == len(link) || link[n] != '/' {
		return nowhere
	}
	end := segmentEnd(link, n+1)
	name := link[n+1 : end]
	switch {
	case m.call.Tenant != "" && sameText(name, m.call.Tenant):
		return linkMatch{n: end}
	case len(name) <= longestSegment && m.call.Site.isTenant(string(name)):
		return linkMatch{n: end, foreign: true}
	}
	return nowhere
}

// findRooted looks for a tenant at the beginning of a path on the proxy. Such a path is told from one of the organization by
// what follows: the root of a service.
func findRooted[T text](m *mapping, link T) linkMatch {
	if m.call == nil || m.call.Site == nil || len(link) < 2 || link[0] != '/' {
		return nowhere
	}
	f := findTenant(m, link, 0)
	if f.n < 0 {
		return f
	}
	n := joinSlashes(link, f.n)
	if !foldAt(link, n, "/api/") && !foldAt(link, n, "/XRMServices/") {
		return nowhere
	}
	if !f.foreign {
		f.n = n
	}
	return f
}

// authority gives where the host that begins at n ends, and where its port does.
func authority[T text](link T, n int) (host, port int, ok bool) {
	for host = n; host < len(link) && strings.IndexByte(":/?#", link[host]) < 0; host++ {
		if link[host] == '[' {
			for host < len(link) && link[host] != ']' {
				host++
			}
		}
	}
	host = min(host, len(link))
	port = host
	if port < len(link) && link[port] == ':' {
		for port++; port < len(link) && port-host <= len("65535") && '0' <= link[port] && link[port] <= '9'; port++ {
		}
	}
	return host, port, port == len(link) || strings.IndexByte("/?#", link[port]) >= 0
}

func segmentEnd[T text](link T, n int) int {
	for n < len(link) && strings.IndexByte("/?#", link[n]) < 0 {
		n++
	}
	return n
}

// isDefault reports whether a port, written with its colon or not at all, is its scheme's own.
func isDefault[T text](port T, secure bool) bool {
	return len(port) < 2 || string(port[1:]) == defaultPort(secure)
}

// knownPort reports whether the proxy is reached at a port, which is written with its colon or not at all.
func knownPort[T text](m *mapping, port T, secure bool) bool {
	if len(port) > 0 {
		port = port[1:]
	}
	if m.came.host != "" && samePort(port, secure, m.came.port, m.came.secure) {
		return true
	}
	for _, own := range m.call.Site.ports {
		if samePort(port, secure, own, own == "443") {
			return true
		}
	}
	return false
}

func isOneOf[T text](name T, all []string) bool {
	for _, one := range all {
		if sameText(name, one) {
			return true
		}
	}
	return false
}

// sameText compares without regard to the case of ASCII letters.
func sameText[T text](a T, b string) bool { return len(a) == len(b) && foldAt(a, 0, b) }
