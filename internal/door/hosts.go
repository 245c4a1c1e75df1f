package door

import (
	"net"
	"slices"
	"strings"

	"dynproxy/internal/httpguard"
)

// Hosts says under which Host names a listener may be reached, besides those of
// tenants: names that no web page's DNS can point here, the machine's own, those
// allowed (*.suffix is any below it), and that of public, the listener's own
// base. It is nil, for any, where * is allowed. A host is what HostName makes
// of one.
func Hosts(own, allowed []string, public string) func(host string) bool {
	known := slices.Clone(own)
	if public != "" {
		_, rest, _ := strings.Cut(public, "://")
		authority, _, _ := strings.Cut(rest, "/")
		known = append(known, strings.ToLower(httpguard.HostName(authority)))
	}
	names := Names(allowed)
	if slices.Contains(names, "*") {
		return nil
	}
	known = append(known, names...)
	return func(host string) bool {
		host = strings.ToLower(host)
		if !strings.Contains(host, ".") || net.ParseIP(host) != nil || strings.HasSuffix(host, ".localhost") || slices.Contains(known, host) {
			return true
		}
		return slices.ContainsFunc(known, func(k string) bool {
			suffix, wild := strings.CutPrefix(k, "*")
			return wild && strings.HasSuffix(host, suffix)
		})
	}
}

// Names are the names that are allowed as HostName has them, in lower case. What
// begins with * stands for others.
func Names(allowed []string) []string {
	var names []string
	for _, host := range allowed {
		if host = strings.ToLower(strings.TrimSpace(host)); host != "" {
			names = append(names, httpguard.HostName(host))
		}
	}
	return names
}
