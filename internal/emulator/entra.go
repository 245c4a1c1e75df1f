package emulator

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// App is an application registration.
type App struct {
	ClientID, Name string
	// Secrets are its client secrets, any of which opens.
	Secrets []string
	// Certificates are those whose RSA keys may sign its assertions.
	Certificates []*x509.Certificate
	// Federated are the foreign identities that may act as this app.
	Federated []FederatedCredential
	// RedirectURIs are where consent and sign-in may send a browser back to.
	RedirectURIs []string
	// Public lets users sign in to it by device code.
	Public bool
}

// FederatedCredential trusts the tokens of another issuer. Its Audience is
// api://AzureADTokenExchange if empty.
type FederatedCredential struct {
	Issuer, Subject, Audience string
	Key                       *rsa.PublicKey
}

// Entra is the emulated Entra ID, of all clouds at once.
type Entra struct {
	keys   *signer
	faults faults

	mu        sync.Mutex // guards what follows
	apps      map[string]*app
	tenants   map[string]*tenant // by id and by name.onmicrosoft.com
	life      time.Duration
	refreshIn time.Duration
	sequence  int64            // of tokens issued
	answers   int64            // of responses, which gives each its trace id
	used      map[string]int64 // assertions seen, by jti: when they expire
	asked     map[TokenRequest]int
	devices   map[string]*device // by device code
}

// app is an App with what may change at run time.
type app struct {
	App
	secrets   map[string]bool // whether each has expired
	redirects []string
}

// tenant is a directory and who was granted access to it.
type tenant struct {
	id            string
	organizations []*Organization
	consented     map[string]bool // by client id
}

func newEntra(seed Seed, keys *signer) *Entra {
	life := seed.TokenLife
	if life == 0 {
		life = defaultTokenLife
	}
	return &Entra{
		keys:      keys,
		apps:      map[string]*app{},
		tenants:   map[string]*tenant{},
		life:      life,
		refreshIn: seed.RefreshIn,
		used:      map[string]int64{},
		asked:     map[TokenRequest]int{},
		devices:   map[string]*device{},
	}
}

// AddApp registers an app.
func (e *Entra) AddApp(a App) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := strings.ToLower(a.ClientID)
	switch {
	case id == "":
		return errors.New("an app needs a client id")
	case e.apps[id] != nil:
		return fmt.Errorf("app %s is there twice", id)
	}
	for _, c := range a.Certificates {
		if _, ok := c.PublicKey.(*rsa.PublicKey); !ok {
			return fmt.Errorf("the certificate of app %s has no RSA key", id)
		}
	}
	held := &app{App: a, secrets: map[string]bool{}, redirects: slices.Clone(a.RedirectURIs)}
	for _, s := range a.Secrets {
		held.secrets[s] = false
	}
	e.apps[id] = held
	return nil
}

func (e *Entra) addTenant(id string, o *Organization) {
	t := e.tenants[id]
	if t == nil {
		t = &tenant{id: id, consented: map[string]bool{}}
		e.tenants[id] = t
	}
	t.organizations = append(t.organizations, o)
	e.tenants[strings.ToLower(o.name)+".onmicrosoft.com"] = t
}

// tenant finds a tenant by its id or its onmicrosoft.com name.
func (e *Entra) tenant(name string) *tenant {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tenants[strings.ToLower(name)]
}

func (e *Entra) app(clientID string) *app {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.apps[strings.ToLower(clientID)]
}

// Consent grants an app access to a tenant, as its administrator would. It
// reports whether there is such a tenant.
func (e *Entra) Consent(tenantID, clientID string) bool {
	return e.setConsent(tenantID, clientID, true)
}

// RevokeConsent withdraws it. Tokens that are out stay good, as they do in
// the real world.
func (e *Entra) RevokeConsent(tenantID, clientID string) bool {
	return e.setConsent(tenantID, clientID, false)
}

func (e *Entra) setConsent(tenantID, clientID string, granted bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tenants[strings.ToLower(tenantID)]
	if t == nil {
		return false
	}
	t.consented[strings.ToLower(clientID)] = granted
	return true
}

// Consented reports whether the tenant has granted the app access.
func (e *Entra) Consented(tenantID, clientID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tenants[strings.ToLower(tenantID)]
	return t != nil && t.consented[strings.ToLower(clientID)]
}

// SetSecret adds a secret to an app, or says whether one it has is expired.
// It reports whether there is such an app.
func (e *Entra) SetSecret(clientID, secret string, expired bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.apps[strings.ToLower(clientID)]
	if a == nil {
		return false
	}
	a.secrets[secret] = expired
	return true
}

// RemoveSecret takes a secret from an app.
func (e *Entra) RemoveSecret(clientID, secret string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.apps[strings.ToLower(clientID)]
	if a == nil {
		return false
	}
	delete(a.secrets, secret)
	return true
}

// AddRedirectURI registers one more address to which consent may send a
// browser back. It reports whether there is such an app.
func (e *Entra) AddRedirectURI(clientID, uri string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.apps[strings.ToLower(clientID)]
	if a == nil {
		return false
	}
	a.redirects = append(a.redirects, uri)
	return true
}

// SetTokenLife changes the life and the refresh_in (zero: not sent) of the
// tokens issued from now on. A life of zero is the default.
func (e *Entra) SetTokenLife(life, refreshIn time.Duration) {
	if life == 0 {
		life = defaultTokenLife
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life, e.refreshIn = life, refreshIn
}

// serve answers a request to a login host.
func (e *Entra) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.answers++
	w.Header().Set("x-ms-request-id", guid("trace", e.answers))
	e.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	w.Header().Set("P3P", `CP="DSP CUR OTPi IND OTRi ONL FIN"`)
	if id := r.Header.Get("client-request-id"); id != "" {
		w.Header().Set("client-request-id", id)
	}

	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch r.Method + " " + rest {
	case "POST oauth2/v2.0/token":
		e.serveToken(w, r, name)
		return
	case "POST oauth2/v2.0/devicecode":
		e.serveDeviceCode(w, r, name)
		return
	}
	if e.applyFaults(w, r, TokenRequest{Tenant: name}) {
		return
	}
	switch r.Method + " " + rest {
	case "GET v2.0/.well-known/openid-configuration", "GET .well-known/openid-configuration":
		e.serveDiscovery(w, r, name)
	case "GET discovery/v2.0/keys", "GET discovery/keys":
		writeJSON(w, http.StatusOK, e.keys.keySet())
	case "GET discovery/instance":
		e.serveInstances(w, r)
	case "GET v2.0/adminconsent", "GET adminconsent", "POST v2.0/adminconsent", "POST adminconsent",
		"GET oauth2/authorize", "POST oauth2/authorize":
		e.serveConsent(w, r, name, rest)
	case "GET oauth2/deviceauth", "POST oauth2/deviceauth":
		e.serveDeviceAuth(w, r)
	default:
		http.NotFound(w, r)
	}
}
