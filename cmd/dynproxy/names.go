package main

import (
	"net"
	"slices"
	"strings"
)

// portOf is the port of an address to listen at, which may be a name or 0 and then matches no link.
func portOf(listen string) string {
	_, port, _ := net.SplitHostPort(listen)
	return port
}

// hostRule says under which Host names a listener may be reached, besides
// those of tenants: names that no web page's DNS can point here, those of the
// settings, and that of public, its own base. names are the machine's own. A
// nil rule allows any.
func hostRule(cfg *config, names []string, public string) func(host string) bool {
	known := slices.Clone(names)
	if public != "" {
		_, rest, _ := strings.Cut(public, "://")
		authority, _, _ := strings.Cut(rest, "/")
		known = append(known, strings.ToLower(hostOnly(authority)))
	}
	for _, host := range cfg.AllowedHosts {
		host = strings.ToLower(strings.TrimSpace(host))
		if host == "*" {
			return nil
		}
		known = append(known, hostOnly(host))
	}
	return func(host string) bool {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if !strings.Contains(host, ".") || net.ParseIP(host) != nil || strings.HasSuffix(host, ".localhost") || slices.Contains(known, host) {
			return true
		}
		return slices.ContainsFunc(known, func(k string) bool {
			suffix, wild := strings.CutPrefix(k, "*")
			return wild && strings.HasSuffix(host, suffix)
		})
	}
}

func hostOnly(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.Trim(authority, "[]")
}
