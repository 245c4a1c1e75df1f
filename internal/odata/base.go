package odata

import "strings"

// mapping swaps any of the bases in from for to.
type mapping struct {
	to   string
	from []base
}

func newMapping(to string, from ...[]string) mapping {
	m := mapping{to: to}
	for _, bases := range from {
		for _, text := range bases {
			if text != "" {
				m.from = append(m.from, newBase(text))
			}
		}
	}
	return m
}

// reach is the number of bytes at the beginning of a link that decide whether it matches.
func (m *mapping) reach() int {
	n := 0
	for _, b := range m.from {
		n = max(n, len(b.host)+len(b.path))
	}
	return len("https://") + n + len(":65535") + 1
}

// base is the beginning that links have in common.
type base struct {
	secure     bool
	host, port string
	path       string // empty, or with a slash at its beginning and none at its end
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

// longest gives the length of the longest base with which link begins, or -1. The longest wins because a proxy's own
// base, where it serves a tenant by host name, is also the beginning of that tenant's base with a path.
func longest[T text](bases []base, link T) int {
	n := len("http://")
	secure := false
	if !foldAt(link, 0, "http://") {
		if !foldAt(link, 0, "https://") {
			return -1
		}
		n, secure = len("https://"), true
	}
	found := -1
	for i := range bases {
		found = max(found, match(link, n, secure, &bases[i]))
	}
	return found
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
