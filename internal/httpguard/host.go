package httpguard

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

func (h *headers) judgeHost(target []byte, oldVersion bool) *Fault {
	switch {
	case h.hosts > 1:
		return faultHosts
	case h.hosts == 0 && !oldVersion:
		return faultNoHost
	}
	switch host := string(h.host); {
	case !allHostBytes(host):
		return faultHost
	case host != "" && !soundHost(host):
		return faultHostForm
	}
	if target[0] == '/' || target[0] == '*' {
		return nil
	}
	u, err := url.ParseRequestURI(string(target))
	switch {
	case err != nil || !soundHost(u.Host):
		return faultTarget
	case u.User != nil:
		return faultUser
	case h.hosts == 0: // HTTP/1.0
		return nil
	case !strings.EqualFold(withoutPort(u.Host, u.Scheme), withoutPort(string(h.host), u.Scheme)):
		return faultDisagree
	}
	return nil
}

// soundHost reports whether host is what a URL can have in its place: a name
// that DNS could have but for _ and ~, or an address, and maybe a port. A
// colon without one is legal (RFC 3986, 3.2.3).
func soundHost(host string) bool {
	if literal, bracketed := strings.CutPrefix(host, "["); bracketed {
		address, rest, closed := strings.Cut(literal, "]")
		ip, err := netip.ParseAddr(strings.Clone(address)) // whose error would take host to the heap
		port, more := strings.CutPrefix(rest, ":")
		return closed && err == nil && ip.Is6() && allHostBytes(ip.Zone()) && (rest == "" || more && soundPort(port))
	}
	name, port, _ := strings.Cut(host, ":")
	if name = strings.TrimSuffix(name, "."); len(name) > longestName || !soundPort(port) {
		return false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.' && label > 0:
			label = 0
		case isAlnum(c) || c == '-' || c == '_' || c == '~':
			label++
		default:
			return false
		}
	}
	return label > 0
}

const longestName = 253 // bytes, in DNS

func soundPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0 && len(port) <= len("65535")
}

func allHostBytes(s string) bool {
	for i := range len(s) {
		if !isHostByte(s[i]) {
			return false
		}
	}
	return true
}

func isHostByte(c byte) bool {
	return isAlnum(c) || c != 0 && strings.IndexByte("-._~[]:%", c) >= 0
}

// Authority returns the host, with its port if there is one, under which the
// caller reached the server: what Host says, or else (HTTP/1.0 needs none) the
// connection's own address. In a target of absolute form the scheme's own port
// is left out.
func Authority(r *http.Request) string {
	scheme, secure := "http", TLSState(r) != nil
	if secure {
		scheme = "https"
	}
	if r.Host == "" {
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			return withoutPort(local.String(), scheme)
		}
		return ""
	}
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.Host
	}
	return withoutPort(r.Host, scheme)
}

// HostName drops the port and the brackets of an authority, and the dot that
// may end a full name: it is the same name without.
func HostName(authority string) string {
	name := authority
	if strings.Contains(authority, ":") { // most often not; an error would be made for it
		var err error
		if name, _, err = net.SplitHostPort(authority); err != nil {
			name = strings.Trim(authority, "[]")
		}
	}
	return strings.TrimSuffix(name, ".")
}

// withoutPort drops the port that scheme has anyway.
func withoutPort(authority, scheme string) string {
	if strings.EqualFold(scheme, "https") {
		return strings.TrimSuffix(authority, ":443")
	}
	return strings.TrimSuffix(authority, ":80")
}
