// Package tokens has a tenant's token: it finds out where the tenant's tokens
// come from, keeps one ready, and puts what Entra ID refuses into words.
package tokens

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"dynproxy/internal/entra"
	"dynproxy/internal/sealed"
	"dynproxy/tenants"
)

// Options are what a Source is made of.
type Options struct {
	Registration  tenants.Registration // of tenants that have none of their own
	SecretExpires time.Time            // of its secret; zero where nobody knows
	Login         http.RoundTripper    // to login hosts
	Challenge     http.RoundTripper    // to organizations, for the question which tenant they belong to
	LoginAllowed  func(hostport string) bool
	// ConsentLink is what an administrator of t's tenant is told to open.
	ConsentLink func(t *tenants.Tenant, a entra.Authority) string
	Log         zerolog.Logger
	Shelf       entra.Shelf // where other proxies have their tokens; nil for none
}

// Source has the tokens of all tenants.
type Source struct {
	own         tenants.Registration
	ownExpires  atomic.Pointer[time.Time]
	client      *entra.TokenClient
	cache       *entra.Cache
	resolver    *entra.AuthorityResolver
	consentLink func(*tenants.Tenant, entra.Authority) string
	mints       *prometheus.CounterVec
	took        prometheus.Histogram

	mu   sync.RWMutex                      // guards held
	held map[*tenants.Tenant]*entra.Source // a changed tenant is another key
}

// New returns a Source. Its error says that the credential of o.Registration
// cannot be read.
func New(o Options) (*Source, error) {
	s := &Source{
		own: o.Registration, consentLink: o.ConsentLink,
		client:   entra.NewTokenClient(o.Login, o.Log),
		resolver: &entra.AuthorityResolver{Transport: o.Challenge, LoginAllowed: o.LoginAllowed, Log: o.Log},
		mints:    newMints(), took: newTook(), held: make(map[*tenants.Tenant]*entra.Source),
	}
	s.cache = &entra.Cache{Mint: s.client.Token, Log: o.Log, Observe: s.observe, Shelf: o.Shelf, SealingKeys: s.client.SealingKeys, Taken: s.taken}
	identity, err := s.client.Register(entra.Registration(o.Registration))
	if err != nil {
		return nil, err
	}
	s.client.SecretExpires(identity, o.SecretExpires)
	s.ownExpires.Store(&o.SecretExpires)
	return s, nil
}

// SealingKeys are those that follow from the credential of the proxy's own
// registration, the one to seal with first; none where it has no secret.
func (s *Source) SealingKeys() []sealed.Key {
	return s.client.SealingKeys(entra.Registration(s.own).Identity())
}

// SetSecretExpires says when the secret of the proxy's own registration ends;
// zero where nobody knows.
func (s *Source) SetSecretExpires(at time.Time) {
	if s.ownExpires.Swap(&at).Equal(at) {
		return
	}
	s.client.SecretExpires(entra.Registration(s.own).Identity(), at)
}

// Watch looks after credentials until ctx ends.
func (s *Source) Watch(ctx context.Context) { s.client.Watch(ctx, s.cache.Changed) }

// Close ends mints under way and waits for their end.
func (s *Source) Close() { s.cache.Close() }

// Token returns the value of the Authorization header for a call to t's
// organization. Its errors are *problem.Error, or ctx's own.
func (s *Source) Token(ctx context.Context, t *tenants.Tenant) (string, error) {
	source := s.heldOf(t)
	if source == nil {
		var err error
		if source, err = s.source(ctx, t); err != nil {
			return "", err
		}
	}
	header, err := source.Token(ctx)
	if err != nil {
		if e, ok := errors.AsType[*entra.Error](err); ok && e.Class == entra.Configuration {
			s.doubt(t)
		}
		return "", s.refusal(ctx, t, err)
	}
	return header, nil
}

// Invalidate says that t's organization refused token, with these challenges
// (WWW-Authenticate). It reports whether there is, or will be, another token:
// without one, sending again is in vain.
func (s *Source) Invalidate(t *tenants.Tenant, token string, challenges []string) bool {
	source := s.heldOf(t)
	if source == nil {
		return false
	}
	s.doubt(t)
	return source.Refused(token, entra.Claims(challenges))
}

// doubt has t's organization asked again where its tokens come from, if that is
// what told it: it may have moved to another tenant.
func (s *Source) doubt(t *tenants.Tenant) {
	if t.LoginHost != "" && t.TenantID != "" || !s.resolver.Doubt(t.Org) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, t)
}

// ClientID returns the app registration that t's tokens are for.
func (s *Source) ClientID(t *tenants.Tenant) string { return s.registration(t).ClientID }

// Retry forgets that t could not get a token, so that the next to ask for one
// sends a request. A token that is held stays.
func (s *Source) Retry(t *tenants.Tenant) {
	source := s.heldOf(t)
	if source == nil {
		s.resolver.Forget(t.Org)
		return
	}
	source.Retry()
}

