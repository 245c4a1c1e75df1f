package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"dynproxy/bench/stand"
	"dynproxy/internal/emulator"
)

// limits are the documented ones at a hundredth.
var limits = emulator.Limits{Requests: 600, Window: 3 * time.Second, ExecutionTime: 12 * time.Second, Concurrency: 8}

const (
	work      = 10 * time.Millisecond // of the organization for each request
	app       = "7f0c2d9e-18a4-4d52-9b0e-2f6b8f9d3c11"
	appSecret = "bench"
	callers   = 64
)

// field is an emulated Entra ID with one organization a run, so that none
// begins with a window that another has filled.
type field struct {
	*stand.Stand
	world   *emulator.Emulator
	roots   *x509.CertPool
	numbers int       // of the organizations taken so far
	server  *exec.Cmd // of Redis, the last that was started
}

const organizations = 16

// built is the program where it is built already; else each field builds it.
var built string

func open(limits emulator.Limits) (*field, error) {
	seed := emulator.Seed{Apps: []emulator.App{{ClientID: app, Name: "bench", Secrets: []string{appSecret}}}, Limits: limits}
	for i := range organizations {
		seed.Organizations = append(seed.Organizations, emulator.OrganizationSeed{
			Name: fmt.Sprintf("org%d", i), Consented: []string{app}, ApplicationUsers: []string{app},
		})
	}
	s, err := stand.New()
	if err != nil {
		return nil, err
	}
	s.Binary = built
	f := &field{Stand: s, roots: x509.NewCertPool()}
	if f.world, err = emulator.New(seed); err == nil {
		err = f.world.Start("127.0.0.1:0")
	}
	if err == nil {
		f.roots.AppendCertsFromPEM(f.world.CA())
		err = os.WriteFile(f.caFile(), f.world.CA(), 0o600)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return f, nil
}

func (f *field) close() {
	f.Stand.Close()
	f.world.Close()
}

func (f *field) caFile() string { return filepath.Join(f.Dir, "ca.pem") }

// organization returns a fresh one, which takes its time for each request.
func (f *field) organization() (*emulator.Organization, error) {
	if f.numbers == organizations {
		return nil, errors.New("no organization is left")
	}
	o := f.world.Organization(fmt.Sprintf("org%d", f.numbers))
	f.numbers++
	return o, o.Inject(emulator.Fault{Kind: emulator.Slow, Delay: work})
}

// proxy starts a proxy whose tenants are the organizations, by their names, and
// returns its base for callers.
func (f *field) proxy(settings []string, orgs ...*emulator.Organization) (base string, err error) {
	proxy, err := f.Proxy(append(f.settings(orgs...), settings...)...)
	return proxy.Calls, err
}

// settings are what every proxy before the organizations needs.
func (f *field) settings(orgs ...*emulator.Organization) []string {
	var tenants, hosts []string
	for _, o := range orgs {
		tenants = append(tenants, o.Name()+"="+o.URL())
		hosts = append(hosts, strings.TrimPrefix(o.URL(), "https://"))
	}
	return []string{
		"CLIENT_ID=" + app, "CLIENT_SECRET=" + appSecret, "TENANTS=" + strings.Join(tenants, ","),
		"ALLOWED_ORG_HOSTS=" + strings.Join(hosts, ","), "ALLOWED_LOGIN_HOSTS=" + f.world.LoginHost(),
		"TRUSTED_CA_FILE=" + f.caFile(), "TENANT_WINDOW=3s", "TENANT_EXECUTION_TIME=12s", "TENANT_CONCURRENCY=8",
	}
}

// direct is a way to an organization without the proxy.
func (f *field) direct(o *emulator.Organization) (way, error) {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots}, MaxIdleConnsPerHost: callers,
	}}
	resp, err := client.PostForm("https://"+f.world.LoginHost()+"/"+o.TenantID()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app}, "client_secret": {appSecret}, "scope": {o.URL() + "/.default"},
	})
	if err != nil {
		return way{}, err
	}
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.AccessToken == "" {
		return way{}, fmt.Errorf("no token from %s: %s", f.world.LoginHost(), resp.Status)
	}
	return way{client, o.URL(), "Bearer " + token.AccessToken}, nil
}

// through is a way to an organization through the proxy at base, for a caller
// that is known by its address: the proxies trust loopback.
func through(base string, o *emulator.Organization) way {
	return way{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}, base + "/" + o.Name(), ""}
}
