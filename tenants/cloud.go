package tenants

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"dynproxy/internal/envfile"
)

// A cloud is one of Microsoft's national clouds: how its organizations are
// called, and where they sign in. A registration belongs to one cloud.
type cloud struct {
	organization *regexp.Regexp
	login        string
}

// The regions of the commercial cloud are open-ended (crm, crm2, ... crm21 and
// counting), so hosts are matched by pattern and not from a list.
var clouds = []cloud{
	{regexp.MustCompile(`^[a-z0-9-]+(\.api)?\.crm\d*\.dynamics\.com$`), "login.microsoftonline.com"},
	{regexp.MustCompile(`^[a-z0-9-]+(\.api)?\.crm\d*\.microsoftdynamics\.us$`), "login.microsoftonline.us"},
	{regexp.MustCompile(`^[a-z0-9-]+(\.api)?\.crm\d*\.appsplatform\.us$`), "login.microsoftonline.us"},
	{regexp.MustCompile(`^[a-z0-9-]+(\.api)?\.crm\d*\.dynamics\.cn$`), "login.partner.microsoftonline.cn"},
}

var loginHosts = []string{
	"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net",
	"login.microsoftonline.us", "login.usgovcloudapi.net",
	"login.partner.microsoftonline.cn", "login.chinacloudapi.cn",
}

// cloudOf returns the cloud that host (without a port) belongs to, or nil.
func cloudOf(host string) *cloud {
	for i := range clouds {
		if clouds[i].organization.MatchString(host) {
			return &clouds[i]
		}
	}
	return nil
}

// aliasOf returns the other host of the same organization in Microsoft's
// clouds (x.crm4... and x.api.crm4...), or "" when host has none.
func aliasOf(host string) string {
	if cloudOf(host) == nil {
		return ""
	}
	name, rest, _ := strings.Cut(host, ".")
	if after, isAPI := strings.CutPrefix(rest, "api."); isAPI {
		return name + "." + after
	}
	return name + ".api." + rest
}

// AllowedHosts says which hosts may be spoken to: Microsoft's own, and those
// that the settings name.
type AllowedHosts struct {
	microsoft func(host string) bool
	named     []string
}

// AnyHost allows every host: to judge the rest of the settings where those
// about hosts are wrong.
func AnyHost() *AllowedHosts {
	return &AllowedHosts{microsoft: func(string) bool { return true }}
}

// OrganizationHosts allows the organizations of Microsoft's clouds, and named:
// hosts or "*.suffix" patterns, each with a port when it is not 443 (":*" for
// any port).
func OrganizationHosts(named []string) (*AllowedHosts, error) {
	return allow(func(host string) bool { return cloudOf(host) != nil }, named)
}

// LoginHosts allows the login hosts of Microsoft's clouds, and named.
func LoginHosts(named []string) (*AllowedHosts, error) {
	return allow(func(host string) bool {
		for _, known := range loginHosts {
			if host == known {
				return true
			}
		}
		return false
	}, named)
}

func allow(microsoft func(string) bool, named []string) (*AllowedHosts, error) {
	a := &AllowedHosts{microsoft: microsoft}
	for _, pattern := range named {
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if pattern == "" {
			continue
		}
		host := strings.TrimPrefix(strings.TrimSuffix(pattern, ":*"), "*.")
		if _, err := originOf("https://" + host); err != nil {
			return nil, fmt.Errorf("must list hosts such as crm.example.com, *.example.com or 10.0.0.5:8443")
		}
		a.named = append(a.named, strings.TrimSuffix(pattern, ":443"))
	}
	return a, nil
}

// Allows reports whether hostport (lower-case, no port meaning 443) may be
// spoken to.
func (a *AllowedHosts) Allows(hostport string) bool {
	return a.microsoft(strings.TrimSuffix(hostport, ":443")) || a.Named(hostport)
}

// Named reports whether the settings name hostport, which then may also be an
// address literal or lie in a private network.
func (a *AllowedHosts) Named(hostport string) bool {
	hostport = strings.ToLower(strings.TrimSuffix(hostport, ":443"))
	for _, pattern := range a.named {
		against := hostport
		if anyPort, found := strings.CutSuffix(pattern, ":*"); found {
			pattern, against = anyPort, hostOf(hostport)
		}
		if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
			if strings.HasSuffix(against, suffix) && len(against) > len(suffix) {
				return true
			}
		} else if against == pattern {
			return true
		}
	}
	return false
}

// hostOf drops the port of hostport.
func hostOf(hostport string) string {
	u := url.URL{Host: hostport}
	if strings.Contains(u.Hostname(), ":") {
		return "[" + u.Hostname() + "]"
	}
	return u.Hostname()
}

var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// isHostName reports whether DNS could have host, in lower case.
func isHostName(host string) bool {
	return len(host) <= 253 && hostPattern.MatchString(host) && !slices.ContainsFunc(strings.Split(host, "."), func(label string) bool { return len(label) > 63 })
}

// originOf normalizes an https address that has nothing but a host and maybe a
// port: "https://host" in lower case, without a default port. The error is a
// cure, and does not hold the address.
func originOf(address string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil || u.Opaque != "" || u.Host == "":
		return "", fmt.Errorf("must be an address such as https://contoso.crm.dynamics.com")
	case u.Scheme != "https":
		return "", fmt.Errorf("must begin with https://")
	case u.User != nil:
		return "", fmt.Errorf("must not hold a user name or password")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("must end after the host, as in https://contoso.crm.dynamics.com")
	}
	host := strings.ToLower(u.Hostname())
	ip, ipErr := netip.ParseAddr(host)
	switch {
	case ipErr == nil && ip.Zone() != "":
		return "", fmt.Errorf("must not hold an address with a zone")
	case ipErr == nil && ip.Is6():
		host = "[" + ip.String() + "]"
	case !isHostName(host):
		return "", fmt.Errorf("must hold a plain host name (for an international name, its xn-- form)")
	}
	switch port := u.Port(); {
	case port == "" || port == "443":
		return "https://" + host, nil
	case !envfile.IsPort(port):
		return "", fmt.Errorf("must hold a port from 1 to 65535, or none")
	default:
		return "https://" + host + ":" + port, nil
	}
}
