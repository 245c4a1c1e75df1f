package main

import (
	"context"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http/httpproxy"

	"dynproxy/internal/egress"
	"dynproxy/internal/envfile"
)

// transports are the connections that leave the process, each kind with its
// own limits.
type transports struct {
	organizations *egress.Client
	login         *egress.Client // for tokens
	challenge     *egress.Client // for the question which tenant an organization belongs to
	notices       *egress.Client // to the receiver of NOTIFY_URL

	roots func() *x509.CertPool // whom to trust at a handshake; nil for the system's
}

var loginPatience = egress.Patience{AnswerWithin: 15 * time.Second, IdleWithin: 15 * time.Second}

// newTransports makes the ways out by cfg. Which hosts are named is asked of
// the settings in force.
func newTransports(cfg *config, inForce func() *config, log zerolog.Logger) (*transports, error) {
	roots, err := trusted(cfg.TrustedCAFile, log)
	if err != nil {
		return nil, err
	}
	client := func(patience egress.Patience, named func(string) bool) *egress.Client {
		return egress.New(egress.Config{
			Proxy: cfg.proxy, Roots: roots, Log: log, Patience: patience,
			ByTransport: cfg.UpstreamClient == "go",
			MayBePrivate: func(hostport string) bool {
				return slices.Contains(cfg.proxies, hostport) || named(hostport)
			},
		})
	}
	organization := func(hostport string) bool { return inForce().rules.Organizations.Named(hostport) }
	login := func(hostport string) bool { return inForce().rules.Logins.Named(hostport) }
	return &transports{
		roots:         roots,
		organizations: client(cfg.patience(), organization),
		login:         client(loginPatience, login),
		challenge:     client(loginPatience, organization),
		notices:       client(loginPatience, func(string) bool { return true }), // the settings name it
	}, nil
}

// patience is that with organizations.
func (c *config) patience() egress.Patience {
	return egress.Patience{AnswerWithin: c.UpstreamTimeout, IdleWithin: c.UpstreamIdle}
}

// watch looks at the roots until ctx ends: a change is told when it happens, and
// not at the next handshake.
func (t *transports) watch(ctx context.Context) {
	if t.roots == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.roots()
		}
	}
}

// trusted returns whom to trust at a handshake: the system's roots and those
// in file, which is read again when it changes; nil, meaning the system's,
// without a file.
func trusted(file string, log zerolog.Logger) (func() *x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	roots, err := egress.OpenRoots(file, func(err error) {
		if err != nil {
			log.Error().Str("file", file).Str("fault", err.Error()).Msg("the file of TRUSTED_CA_FILE cannot be used; what was trusted stays so")
			return
		}
		log.Info().Str("file", file).Msg("the file of TRUSTED_CA_FILE was read again")
	})
	if err != nil {
		return nil, envfile.Faults{{Variable: prefix + "TRUSTED_CA_FILE", Cure: err.Error()}}
	}
	return roots.Pool, nil
}

// readWaysOut takes HTTPS_PROXY and NO_PROXY from the same environment as
// everything else, so that they work from an --env-file too. A proxy that cannot
// be read is a fault: httpproxy would go out directly.
func (c *config) readWaysOut(faults *envfile.Faults) {
	get := func(name string) (string, string) {
		if value := c.environ[name]; value != "" {
			return name, value
		}
		lower := strings.ToLower(name)
		return lower, c.environ[lower]
	}
	name, address := get("HTTPS_PROXY")
	_, none := get("NO_PROXY")
	whole := address
	if !strings.Contains(address, "://") {
		whole = "http://" + address
	}
	if address != "" && addressOf(whole, "http", "https", "socks5", "socks5h") == nil {
		faults.Add(name, "must be the address of a proxy, such as http://proxy.example.com:3128, with http, https or socks5; other characters of a name or password are percent-encoded")
	}
	way := httpproxy.Config{HTTPSProxy: address, NoProxy: none}
	c.proxy = way.ProxyFunc()
	if u, err := c.proxy(&url.URL{Scheme: "https", Host: "login.microsoftonline.com"}); err == nil && u != nil {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
		}
		c.proxies = append(c.proxies, net.JoinHostPort(u.Hostname(), port))
	}
}
