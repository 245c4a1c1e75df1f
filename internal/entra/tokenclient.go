package entra

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/retryafter"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/rs/zerolog"
)

const (
	mintTries    = 3                // within one Token, for what may pass by itself
	shortWait    = 2 * time.Second  // of a Retry-After that is waited for within one Token
	answerWithin = 10 * time.Second // of the login service, each try
)

// TokenClient gets tokens from Entra ID. It remembers none. It does remember that a
// registration's own credential is wrong: no tenant gets a token with it then,
// and none needs to ask.
type TokenClient struct {
	client *http.Client
	log    zerolog.Logger

	mu            sync.Mutex // guards what follows
	limiters      map[string]*hostLimiter
	registrations map[string]*registered
}

// NewTokenClient returns a TokenClient that reaches login hosts through transport.
func NewTokenClient(transport http.RoundTripper, log zerolog.Logger) *TokenClient {
	return &TokenClient{
		client:        loginClient(transport),
		log:           log,
		limiters:      make(map[string]*hostLimiter),
		registrations: make(map[string]*registered),
	}
}

// loginClient speaks to login hosts. It follows no redirect, which would carry the
// secret, or the code of a sign-in, to wherever it points.
func loginClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: answerWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Token mints a token for t. claims is a claims challenge to answer, or "".
// Its errors are *Error.
func (m *TokenClient) Token(ctx context.Context, t Target, claims string) (Token, error) {
	t.Login, t.TenantID = strings.ToLower(t.Login), strings.ToLower(t.TenantID)
	if !hostAndPort.MatchString(t.Login) || !isTenant(t.TenantID) {
		return Token{}, noAddress()
	}
	e := errand{target: t, claims: claims}
	failed := m.admit(&e)
	if failed != nil {
		return Token{}, failed
	}
	for try := range mintTries {
		if try > 0 && retryafter.Sleep(ctx, failed.RetryAfter+rand.N(200*time.Millisecond<<try)) != nil {
			break
		}
		var token Token
		if token, failed = m.try(ctx, e); failed == nil {
			return token, nil
		}
		if failed.Class != Transient || failed.RetryAfter > shortWait {
			break
		}
	}
	if failed.Class == Credential {
		failed = m.reject(e, failed)
	}
	return Token{}, failed
}

// errand is a token to be got.
type errand struct {
	target       Target
	claims       string
	registration *registered
	faults       int // of the registration when the errand began
}

func (m *TokenClient) admit(e *errand) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.registration = m.registrations[e.target.Credential]
	if e.registration == nil {
		return &Error{Class: Credential, Reason: "the registration is not known", Cure: "Try again: the settings have changed just now."}
	}
	e.faults = e.registration.faults
	return e.registration.probe(time.Now())
}

// reject notes that the credential was refused.
func (m *TokenClient) reject(e errand, failed *Error) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return e.registration.reject(failed, e.faults, time.Now())
}

// try shows what the registration has to show, the credential that lastAccepted last
// first.
func (m *TokenClient) try(ctx context.Context, e errand) (Token, *Error) {
	credentials, err := m.credentials(e.registration)
	if err != nil {
		return Token{}, &Error{Class: Credential, RetryAfter: assertionAgain, Reason: e.registration.named(err), Cure: "Correct the file; it is read again by itself."}
	}
	var failed *Error
	for _, p := range credentials {
		var token Token
		if token, failed = m.ask(ctx, e, p); failed == nil {
			m.succeeded(e.registration, p, len(credentials) > 1)
			return token, nil
		}
		if failed.Class != Credential {
			break
		}
	}
	return Token{}, failed
}

func (m *TokenClient) credentials(r *registered) ([]credential, error) {
	now, err := r.credentials() // reads files, so not under mu
	m.mu.Lock()
	defer m.mu.Unlock()
	return r.order(now, err)
}

// succeeded notes which credential lastAccepted. The log says so when that is a choice or
// a change.
func (m *TokenClient) succeeded(r *registered, p credential, choice bool) {
	m.mu.Lock()
	first, changed := r.lastAccepted.name == "", r.lastAccepted.id != p.id || r.lastAccepted.name != p.name
	r.lastAccepted, r.changed, r.rejected, r.faults = p, false, nil, 0
	m.mu.Unlock()
	if changed && (choice || !first) {
		m.log.Info().Str("client_id", r.ClientID).Str("credential", p.name).Msg("entra accepts this credential, which is used from now on")
	}
}

// ask is one request to the token endpoint. A fresh MSAL client for each costs
// microseconds and has no cache that could answer in Entra ID's place.
func (m *TokenClient) ask(ctx context.Context, e errand, p credential) (Token, *Error) {
	t := e.target
	leave, failed := m.limiter(t.Login).enter(ctx)
	if failed != nil {
		return Token{}, failed
	}
	defer leave()
	if failed := m.rejectedMeanwhile(e); failed != nil {
		return Token{}, failed
	}
	x := &exchange{client: m.client}
	client, err := confidential.New("https://"+t.Login+"/"+t.TenantID, t.ClientID, p.shown,
		confidential.WithHTTPClient(x),
		confidential.WithInstanceDiscovery(false),
		confidential.WithAzureRegion("DisableMsalForceRegion"))
	if err != nil {
		return Token{}, noAddress()
	}
	var options []confidential.AcquireByCredentialOption
	if e.claims != "" {
		options = append(options, confidential.WithClaims(e.claims))
	}
	if _, err = client.AcquireTokenByCredential(ctx, []string{t.Resource + "/.default"}, options...); err != nil {
		return Token{}, x.failure(err, p)
	}
	return x.minted(), nil
}

func (m *TokenClient) limiter(login string) *hostLimiter {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.limiters[login]
	if d == nil {
		d = newHostLimiter()
		m.limiters[login] = d
	}
	return d
}

// rejectedMeanwhile spares those who waited for a turn a request whose refusal
// another has brought back already.
func (m *TokenClient) rejectedMeanwhile(e errand) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.registration.faults <= e.faults {
		return nil
	}
	return e.registration.rejection(time.Now())
}

// failure says why there is no token, in words of ours: those of MSAL may quote
// requests and answers.
func (x *exchange) failure(err error, p credential) *Error {
	if x.failed != nil {
		return x.failed
	}
	if own, ok := errors.AsType[*Error](err); ok {
		return own // of a callback that was to get an assertion
	}
	if x.asked.IsZero() {
		return &Error{Class: Credential, RetryAfter: assertionAgain, Reason: "the " + p.name + " cannot be used", Cure: "Make a new one, and set it."}
	}
	return &Error{Class: Transient, Reason: "the login service's answer cannot be used"}
}