// Held returns when the token held for t expires, zero without one, and
// whether the last try to get one failed. known is false while nobody has
// asked for one.
func (s *Source) Held(t *tenants.Tenant) (expires time.Time, failed, known bool) {
	source := s.heldOf(t)
	if source == nil {
		return time.Time{}, false, false
	}
	expires, err := source.Held()
	return expires, err != nil, true
}

// Outlook returns when the token that a call of t would get expires, zero without
// one, and the *problem.Error that it would get at once in place of one, nil if
// it would wait for a token. Nothing is asked for.
func (s *Source) Outlook(ctx context.Context, t *tenants.Tenant) (time.Time, error) {
	source := s.heldOf(t)
	if source == nil {
		if failed := s.resolver.Remembered(t.Org); failed != nil && (t.LoginHost == "" || t.TenantID == "") {
			return time.Time{}, organizationRefusal(t, failed)
		}
		return time.Time{}, nil
	}
	expires, failed := source.Outlook()
	if failed != nil {
		return time.Time{}, s.refusal(ctx, t, failed)
	}
	return expires, nil
}

// TenantID returns the id of the tenant that t's tokens come from, as far as it
// is known without asking.
func (s *Source) TenantID(t *tenants.Tenant) (string, bool) {
	if source := s.heldOf(t); source != nil {
		return source.Target().TenantID, true
	}
	return t.TenantID, t.TenantID != ""
}

// Credential says with what t's tokens are asked for, and when that ends: zero
// where nobody knows.
func (s *Source) Credential(t *tenants.Tenant) (kind string, ends time.Time) {
	r := s.registration(t)
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
	for _, x := range s.client.Expiries() { // the nearest comes first
		if x.ClientID == r.ClientID && (ends.IsZero() || x.At.Before(ends)) {
			ends = x.At
		}
	}
	return kind, ends
}

// Authority is what the tenant's settings say, completed by what its
// organization says. Its errors are *problem.Error, or ctx's own.
func (s *Source) Authority(ctx context.Context, t *tenants.Tenant) (entra.Authority, error) {
	set := entra.Authority{Login: t.LoginHost, TenantID: t.TenantID}
	if set.Login != "" && set.TenantID != "" {
		return set, nil
	}
	found, err := s.Named(ctx, t)
	if err != nil {
		return entra.Authority{}, err
	}
	if set.Login != "" {
		found.Login = set.Login
	}
	if set.TenantID != "" {
		found.TenantID = set.TenantID
	}
	return found, nil
}

// Named is what t's organization says, whatever the settings do.
func (s *Source) Named(ctx context.Context, t *tenants.Tenant) (entra.Authority, error) {
	found, err := s.resolver.Find(ctx, t.Org)
	if err != nil {
		return entra.Authority{}, organizationRefusal(t, err)
	}
	return found, nil
}

func (s *Source) heldOf(t *tenants.Tenant) *entra.Source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.held[t]
}

func (s *Source) registration(t *tenants.Tenant) tenants.Registration {
	if t.Registration.ClientID != "" {
		return t.Registration
	}
	return s.own
}

// source finds out where t's tokens come from.
func (s *Source) source(ctx context.Context, t *tenants.Tenant) (*entra.Source, error) {
	authority, err := s.Authority(ctx, t)
	if err != nil {
		return nil, err
	}
	r := entra.Registration(s.registration(t))
	identity, _ := s.client.Register(r) // a credential that cannot be read is told by the mint
	if !t.SecretExpires.IsZero() {
		s.client.SecretExpires(identity, t.SecretExpires)
	}
	source := s.cache.Source(entra.Target{
		Login: authority.Login, TenantID: authority.TenantID, ClientID: r.ClientID, Resource: t.Org, Credential: identity,
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[t] = source
	return source, nil
}

// Changed forgets what was known of old, which is the tenant now, or none if
// that is nil. A refusal that new settings may cure is not held against them.
// What bears on tokens in nothing leaves them alone: nobody is asked again.
// When all changes are told, Sweep drops what is not needed any more.
func (s *Source) Changed(old, now *tenants.Tenant) {
	s.mu.Lock()
	source := s.held[old]
	delete(s.held, old)
	stays := now != nil && source != nil && sameOrigin(old, now)
	if stays && s.held[now] == nil {
		s.held[now] = source
	}
	s.mu.Unlock()
	if stays {
		source.Retry()
		return
	}
	s.resolver.Forget(old.Org)
	if source != nil {
		s.client.Reset(source.Target().Credential)
		source.Retry()
	}
}

// sameOrigin reports whether the tokens of two tenants come from one place, by
// one credential.
func sameOrigin(a, b *tenants.Tenant) bool {
	return a.Org == b.Org && a.TenantID == b.TenantID && a.LoginHost == b.LoginHost && a.Registration == b.Registration && a.SecretExpires.Equal(b.SecretExpires)
}
