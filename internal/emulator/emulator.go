// Package emulator emulates Entra ID and a few Dataverse organizations, over
// TLS with certificates of an authority made in memory. It serves the demo, the
// user's own tests and ours.
//
// It is faithful where a server-to-server client can tell: discovery, tokens
// signed with RS256, admin consent, device code, the anonymous challenge, each
// refusal with its code, the three service protection limits. It does nothing
// at random: what differs from run to run are the keys alone.
//
// One Emulator is one http.Handler which tells by the Host header whether
// Entra ID or an organization is meant. Organizations answer to their real
// names (contoso.crm.dynamics.com) and, once started, to their own loopback
// address; Entra ID to the login hosts of Microsoft's clouds and to its
// loopback address.
//
// # Control
//
// The login host also serves a control API, JSON both ways, without any
// authentication (it is a test double, and listens on loopback alone).
// Durations are written as "1.5s"; an error is {"error":"..."} with status 400
// or 404.
//
//	GET    /_emulator/                                         addresses, organizations, apps
//	GET    /_emulator/ca.pem                                   the certificate of the authority
//	GET    /_emulator/token-requests                           how often a token was asked for, by whom and how
//	GET    /_emulator/faults                                   the faults of Entra ID
//	POST   /_emulator/faults                                   a Fault: {"kind":"status","status":503,"times":2,"retry_after":"5s"}
//	DELETE /_emulator/faults                                   heals Entra ID
//	POST   /_emulator/tokens                                   {"life":"1h","refresh_in":"30m"} for tokens from now on
//	PUT    /_emulator/consent/{tenant}/{client}                grants an app access to a tenant; DELETE withdraws it
//	POST   /_emulator/apps                                     {"client_id":"...","name":"...","secrets":[],"redirect_uris":[],"public":false} registers an app
//	POST   /_emulator/apps/{client}/redirect-uris              {"uri":"..."} registers an address for consent to return to
//	POST   /_emulator/apps/{client}/secrets                    {"secret":"...","expired":false} adds or changes a secret
//	DELETE /_emulator/apps/{client}/secrets                    {"secret":"..."} removes one
//	GET    /_emulator/organizations/{name}                     a page (or JSON by Accept) with its application users
//	GET    /_emulator/organizations/{name}/requests            the last requests that it received
//	GET    /_emulator/organizations/{name}/faults              likewise POST and DELETE
//	POST   /_emulator/organizations/{name}/revoke              refuses all tokens issued before now
//	PUT    /_emulator/organizations/{name}/limits              Limits: {"requests":600,"window":"3s","concurrency":8}, "promised":8000 in the headers, or "silent":true without them
//	PUT    /_emulator/organizations/{name}/users/{client}      {"disabled":false,"no_role":false}; DELETE removes it
//
// A fault has a kind, which is one of the FaultKind constants, and as far as
// the kind has a use for them: times (0: until healed), method, path (a
// prefix), tenant, client, status, code, message, number, location, claims,
// retry_after, delay and after. Several may be active; each request uses up one of
// every kind that strikes it.
//
// # Where it differs
//
// Tokens are refused to the second, without leeway. An assertion is good for
// one use. A tenant is also known as <name of its organization>.onmicrosoft.com.
// Only the administrator of a tenant can sign in as a user, and only by device
// code; in the data of an organization the administrator appears as one more
// application user, once it has called. Entitlement counts and the limit of
// the search API are not kept.
package emulator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"dynproxy/internal/emulator/dataverse"
)

// defaultTokenLife is what Entra ID grants an app by default.
const defaultTokenLife = 3599 * time.Second

// Seed is what an emulator starts with.
type Seed struct {
	Apps          []App
	Organizations []OrganizationSeed
	// TokenLife is how long tokens last, 3599 s if zero.
	TokenLife time.Duration
	// RefreshIn is sent as refresh_in beside a token unless zero.
	RefreshIn time.Duration
	// Limits are those of every organization; the zero value enforces none.
	Limits Limits
}

// OrganizationSeed is a Dataverse organization to start with.
type OrganizationSeed struct {
	// Name is its unique name and the key by which the emulator knows it.
	Name string
	// Hosts are its real names, such as contoso.crm.dynamics.com and
	// contoso.api.crm.dynamics.com. Without any it has its loopback address only.
	Hosts []string
	// TenantID is its Entra ID tenant; one is derived from Name if empty.
	// Organizations may share a tenant.
	TenantID string
	// Consented are the client ids that the tenant has granted access.
	Consented []string
	// ApplicationUsers are the client ids that have an application user.
	ApplicationUsers []string
}

