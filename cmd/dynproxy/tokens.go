package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"dynproxy/consent"
	"dynproxy/internal/entra"
	"dynproxy/internal/envfile"
	"dynproxy/internal/problem"
	"dynproxy/tenants"
)

// tokens is what the corridor knows of Entra ID: it turns tenants into targets,
// and what goes wrong there into refusals.
type tokens struct {
	own    tenants.Registration
	mint   *entra.TokenClient
	cache  *entra.Cache
	finder *entra.AuthorityResolver
	mints  *prometheus.CounterVec
	took   prometheus.Histogram
	key    consent.Key
	back   func() string   // where an administrator is sent back to after consent
	ending context.Context // of what goes on in the background, until close
	end    context.CancelFunc
	held   sync.Map // *tenants.Tenant to *entra.Source; a changed tenant is another key
}

func newTokens(cfg *config, login, challenge http.RoundTripper, log zerolog.Logger, r prometheus.Registerer) (*tokens, error) {
	k := &tokens{
		own:  cfg.registration,
		key:  consentKey(cfg.registration),
		back: cfg.redirectURI,
		mint: entra.NewTokenClient(login, log),
		mints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynproxy_mints_total", Help: "Tokens asked for, by what came of it.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dynproxy_mint_duration_seconds", Help: "How long Entra ID took for a token.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		finder: &entra.AuthorityResolver{Transport: challenge, LoginAllowed: cfg.rules.Logins.Allows},
	}
	k.ending, k.end = context.WithCancel(context.Background())
	r.MustRegister(k.mints, k.took)
	k.cache = &entra.Cache{Mint: k.mint.Token, Log: log, Observe: k.observe}
	identity, err := k.mint.Register(registration(cfg.registration))
	if err != nil {
		return nil, credentialFault(cfg.registration, err)
	}
	k.mint.SecretExpires(identity, cfg.expires)
	r.MustRegister(expiries{k.mint})
	return k, nil
}

// watch looks after credentials until ctx ends.
func (k *tokens) watch(ctx context.Context) { k.mint.Watch(ctx, k.cache.Changed) }

// expiries tells the days of credentials as metrics.
type expiries struct{ mint *entra.TokenClient }

var expiryDesc = prometheus.NewDesc("dynproxy_credential_expiry_seconds", "Seconds until a credential of an app registration ends.", []string{"client_id", "credential"}, nil)

// Describe is prometheus.Collector's.
func (e expiries) Describe(descs chan<- *prometheus.Desc) { descs <- expiryDesc }

// Collect is prometheus.Collector's.
func (e expiries) Collect(metrics chan<- prometheus.Metric) {
	told := make(map[[2]string]bool)
	for _, x := range e.mint.Expiries() {
		// The nearest comes first; two tenants may name one registration.
		if name := [2]string{x.ClientID, x.Credential}; !told[name] {
			told[name] = true
			metrics <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, time.Until(x.At).Seconds(), name[0], name[1])
		}
	}
}

func (k *tokens) observe(_ entra.Target, took time.Duration, failed *entra.Error) {
	result := "minted"
	if failed != nil {
		result = failed.Class.String()
	}
	k.mints.WithLabelValues(result).Inc()
	k.took.Observe(took.Seconds())
}

func (k *tokens) close() {
	k.end()
	k.cache.Close()
}

// retry forgets that t could not get a token, so that the next to ask for one
// sends a request. A token that is held stays.
func (k *tokens) retry(t *tenants.Tenant) {
	s, ok := k.held.Load(t)
	if !ok {
		k.finder.Forget(t.Org)
		return
	}
	mine := s.(*entra.Source).Target()
	k.cache.Reset(func(target entra.Target) bool { return target == mine })
}

// Token is proxy.TokenSource's.
func (k *tokens) Token(ctx context.Context, t *tenants.Tenant) (string, error) {
	if s, ok := k.held.Load(t); ok {
		header, err := s.(*entra.Source).Token(ctx)
		return header, k.refusal(ctx, t, err)
	}
	s, err := k.source(ctx, t)
	if err != nil {
		return "", err
	}
	header, err := s.Token(ctx)
	return header, k.refusal(ctx, t, err)
}

