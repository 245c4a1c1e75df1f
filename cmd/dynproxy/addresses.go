package main

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"dynproxy/internal/envfile"
)

// readPublicURL reads an address that is written before paths, as it stands.
func readPublicURL(name, address string, fault func(name, cure string, args ...any)) string {
	if address == "" {
		return ""
	}
	u := addressOf(address, "http", "https")
	if u == nil || u.User != nil || strings.ContainsAny(address, "?#") || !strings.HasSuffix(address, u.EscapedPath()) {
		fault(name, "must be an address such as https://crm.example.com or http://proxy:8080/dynamics, with nothing behind its path and unusual characters percent-encoded")
	}
	return strings.TrimRight(address, "/")
}

// addressOf is the address in text, nil if there is none that could be reached
// by one of the schemes.
func addressOf(text string, schemes ...string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || !envfile.IsPort(u.Port()) {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Zone() == "" || hostName.MatchString(u.Hostname()) && u.Hostname()[0] != '*' {
		return u
	}
	return nil
}

// readNotifyURL judges NOTIFY_URL, of which nothing may be quoted: its path or
// query often is a token. Without TLS it may only name this machine or a
// private address, which a name does not show.
func (c *config) readNotifyURL(faults *envfile.Faults) {
	if c.NotifyURL.Empty() {
		return
	}
	u := addressOf(c.NotifyURL.Reveal(), "http", "https")
	switch {
	case u == nil:
		faults.Add(prefix+"NOTIFY_URL", "must be the address of a webhook, such as https://hooks.example.com/...")
	case u.Scheme == "http" && !nearby(u.Hostname()):
		faults.Add(prefix+"NOTIFY_URL", "must begin with https://; http:// is only for localhost and private addresses such as http://10.1.2.3/")
	}
}

// nearby reports whether host is this machine or an address literal in a
// private network.
func nearby(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate())
}

// portOf is the port of an address to listen at, which may be a name or 0 and then matches no link.
func portOf(listen string) string {
	_, port, _ := net.SplitHostPort(listen)
	return port
}

// portIn is the port in a host's name, "" where it has none.
func portIn(host string) string {
	_, port, _ := strings.Cut(host, ":")
	return port
}

// hostName is a name that may stand in a Host header, or *.suffix.
var hostName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?(:[0-9]+)?$`)

// loopback reports whether an address to listen on can be reached from this
// machine only.
func loopback(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false, err
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return false, err
	}
	if strings.EqualFold(host, "localhost") {
		return true, nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback(), nil
}
