package entra

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

const (
	mintsPerSecond = 20 // to all login hosts together
	mintsBurst     = 50
	mintsAtOnce    = 16
	mintTries      = 3                // within one Token, for what may pass by itself
	answerWithin   = 10 * time.Second // of the login service, each try
	longestBreak   = time.Minute
)

// Mint gets tokens from Entra ID. It remembers none. It does remember that a
// registration's own credential is wrong: no tenant gets a token with it then,
// and none needs to ask.
type Mint struct {
	client *http.Client
	log    zerolog.Logger
	pace   *rate.Limiter
	slots  chan struct{}

	mu            sync.Mutex // guards what follows
	registrations map[string]*registered
}

// registered is a registration and what was learnt of its credential.
type registered struct {
	Registration
	worked string // name of the proof that worked last
	broken *Error // of class Credential, while it is not worth trying again
	until  time.Time
	faults int
}

// NewMint returns a Mint that reaches login hosts through transport.
func NewMint(transport http.RoundTripper, log zerolog.Logger) *Mint {
	return &Mint{
		client: &http.Client{
			Transport: transport,
			Timeout:   answerWithin,
			// A redirect would carry the secret to wherever it points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:           log,
		pace:          rate.NewLimiter(mintsPerSecond, mintsBurst),
		slots:         make(chan struct{}, mintsAtOnce),
		registrations: make(map[string]*registered),
	}
}

// Register makes r known and returns its identity for Target. The error says
// that its credential cannot be read now, which a later mint may find mended.
func (m *Mint) Register(r Registration) (string, error) {
	id := r.Identity()
	m.mu.Lock()
	if m.registrations[id] == nil {
		m.registrations[id] = &registered{Registration: r}
	}
	m.mu.Unlock()
	_, err := r.proofs()
	return id, err
}

// Reset forgets that a credential was wrong.
func (m *Mint) Reset(identity string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.registrations[identity]; r != nil {
		r.broken, r.faults = nil, 0
	}
}

// Token mints a token for t. claims is a claims challenge to answer, or "".
// Its errors are *Error.
func (m *Mint) Token(ctx context.Context, t Target, claims string) (Token, error) {
	r, broken := m.registration(t)
	if broken != nil {
		return Token{}, broken
	}
	var failed *Error
	for try := range mintTries {
		if try > 0 {
			if err := pause(ctx, rand.N(200*time.Millisecond<<try)); err != nil {
				break
			}
		}
		var token Token
		if token, failed = m.try(ctx, r, t, claims); failed == nil {
			return token, nil
		}
		if failed.Class != Transient || failed.RetryAfter > 0 {
			break
		}
	}
	if failed.Class == Credential {
		failed = m.breaks(r, failed)
	}
	return Token{}, failed
}

func (m *Mint) registration(t Target) (*registered, *Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.registrations[t.Credential]
	if r == nil {
		return nil, &Error{Class: Credential, Reason: "the registration is not known"}
	}
	if left := time.Until(r.until); r.broken != nil && left > 0 {
		return nil, r.broken.after(left)
	}
	return r, nil
}

// breaks remembers that the credential is wrong, for longer each time.
func (m *Mint) breaks(r *registered, e *Error) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.faults++
	wait := min(longestBreak, 5*time.Second<<min(r.faults, 5))
	r.broken, r.until = e.after(wait), time.Now().Add(wait)
	return r.broken
}

// try shows what the registration has to show, the proof that worked last
// first.
func (m *Mint) try(ctx context.Context, r *registered, t Target, claims string) (Token, *Error) {
	proofs, err := r.proofs()
	if err != nil {
		return Token{}, &Error{Class: Credential, Reason: "the credential cannot be read", Err: err}
	}
	m.mu.Lock()
	if len(proofs) == 2 && proofs[1].name == r.worked {
		proofs[0], proofs[1] = proofs[1], proofs[0]
	}
	m.mu.Unlock()
	var failed *Error
	for _, p := range proofs {
		var token Token
		if token, failed = m.ask(ctx, p, t, claims); failed == nil {
			m.succeeded(r, p)
			return token, nil
		}
		if failed.Class != Credential {
			break
		}
	}
	return Token{}, failed
}

func (m *Mint) succeeded(r *registered, p proof) {
	m.mu.Lock()
	changed := r.worked != "" && r.worked != p.name
	r.worked, r.broken, r.faults = p.name, nil, 0
	m.mu.Unlock()
	if changed {
		m.log.Info().Str("client_id", r.ClientID).Str("credential", p.name).Msg("from now on this credential is used")
	}
}

// ask is one request to the token endpoint. A fresh MSAL client for each costs
// microseconds and has no cache that could answer in Entra ID's place.
func (m *Mint) ask(ctx context.Context, p proof, t Target, claims string) (Token, *Error) {
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return Token{}, &Error{Class: Transient, Reason: "too many tokens are being asked for"}
	}
	if err := m.pace.Wait(ctx); err != nil {
		return Token{}, &Error{Class: Transient, Reason: "too many tokens are being asked for"}
	}
	x := &exchange{client: m.client}
	client, err := confidential.New("https://"+t.Login+"/"+t.TenantID, t.ClientID, p.credential,
		confidential.WithHTTPClient(x),
		confidential.WithInstanceDiscovery(false),
		confidential.WithAzureRegion("DisableMsalForceRegion"))
	if err != nil {
		return Token{}, &Error{Class: Configuration, Reason: "login host and tenant id make no address"}
	}
	var options []confidential.AcquireByCredentialOption
	if claims != "" {
		options = append(options, confidential.WithClaims(claims))
	}
	_, err = client.AcquireTokenByCredential(ctx, []string{t.Resource + "/.default"}, options...)
	switch {
	case x.failed != nil:
		return Token{}, x.failed
	case err != nil && x.asked.IsZero():
		return Token{}, &Error{Class: Credential, Reason: "the " + p.name + " cannot be used"}
	case err != nil:
		return Token{}, &Error{Class: Transient, Reason: "the login service's answer cannot be used"}
	}
	return x.minted(), nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