// Refused is proxy.TokenSource's.
func (k *tokens) Refused(t *tenants.Tenant, token, claims string) bool {
	s, ok := k.held.Load(t)
	return ok && s.(*entra.Source).Refused(token, claims)
}

// ClientID is proxy.TokenSource's.
func (k *tokens) ClientID(t *tenants.Tenant) string { return k.registrationOf(t).ClientID }

// proof says with what t's tokens are asked for, and when that ends: zero where
// nobody knows.
func (k *tokens) proof(t *tenants.Tenant) (kind string, ends time.Time) {
	r := k.registrationOf(t)
	switch {
	case r.CertificateFile != "":
		kind = "certificate"
	case r.FederatedTokenFile != "":
		kind = "federated token"
	case r.ManagedIdentity != "":
		kind = "managed identity"
	default:
		kind = "secret"
	}
	for _, x := range k.mint.Expiries() { // the nearest comes first
		if x.ClientID == r.ClientID && (ends.IsZero() || x.At.Before(ends)) {
			ends = x.At
		}
	}
	return kind, ends
}

func (k *tokens) registrationOf(t *tenants.Tenant) tenants.Registration {
	if t.Registration.ClientID != "" {
		return t.Registration
	}
	return k.own
}

// source finds out where t's tokens come from.
func (k *tokens) source(ctx context.Context, t *tenants.Tenant) (*entra.Source, error) {
	authority, err := k.authority(ctx, t)
	if err != nil {
		return nil, err
	}
	r := registration(k.registrationOf(t))
	identity, _ := k.mint.Register(r) // a credential that cannot be read is told by the mint
	if !t.SecretExpires.IsZero() {
		k.mint.SecretExpires(identity, t.SecretExpires)
	}
	s := k.cache.Source(entra.Target{
		Login: authority.Login, TenantID: authority.TenantID, ClientID: r.ClientID, Resource: t.Org, Credential: identity,
	})
	k.held.Store(t, s)
	return s, nil
}

// authority is what the tenant's settings say, completed by what its
// organization says.
func (k *tokens) authority(ctx context.Context, t *tenants.Tenant) (entra.Authority, error) {
	set := entra.Authority{Login: t.LoginHost, TenantID: t.TenantID}
	if set.Login != "" && set.TenantID != "" {
		return set, nil
	}
	found, err := k.finder.Find(ctx, t.Org)
	if err != nil {
		return entra.Authority{}, organizationRefusal(ctx, t, err)
	}
	if set.Login != "" {
		found.Login = set.Login
	}
	if set.TenantID != "" {
		found.TenantID = set.TenantID
	}
	return found, nil
}

// changed forgets what was known of old, which is now another tenant or none.
func (k *tokens) changed(old, now *tenants.Tenant) {
	s, held := k.held.LoadAndDelete(old)
	k.finder.Forget(old.Org)
	if !held {
		return
	}
	gone := s.(*entra.Source).Target()
	if now == nil && !k.inUse(func(t entra.Target) bool { return t == gone }) {
		k.cache.Drop(gone)
		own := old.Registration.ClientID != ""
		if own && !k.inUse(func(t entra.Target) bool { return t.Credential == gone.Credential }) {
			k.mint.Retire(gone.Credential)
		}
		return
	}
	k.mint.Reset(gone.Credential)
	k.cache.Reset(func(t entra.Target) bool { return t == gone })
}

// inUse reports whether a tenant has a token of such a target.
func (k *tokens) inUse(is func(entra.Target) bool) bool {
	used := false
	k.held.Range(func(_, s any) bool {
		used = is(s.(*entra.Source).Target())
		return !used
	})
	return used
}

// anyServed reports whether some tenant can be served: unless every tenant's
// last try for a token has failed, nothing speaks against it. When all have,
// one is tried again.
func (k *tokens) anyServed(ctx context.Context, book *tenants.Book) bool {
	var last *tenants.Tenant
	for t := range book.All() {
		s, ok := k.held.Load(t)
		if !ok {
			return true
		}
		if expires, failed := s.(*entra.Source).Held(); failed == nil || time.Now().Before(expires) {
			return true
		}
		last = t
	}
	if last == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := k.Token(ctx, last)
	return err == nil
}

func registration(r tenants.Registration) entra.Registration { return entra.Registration(r) }

