package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"dynproxy/consent"
	"dynproxy/internal/check"
	"dynproxy/internal/cluster"
	"dynproxy/internal/entra"
	"dynproxy/internal/envfile"
	"dynproxy/internal/mirror"
	"dynproxy/internal/secret"
	"dynproxy/internal/tokens"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

// app is what every command needs that asks about tenants: who they are, the
// ways out, and their tokens.
type app struct {
	inForce  atomic.Pointer[config]
	log      zerolog.Logger
	book     *tenants.Book
	out      *transports
	tokens   *tokens.Source
	cluster  *cluster.Client
	vault    *cluster.Vault
	mirror   *mirror.Mirror                // of tenants and callers in Redis; nil where they are one's own
	scratch  string                        // where it lies, if that ends with the process
	keys     atomic.Pointer[[]consent.Key] // that sign links: the first new ones
	unshared atomic.Pointer[string]        // why nothing is shared
	lasting  bool                          // whether the first is known to other processes
	registry *prometheus.Registry
}

// app is what a command needs that prints what it finds itself.
func (w *cli) app() (*app, error) {
	cfg, err := w.config()
	if err != nil {
		return nil, err
	}
	return newApp(cfg, newLog(cfg, w.stderr, w.stderr).Level(zerolog.ErrorLevel), false)
}

// newApp builds what commands share, one that serves included. What it starts
// ends with close.
func newApp(cfg *config, log zerolog.Logger, serves bool) (*app, error) {
	var faults envfile.Faults
	a := &app{log: log, registry: prometheus.NewRegistry()}
	a.inForce.Store(cfg)
	out, err := newTransports(cfg, a.config, log)
	if err != nil {
		if err = faults.Take(err); err != nil {
			return nil, err
		}
		out = &transports{} // what else is wrong is still to be told
	}
	a.cluster = openCluster(cfg, out.roots, log, serves && !cfg.looks)
	key, lasting, err := linkKey(cfg)
	if err != nil {
		faults.Take(err)
	}
	a.out, a.lasting = out, lasting
	a.keys.Store(&[]consent.Key{key})
	if file := cfg.registration.SecretNextFile; file != "" {
		if _, err := secret.ReadFile(file); err != nil {
			faults.Add(prefix+"CLIENT_SECRET_NEXT_FILE", "cannot be used: %v", err)
		}
	}
	a.tokens, err = tokens.New(tokens.Options{
		Registration: cfg.registration, SecretExpires: cfg.expires,
		Login: out.login, Challenge: out.challenge, LoginAllowed: func(host string) bool { return a.config().rules.Logins.Allows(host) },
		ConsentLink: a.entraLink, Log: log, Shelf: a.tokenShelf(serves),
	})
	if err != nil {
		faults.Take(credentialFault(cfg.registration, err))
	}
	if len(faults) == 0 {
		a.openVault()
		if err := a.openMirror(cfg, serves); err != nil {
			a.close()
			return nil, errFrom(err)
		}
	}
	if a.book, err = cfg.openBook(); err != nil {
		faults.Take(err)
	}
	if len(faults) == 0 {
		return a, nil
	}
	a.close()
	return nil, faults
}

// linkKey signs links of consent.
func (a *app) linkKey() consent.Key { return (*a.keys.Load())[0] }

// config is the settings in force.
func (a *app) config() *config { return a.inForce.Load() }

func (a *app) close() {
	if a.tokens != nil {
		a.tokens.Close()
	}
	a.cluster.Close()
	if a.scratch != "" {
		os.RemoveAll(a.scratch)
	}
}

// entraLink is where the administrator of t's tenant grants the app access.
func (a *app) entraLink(t *tenants.Tenant, authority entra.Authority) string {
	return a.entraLinkFor(t, authority, 0)
}

// entraLinkFor is entraLink for a link that ends after life, or never if that
// is zero.
func (a *app) entraLinkFor(t *tenants.Tenant, authority entra.Authority, life time.Duration) string {
	return entra.ConsentURL(authority.Login, authority.TenantID, a.tokens.ClientID(t), t.Org, a.config().redirectURI(), a.linkKey().State(t.Name, life))
}

// pageLink is the address of our own page that leads there.
func (a *app) pageLink(tenant string, life time.Duration) string {
	return a.config().opsURL() + "/consent/" + url.PathEscape(tenant) + "?key=" + url.QueryEscape(a.linkKey().Link(tenant, life))
}

// aboutLink is the address of our own page that says first what is asked.
func (a *app) aboutLink(tenant string, life time.Duration) string {
	return strings.Replace(a.pageLink(tenant, life), "?key=", "/about?key=", 1)
}

// checker checks tenants with the functions that calls go through too.
func (a *app) checker() *check.Checker {
	return &check.Checker{
		Authority: func(ctx context.Context, t *tenants.Tenant) (string, string, error) {
			found, err := a.tokens.Authority(ctx, t)
			return found.Login, found.TenantID, err
		},
		Named: func(ctx context.Context, t *tenants.Tenant) (string, string, error) {
			found, err := a.tokens.Named(ctx, t)
			return found.Login, found.TenantID, err
		},
		Token:        a.tokens.Token,
		Invalidate:   a.tokens.Invalidate,
		Credential:   a.tokens.Credential,
		ClientID:     a.tokens.ClientID,
		Sharers:      func(t *tenants.Tenant) []string { return proxy.Sharers(t, a.book.All(), a.tokens.ClientID) },
		Advice:       tokens.Advice,
		Organization: a.out.organizations.Transport(),
		Login:        a.out.login.Transport(),
		Patience:     min(a.config().UpstreamTimeout, checkPatience),
	}
}

// find returns the tenant called name, or says why there is none.
func (a *app) find(name string) (*tenants.Tenant, error) {
	if t := a.book.Lookup(name); t != nil {
		return t, nil
	}
	if fault := a.book.Faults()[a.book.Canonical(name)]; fault != nil {
		return nil, fmt.Errorf("the settings of tenant %q have a fault: %w", name, fault)
	}
	return nil, &tenants.UnknownError{Name: name}
}

// curlLine is a call that works when the tenant is ready.
func (a *app) curlLine(t *tenants.Tenant) string {
	base := a.config().PublicURL
	if base == "" {
		base = "http://" + a.config().Listen
		if a.config().TLSCertFile != "" {
			base = "https://" + a.config().Listen
		}
	}
	return "curl " + base + "/" + t.Name + "/api/data/v9.2/WhoAmI"
}

// plainly is an error of a token as an operator is told of it.
func plainly(err error) error {
	_, finding, next := tokens.Advice(err)
	if next == "" {
		return errors.New(finding)
	}
	return errors.New(finding + ". Next: " + next)
}

// credentialFault names the variable behind a credential that cannot be read.
func credentialFault(r tenants.Registration, err error) error {
	variable := "CLIENT_SECRET"
	switch {
	case r.CertificateFile != "":
		variable = "CLIENT_CERTIFICATE_FILE"
	case r.SecretFile != "":
		variable = "CLIENT_SECRET_FILE"
	}
	return envfile.Faults{{Variable: prefix + variable, Cure: fmt.Sprintf("cannot be used: %v", err)}}
}
