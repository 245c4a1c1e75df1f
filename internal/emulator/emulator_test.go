package emulator_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
)

const (
	clientID = "11111111-1111-4111-8111-111111111111"
	secret   = "right-secret"
	tenantID = "22222222-2222-4222-8222-222222222222"
	login    = "https://login.microsoftonline.com"
	contoso  = "https://contoso.crm.dynamics.com"
	callback = "https://app.example/consent/callback"
)

// seed has one organization that is ready, one not consented and one without
// an application user.
func seed() emulator.Seed {
	return emulator.Seed{
		Apps: []emulator.App{{ClientID: clientID, Name: "Legacy bridge", Secrets: []string{secret}, RedirectURIs: []string{callback}, Public: true}},
		Organizations: []emulator.OrganizationSeed{
			{Name: "contoso", Hosts: []string{"contoso.crm.dynamics.com", "contoso.api.crm.dynamics.com"}, TenantID: tenantID,
				Consented: []string{clientID}, ApplicationUsers: []string{clientID}},
			{Name: "fabrikam", Hosts: []string{"fabrikam.crm4.dynamics.com"}},
			{Name: "tailspin", Hosts: []string{"tailspin.crm.dynamics.com"}, Consented: []string{clientID}},
		},
	}
}

// harness is an emulator with a client that trusts it and follows no redirect.
type harness struct {
	*emulator.Emulator
	client *http.Client
}

func open(t testing.TB, s emulator.Seed) *harness {
	t.Helper()
	e, err := emulator.New(s)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{e, &http.Client{
		Transport:     e.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// reply is an answer read to its end.
type reply struct {
	*http.Response
	body string
}

func (h *harness) do(t testing.TB, r *http.Request) reply {
	t.Helper()
	resp, err := h.client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer of %s %s: %v", r.Method, r.URL, err)
	}
	return reply{resp, string(body)}
}

func request(t testing.TB, method, target, body string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (h *harness) get(t testing.TB, target string, header ...string) reply {
	t.Helper()
	return h.do(t, request(t, "GET", target, "", header...))
}

// ask sends a token request to a tenant of the login host.
func (h *harness) ask(t testing.TB, base, tenant string, form url.Values) reply {
	t.Helper()
	return h.do(t, request(t, "POST", base+"/"+tenant+"/oauth2/v2.0/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

func appForm(resource string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}, "scope": {resource + "/.default openid offline_access profile"}}
}

// token gets a token for a resource, which must be granted.
func (h *harness) token(t testing.TB, base, tenant, resource string) string {
	t.Helper()
	got := h.ask(t, base, tenant, appForm(resource))
	var v struct {
		AccessToken string `json:"access_token"`
	}
	if got.StatusCode != 200 || json.Unmarshal([]byte(got.body), &v) != nil {
		t.Fatalf("token request: %d %s", got.StatusCode, got.body)
	}
	return v.AccessToken
}

// call sends a GET with a token.
func (h *harness) call(t *testing.T, target, token string, header ...string) reply {
	t.Helper()
	return h.get(t, target, append([]string{"Authorization", "Bearer " + token}, header...)...)
}

// errorCode reads the code of a Dataverse error.
func (r reply) errorCode() string {
	var v struct{ Error struct{ Code string } }
	_ = json.Unmarshal([]byte(r.body), &v)
	return v.Error.Code
}

func TestWholeTrip(t *testing.T) {
	h := open(t, seed())
	tok := h.token(t, login, tenantID, contoso)
	got := h.call(t, contoso+"/api/data/v9.2/WhoAmI", tok)
	if got.StatusCode != 200 || !strings.Contains(got.body, `"@odata.context":"https://contoso.crm.dynamics.com/api/data/v9.2/$metadata#`) {
		t.Fatalf("WhoAmI: %d %s", got.StatusCode, got.body)
	}
	if got.Proto != "HTTP/2.0" {
		t.Errorf("protocol %s", got.Proto)
	}
	if ids := got.Header["Req_id"]; len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("REQ_ID %q", ids)
	}
	for _, want := range []string{"ARRAffinity=", "ReqClientId="} {
		if !strings.Contains(strings.Join(got.Header["Set-Cookie"], "\n"), want) {
			t.Errorf("no cookie %s in %q", want, got.Header["Set-Cookie"])
		}
	}
	if got.Header.Get("Strict-Transport-Security") == "" || got.Header.Get("X-Ms-Service-Request-Id") == "" {
		t.Errorf("headers %v", got.Header)
	}
	if got := h.call(t, "https://contoso.api.crm.dynamics.com/api/data/v9.2/WhoAmI", tok); got.StatusCode != 200 {
		t.Errorf("the other alias: %d", got.StatusCode)
	}
}

// TestOnLoopback goes through real sockets, trusting nothing but the CA that
// is printed.
func TestOnLoopback(t *testing.T) {
	s := seed()
	s.Organizations = append(s.Organizations, emulator.OrganizationSeed{Name: "bare", TenantID: tenantID, ApplicationUsers: []string{clientID}})
	h := open(t, s)
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := h.Start("127.0.0.1:0"); err == nil {
		t.Error("a second Start went through")
	}
	h.client.Transport = trusting(t, h.CA())
	base := "https://" + h.LoginHost()
	for _, name := range []string{"contoso", "bare"} {
		got := h.get(t, h.OrgURL(name)+"/api/data/v9.2/WhoAmI")
		want := "Bearer authorization_uri=" + base + "/" + tenantID + "/oauth2/authorize, resource_id=" + h.OrgURL(name) + "/"
		if got.StatusCode != 401 || got.Header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: %d %q, want %q", name, got.StatusCode, got.Header.Get("WWW-Authenticate"), want)
		}
		tok := h.token(t, base, tenantID, h.OrgURL(name))
		if got := h.call(t, h.OrgURL(name)+"/api/data/v9.2/WhoAmI", tok); got.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
		}
	}
	local := strings.Replace(h.OrgURL("bare"), "127.0.0.1", "localhost", 1)
	if got := h.get(t, local+"/api/data/v9.2/"); got.StatusCode != 401 {
		t.Errorf("localhost: %d", got.StatusCode)
	}
}

func TestStartOffLoopbackIsRefused(t *testing.T) {
	h := open(t, seed())
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "127.0.0.1", "127.0.0.1:x"} {
		if err := h.Start(addr); err == nil {
			t.Errorf("Start(%q) went through", addr)
		}
	}
}