// refusal turns an error of Entra ID into what the caller is told. The rest,
// such as the caller's own leaving, passes.
func (k *tokens) refusal(ctx context.Context, t *tenants.Tenant, err error) error {
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return err
	}
	r := &problem.Error{Err: e, RetryAfter: e.RetryAfter}
	switch e.Class {
	case entra.Consent:
		r.Code = problem.ConsentRequired
		r.Message = fmt.Sprintf("The administrator of %s has not granted this app access. Open %s and accept, then try again.", t.Name, k.consentLink(ctx, t))
	case entra.Credential:
		r.Code = problem.CredentialRejected
		r.Message = fmt.Sprintf("The app's own credential is not accepted%s.", hint(e))
	case entra.Configuration:
		r.Code = problem.TenantMisconfigured
		r.Message = fmt.Sprintf("Tenant id, login host and organization of %s do not fit together%s. Next: dynproxy check %s", t.Name, hint(e), t.Name)
	default:
		r.Code = problem.TokenUnavailable
		r.Message = fmt.Sprintf("Entra ID gives no token for %s at the moment (%s); try again in %d seconds.", t.Name, e.Reason, int(e.RetryAfter/time.Second))
	}
	return r
}

func (k *tokens) consentLink(ctx context.Context, t *tenants.Tenant) string {
	authority, err := k.authority(ctx, t)
	if err != nil {
		return "what 'dynproxy consent-url " + t.Name + "' prints"
	}
	return entra.ConsentURL(authority.Login, authority.TenantID, k.ClientID(t), t.Org, k.back(), k.key.State(t.Name, consent.MailLife))
}

// organizationRefusal is for an organization that could not be asked for its
// tenant.
func organizationRefusal(ctx context.Context, t *tenants.Tenant, err error) error {
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return err
	}
	r := &problem.Error{Err: e, RetryAfter: e.RetryAfter}
	if e.Class == entra.Transient {
		r.Code = problem.UpstreamUnreachable
		r.Message = fmt.Sprintf("The organization %s cannot be reached to learn its tenant. Next: dynproxy check %s", t.OrgHost(), t.Name)
		return r
	}
	r.Code = problem.TenantMisconfigured
	r.Message = fmt.Sprintf("The address %s of %s is not usable: %s. Next: dynproxy check %s", t.OrgHost(), t.Name, e.Reason, t.Name)
	return r
}

// hint says in plain words what the numbers of Entra ID mean. They choose a
// text and nothing else.
func hint(e *entra.Error) string {
	for _, code := range e.Codes {
		if text := hints[code]; text != "" {
			return fmt.Sprintf(": %s (AADSTS%d)", text, code)
		}
	}
	if len(e.Codes) > 0 {
		return fmt.Sprintf(" (AADSTS%d)", e.Codes[0])
	}
	if e.Err != nil {
		return ": " + e.Reason + "; the log says more"
	}
	return ": " + e.Reason
}

var hints = map[int]string{
	7000215: "the secret is wrong; often the secret's id was pasted instead of its value",
	7000222: "the secret has expired; make a new one and set it",
	700027:  "the certificate is not the one registered with the app",
	700024:  "the assertion is out of its time; does this machine's clock run right?",
	700236:  "the federated credential is not set up for this app",
	7000218: "no secret was sent",
	90002:   "there is no such tenant in this cloud",
	500011:  "the organization is not known in this tenant; is ORG_URL right?",
	650052:  "the tenant has no Dataverse",
	900382:  "the app registration belongs to another cloud",
	900432:  "the app registration belongs to another cloud",
	9001023: "the tenant id must be that of one tenant",
	7000112: "the app is disabled in the tenant",
	53003:   "a conditional access policy blocks the app",
	530032:  "a conditional access policy blocks the app",
}

// credentialFault names the variable behind a credential that cannot be read.
func credentialFault(r tenants.Registration, err error) error {
	variable := "CLIENT_SECRET"
	switch {
	case r.CertificateFile != "":
		variable = "CLIENT_CERTIFICATE_FILE"
	case r.SecretFile != "":
		variable = "CLIENT_SECRET_FILE"
	case r.SecretNextFile != "":
		variable = "CLIENT_SECRET_NEXT_FILE"
	}
	return envfile.Faults{{Variable: prefix + variable, Cure: fmt.Sprintf("cannot be used: %v", err)}}
}
