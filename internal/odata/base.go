package odata

import "strings"

// mapping swaps any of the bases in from and more for to. An empty base matches nothing.
type mapping struct {
	to   string
	from [2]string
	more [2][]string
}

// each calls f with every base that is not empty.
func (m *mapping) each(f func(base string)) {
	for i, base := range m.from {
		if base != "" {
			f(base)
		}
		for _, alias := range m.more[i] {
			if alias != "" {
				f(alias)
			}
		}
	}
}

// reach is the number of bytes at the beginning of a link that decide whether it matches.
func (m *mapping) reach() int {
	n := 0
	m.each(func(base string) { n = max(n, len(base)) })
	return n + len("https://") + len(":65535") + 1
}

type text interface{ string | []byte }

// longest gives the length of the longest base with which link begins, or -1. The longest wins because a proxy's own
// base, where it serves a tenant by host name, is also the beginning of that tenant's base with a path.
func longest[T text](m mapping, link T) int {
	if len(link) < len("http://") || link[0]|0x20 != 'h' {
		return -1
	}
	n := -1
	for i, base := range m.from {
		if base != "" {
			n = max(n, match(link, base))
		}
		for _, alias := range m.more[i] {
			if alias != "" {
				n = max(n, match(link, alias))
			}
		}
	}
	return n
}

// match gives the length of base as link writes it, or -1 when link is not of that base.
func match[T text](link T, base string) int {
	secure, host, port, path := splitBase(base)
	n := len("http://")
	linkSecure := false
	if !foldAt(link, 0, "http://") {
		if !foldAt(link, 0, "https://") {
			return -1
		}
		n, linkSecure = len("https://"), true
	}
	if !foldAt(link, n, host) {
		return -1
	}
	n += len(host)
	linkPort := n
	if n < len(link) && link[n] == ':' {
		for n++; n < len(link) && n-linkPort <= len("65535") && '0' <= link[n] && link[n] <= '9'; n++ {
		}
		linkPort++
	}
	if !samePort(link[linkPort:n], linkSecure, port, secure) || !foldAt(link, n, path) {
		return -1
	}
	n += len(path)
	if n < len(link) && link[n] != '/' && link[n] != '?' && link[n] != '#' {
		return -1
	}
	return n
}

func splitBase(base string) (secure bool, host, port, path string) {
	scheme, rest, _ := strings.Cut(base, "://")
	secure = len(scheme) == len("https")
	host = rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], strings.TrimRight(rest[i:], "/")
	}
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	return secure, host, port, path
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
