package odata

import "strings"

// mapping swaps the beginnings of links.
type mapping struct {
	to   string
	from []base
	// call is nil for links to the proxy's side. For those to the organization it knows the other names of the proxy.
	call *Rewriter
	came base // the authority by which the caller came
}

// reach is the number of bytes at the beginning of a link that decide whether it matches.
func (m *mapping) reach() int {
	n := 0
	for _, b := range m.from {
		n = max(n, len(b.host)+len(b.path))
	}
	if m.call != nil && m.call.Site != nil {
		n = max(n, longestHost+len("/")+longestSegment)
		for _, b := range m.call.Site.urls {
			n = max(n, len(b.host)+len(b.path)+len("/")+longestSegment)
		}
	}
	return len("https://") + n + len(":65535") + 1
}

const (
	longestHost    = 253
	longestSegment = 63 // of a path that names a tenant
)

// base is the beginning that links have in common.
type base struct {
	secure     bool
	host, port string
	path       string // empty, or with a slash at its beginning and none at its end
	public     bool   // it is the proxy's, and slashes doubled behind it are joined
}

func newBase(s string) base {
	scheme, rest, _ := strings.Cut(s, "://")
	b := base{secure: len(scheme) == len("https"), host: rest}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		b.host, b.path = rest[:i], strings.TrimRight(rest[i:], "/")
	}
	if i := strings.LastIndexByte(b.host, ':'); i > strings.LastIndexByte(b.host, ']') {
		b.host, b.port = b.host[:i], b.host[i+1:]
	}
	return b
}

type text interface{ string | []byte }

// linkMatch is what the beginning of a link is.
type linkMatch struct {
	n       int  // its length, negative for a link that leads nowhere known
	foreign bool // it names another tenant of the proxy
}

var nowhere = linkMatch{n: -1}

// find looks for what link begins with. The longest base wins because a proxy's own base, where it serves a tenant by host
// name, is also the beginning of that tenant's base with a path.
func find[T text](m *mapping, link T) linkMatch {
	n := len("http://")
	secure := false
	if !foldAt(link, 0, "http://") {
		if !foldAt(link, 0, "https://") {
			return findRooted(m, link)
		}
		n, secure = len("https://"), true
	}
	f, public := nowhere, false
	for i := range m.from {
		if k := match(link, n, secure, &m.from[i]); k > f.n {
			f.n, public = k, m.from[i].public
		}
	}
	if m.call != nil && m.call.Site != nil {
		if k := findName(m, link, n, secure, f.n >= 0); k.n > f.n && (f.n < 0 || !k.foreign) {
			f, public = k, true
		}
	}
	if public && !f.foreign {
		f.n = joinSlashes(link, f.n)
	}
	return f
}

// joinSlashes passes over all but the last of the slashes at position n.
func joinSlashes[T text](link T, n int) int {
	for n+1 < len(link) && link[n] == '/' && link[n+1] == '/' {
		n++
	}
	return n
}

// match gives the length of b as link writes it, or -1 when link is not of that base. What follows the scheme of link
// begins at n.
func match[T text](link T, n int, secure bool, b *base) int {
	if !foldAt(link, n, b.host) {
		return -1
	}
	n += len(b.host)
	port := n
	if n < len(link) && link[n] == ':' {
		for n++; n < len(link) && n-port <= len("65535") && '0' <= link[n] && link[n] <= '9'; n++ {
		}
		port++
	}
	if !samePort(link[port:n], secure, b.port, b.secure) || !foldAt(link, n, b.path) {
		return -1
	}
	n += len(b.path)
	if n < len(link) && link[n] != '/' && link[n] != '?' && link[n] != '#' {
		return -1
	}
	return n
}

// samePort compares two ports, each of its own scheme. A default port equals the other scheme's default: callers behind
// something that ends TLS write https where the proxy sees http.
func samePort[T text](a T, aSecure bool, b string, bSecure bool) bool {
	aDefault := len(a) == 0 || string(a) == defaultPort(aSecure)
	bDefault := b == "" || b == defaultPort(bSecure)
	if aDefault || bDefault {
		return aDefault && bDefault
	}
	return string(a) == b
}

func defaultPort(secure bool) string {
	if secure {
		return "443"
	}
	return "80"
}

// foldAt reports whether s holds want at position at, ASCII letters compared without case.
func foldAt[T text](s T, at int, want string) bool {
	if len(s)-at < len(want) {
		return false
	}
	for i := range len(want) {
		a, b := s[at+i], want[i]
		if a != b && lower(a) != lower(b) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