func TestStrangeHost(t *testing.T) {
	h := open(t, seed())
	if got := h.get(t, "https://elsewhere.example/"); got.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("status %d", got.StatusCode)
	}
}

func TestSeedIsChecked(t *testing.T) {
	for name, s := range map[string]emulator.Seed{
		"no name":      {Organizations: []emulator.OrganizationSeed{{}}},
		"same name":    {Organizations: []emulator.OrganizationSeed{{Name: "a"}, {Name: "A"}}},
		"same host":    {Organizations: []emulator.OrganizationSeed{{Name: "a", Hosts: []string{"x.crm.dynamics.com"}}, {Name: "b", Hosts: []string{"X.crm.dynamics.com"}}}},
		"a login host": {Organizations: []emulator.OrganizationSeed{{Name: "a", Hosts: []string{"login.microsoftonline.com"}}}},
		"no client id": {Apps: []emulator.App{{}}},
		"same app":     {Apps: []emulator.App{{ClientID: "a"}, {ClientID: "A"}}},
	} {
		if _, err := emulator.New(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAccessTokenClaims(t *testing.T) {
	s := seed()
	s.TokenLife, s.RefreshIn = 10*time.Minute, 5*time.Minute
	h := open(t, s)
	got := h.ask(t, login, tenantID, appForm(contoso))
	var v struct {
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		RefreshIn   int    `json:"refresh_in"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(got.body), &v); err != nil {
		t.Fatal(err)
	}
	if v.TokenType != "Bearer" || v.ExpiresIn != 600 || v.RefreshIn != 300 {
		t.Errorf("%+v", v)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(v.AccessToken, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"aud": contoso, "tid": tenantID, "appid": clientID, "idtyp": "app", "appidacr": "1", "iss": "https://sts.windows.net/" + tenantID + "/"} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
}

// place is where faults can be injected.
type place interface{ Inject(emulator.Fault) error }

func inject(t *testing.T, p place, f emulator.Fault) {
	t.Helper()
	if err := p.Inject(f); err != nil {
		t.Fatal(err)
	}
}

func hash(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