// Emulator is Entra ID and its organizations. All methods may be used
// concurrently.
type Emulator struct {
	ca            *authority
	entra         *Entra
	organizations []*Organization          // in seed order
	byName        map[string]*Organization // in lower case
	byHost        map[string]*Organization
	network       network
	controls      http.Handler
}

// New returns an emulator of what seed says. It listens nowhere until Start.
func New(seed Seed) (*Emulator, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	keys, err := newSigner()
	if err != nil {
		return nil, err
	}
	e := &Emulator{ca: ca, byName: map[string]*Organization{}, byHost: map[string]*Organization{}}
	e.network.handler = e
	e.entra = newEntra(seed, keys)
	e.controls = e.newControls()
	for _, app := range seed.Apps {
		if err := e.entra.AddApp(app); err != nil {
			return nil, err
		}
	}
	for _, s := range seed.Organizations {
		if err := e.addOrganization(s, seed.Limits); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *Emulator) addOrganization(s OrganizationSeed, limits Limits) error {
	switch {
	case s.Name == "":
		return errors.New("an organization needs a name")
	case e.Organization(s.Name) != nil:
		return fmt.Errorf("organization %s is there twice", s.Name)
	}
	tenantID := strings.ToLower(s.TenantID)
	if tenantID == "" {
		tenantID = guid("tenant", s.Name)
	}
	o := &Organization{
		name:     s.Name,
		id:       guid("organization", s.Name),
		tenantID: tenantID,
		emulator: e,
		data:     dataverse.New(s.Name, guid("organization", s.Name), tenantID),
		disabled: map[string]bool{},
		noRole:   map[string]bool{},
	}
	o.throttle.set(limits)
	for _, host := range s.Hosts {
		host = strings.ToLower(host)
		if e.byHost[host] != nil || isLoginName(host) {
			return fmt.Errorf("host %s of organization %s is taken", host, s.Name)
		}
		e.byHost[host] = o
		o.hosts = append(o.hosts, host)
	}
	e.organizations = append(e.organizations, o)
	e.byName[strings.ToLower(o.name)] = o
	e.entra.addTenant(tenantID, o)
	for _, client := range s.Consented {
		e.entra.Consent(tenantID, client)
	}
	for _, client := range s.ApplicationUsers {
		o.data.AddApplicationUser(client)
	}
	return nil
}

// ServeHTTP answers as the host that the request names.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := strings.TrimSuffix(strings.ToLower(r.Host), ":443")
	if o := e.byHost[host]; o != nil {
		o.serve(w, r)
		return
	}
	if isLoginName(host) {
		e.serveLogin(w, r)
		return
	}
	switch o, login := e.network.at(host); {
	case login:
		e.serveLogin(w, r)
	case o != nil:
		o.serve(w, r)
	default:
		http.Error(w, "the emulator knows no host "+host, http.StatusMisdirectedRequest)
	}
}

// serveLogin tells the emulator's own pages from those of Entra ID.
func (e *Emulator) serveLogin(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_emulator/") {
		e.controls.ServeHTTP(w, r)
		return
	}
	e.entra.serve(w, r)
}

// Entra returns the emulated Entra ID.
func (e *Emulator) Entra() *Entra { return e.entra }

// Organization returns the organization of that name, nil if there is none.
func (e *Emulator) Organization(name string) *Organization {
	return e.byName[strings.ToLower(name)]
}

// CA returns the certificate of the authority that signs for every host, in
// PEM.
func (e *Emulator) CA() []byte { return e.ca.pem() }

// tlsConfig returns the server's side of TLS: a certificate for any name, and
// HTTP/2 as well as HTTP/1.1.
func (e *Emulator) tlsConfig() *tls.Config {
	return &tls.Config{
		GetCertificate: e.ca.leaf,
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
	}
}

// LoginHost returns where Entra ID is reached: its loopback address once the
// emulator is started, else its real name.
func (e *Emulator) LoginHost() string {
	if host := e.network.loginHost(); host != "" {
		return host
	}
	return commercialLogin
}

// OrgURL returns the base URL of an organization, without a final slash: that
// of its loopback address once the emulator is started, else that of its first
// real name. It is "" for an unknown name.
func (e *Emulator) OrgURL(name string) string {
	o := e.Organization(name)
	if o == nil {
		return ""
	}
	return o.URL()
}

// loginHostFor names the login host that an organization called by this host
// sends its callers to: the one of its cloud.
func (e *Emulator) loginHostFor(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if isLoopback(name) {
		return e.LoginHost()
	}
	return cloudLogin(name)
}

// isLoopback reports whether host, without a port, leads to this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
