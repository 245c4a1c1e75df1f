package emulator_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"dynproxy/internal/emulator"
)

// aadsts is an error of Entra ID.
type aadsts struct {
	Error         string `json:"error"`
	Description   string `json:"error_description"`
	Codes         []int  `json:"error_codes"`
	Timestamp     string `json:"timestamp"`
	TraceID       string `json:"trace_id"`
	CorrelationID string `json:"correlation_id"`
	URI           string `json:"error_uri"`
}

func (r reply) aadsts(t *testing.T) aadsts {
	t.Helper()
	var v aadsts
	if err := json.Unmarshal([]byte(r.body), &v); err != nil || len(v.Codes) != 1 {
		t.Fatalf("%d is no error of Entra ID: %s", r.StatusCode, r.body)
	}
	return v
}

func TestTokenRefusals(t *testing.T) {
	h := open(t, seed())
	h.Entra().SetSecret(clientID, "old-secret", true)
	fabrikam := h.Organization("fabrikam").TenantID()
	for name, c := range map[string]struct {
		tenant string
		change url.Values
		status int
		oauth  string
		code   int
	}{
		"unknown tenant":     {"33333333-3333-4333-8333-333333333333", nil, 400, "invalid_tenant", 90002},
		"common":             {"common", nil, 400, "invalid_request", 9001023},
		"Common":             {"Common", nil, 400, "invalid_request", 9001023},
		"organizations":      {"organizations", nil, 400, "invalid_request", 50059},
		"wrong secret":       {tenantID, url.Values{"client_secret": {"Gu3ssed"}}, 401, "invalid_client", 7000215},
		"trailing newline":   {tenantID, url.Values{"client_secret": {secret + "\n"}}, 401, "invalid_client", 7000215},
		"expired secret":     {tenantID, url.Values{"client_secret": {"old-secret"}}, 401, "invalid_client", 7000222},
		"no secret":          {tenantID, url.Values{"client_secret": {""}}, 401, "invalid_client", 7000218},
		"unknown app":        {tenantID, url.Values{"client_id": {"44444444-4444-4444-8444-444444444444"}}, 400, "unauthorized_client", 700016},
		"no app":             {tenantID, url.Values{"client_id": {""}}, 400, "invalid_request", 900144},
		"no consent":         {fabrikam, url.Values{"scope": {"https://fabrikam.crm4.dynamics.com/.default"}}, 401, "invalid_client", 7000229},
		"foreign resource":   {tenantID, url.Values{"scope": {"https://fabrikam.crm4.dynamics.com/.default"}}, 400, "invalid_resource", 500011},
		"http resource":      {tenantID, url.Values{"scope": {"http://contoso.crm.dynamics.com/.default"}}, 400, "invalid_resource", 500011},
		"no scope":           {tenantID, url.Values{"scope": {""}}, 400, "invalid_request", 900144},
		"scope not default":  {tenantID, url.Values{"scope": {contoso + "/user_impersonation"}}, 400, "invalid_scope", 1002012},
		"two resources":      {tenantID, url.Values{"scope": {contoso + "/.default https://other.crm.dynamics.com/.default"}}, 400, "invalid_request", 700022},
		"password grant":     {tenantID, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type", 70003},
		"no grant":           {tenantID, url.Values{"grant_type": {""}}, 400, "invalid_request", 900144},
		"assertion not JWT":  {tenantID, url.Values{"client_assertion": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}, 400, "invalid_request", 50027},
		"assertion untyped":  {tenantID, url.Values{"client_assertion": {"x"}}, 400, "invalid_request", 900144},
		"unknown devicecode": {tenantID, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {"x"}}, 400, "bad_verification_code", 70018},
	} {
		t.Run(name, func(t *testing.T) {
			form := appForm(contoso)
			for field, value := range c.change {
				form[field] = value
			}
			got := h.ask(t, login, c.tenant, form)
			v := got.aadsts(t)
			if got.StatusCode != c.status || v.Error != c.oauth || v.Codes[0] != c.code {
				t.Errorf("%d %s %v, want %d %s %d: %s", got.StatusCode, v.Error, v.Codes, c.status, c.oauth, c.code, v.Description)
			}
			if !strings.HasPrefix(v.Description, fmt.Sprintf("AADSTS%d: ", c.code)) || strings.ContainsAny(v.Description, "{}") {
				t.Errorf("description %q", v.Description)
			}
			if v.Timestamp == "" || v.TraceID == "" || v.CorrelationID == "" || !strings.HasSuffix(v.URI, fmt.Sprint(c.code)) || v.TraceID != got.Header.Get("x-ms-request-id") {
				t.Errorf("%+v", v)
			}
			if strings.Contains(got.body, "Gu3ssed") || strings.Contains(got.body, secret) {
				t.Errorf("the secret is told: %s", got.body)
			}
		})
	}
}

func TestConsentOpensTheTenant(t *testing.T) {
	h := open(t, seed())
	form := appForm("https://fabrikam.crm4.dynamics.com")
	fabrikam := h.Organization("fabrikam").TenantID()
	if h.Entra().Consent("nobody", clientID) {
		t.Error("consent of a tenant that is not there")
	}
	if !h.Entra().Consent(fabrikam, clientID) {
		t.Fatal("no such tenant")
	}
	if got := h.ask(t, login, fabrikam, form); got.StatusCode != 200 {
		t.Errorf("after consent: %s", got.body)
	}
	if got := h.ask(t, login, "fabrikam.onmicrosoft.com", form); got.StatusCode != 200 {
		t.Errorf("by its name: %s", got.body)
	}
	h.Entra().RevokeConsent(fabrikam, clientID)
	if got := h.ask(t, login, fabrikam, form); got.StatusCode != 401 {
		t.Errorf("after it was withdrawn: %d", got.StatusCode)
	}
}

func TestSecretsRotate(t *testing.T) {
	h := open(t, seed())
	form := appForm(contoso)
	form.Set("client_secret", "next")
	status := func() int { return h.ask(t, login, tenantID, form).StatusCode }
	if got := status(); got != 401 {
		t.Errorf("before: %d", got)
	}
	h.Entra().SetSecret(clientID, "next", false)
	if got := status(); got != 200 {
		t.Errorf("added: %d", got)
	}
	h.Entra().RemoveSecret(clientID, "next")
	if got := status(); got != 401 {
		t.Errorf("removed: %d", got)
	}
	sum := sha256.Sum256([]byte("next"))
	if n := h.Entra().TokenRequests(emulator.TokenRequest{Credential: fmt.Sprintf("secret:%x", sum[:4])}); n != 3 {
		t.Errorf("%d requests with the new secret", n)
	}
}

func TestSecretInBasicAuthorization(t *testing.T) {
	h := open(t, seed())
	form := appForm(contoso)
	form.Del("client_id")
	form.Del("client_secret")
	r := request(t, "POST", login+"/"+tenantID+"/oauth2/v2.0/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(clientID, secret)
	if got := h.do(t, r); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestTokenRequestsAreCountedByKind(t *testing.T) {
	h := open(t, seed())
	for range 3 {
		h.token(t, login, tenantID, contoso)
	}
	h.token(t, login, tenantID, "https://contoso.api.crm.dynamics.com")
	wrong := appForm(contoso)
	wrong.Set("client_secret", "wrong")
	h.ask(t, login, tenantID, wrong)
	for _, c := range []struct {
		like emulator.TokenRequest
		want int
	}{
		{emulator.TokenRequest{}, 5},
		{emulator.TokenRequest{Tenant: tenantID, Client: clientID, Resource: contoso}, 4},
		{emulator.TokenRequest{Resource: "https://contoso.api.crm.dynamics.com"}, 1},
		{emulator.TokenRequest{Grant: "client_credentials", Credential: "secret:"}, 5},
		{emulator.TokenRequest{Tenant: "common"}, 0},
	} {
		if got := h.Entra().TokenRequests(c.like); got != c.want {
			t.Errorf("%+v: %d, want %d", c.like, got, c.want)
		}
	}
}

// TestKeysVerifyTokens follows discovery to the keys, as a resource would, and
// checks a signature with what is published there.
func TestKeysVerifyTokens(t *testing.T) {
	h := open(t, seed())
	var doc struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
		Keys          string `json:"jwks_uri"`
	}
	got := h.get(t, login+"/"+tenantID+"/v2.0/.well-known/openid-configuration?")
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Issuer != login+"/"+tenantID+"/v2.0" || doc.TokenEndpoint != login+"/"+tenantID+"/oauth2/v2.0/token" {
		t.Errorf("%+v", doc)
	}
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal([]byte(h.get(t, doc.Keys).body), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("keys: %v %+v", err, set)
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	key := &rsa.PublicKey{N: number(set.Keys[0].N), E: int(number(set.Keys[0].E).Int64())}
	tok := h.token(t, login, tenantID, contoso)
	signed, signature := tok[:strings.LastIndex(tok, ".")], number(tok[strings.LastIndex(tok, ".")+1:])
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature.FillBytes(make([]byte, 256))); err != nil {
		t.Error(err)
	}
}

func TestDiscoveryOfNobody(t *testing.T) {
	h := open(t, seed())
	got := h.get(t, login+"/55555555-5555-4555-8555-555555555555/v2.0/.well-known/openid-configuration")
	if v := got.aadsts(t); got.StatusCode != 400 || v.Error != "invalid_tenant" || v.Codes[0] != 90002 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got := h.get(t, login+"/common/v2.0/.well-known/openid-configuration"); got.StatusCode != 200 || !strings.Contains(got.body, "{tenantid}") {
		t.Errorf("common: %d %s", got.StatusCode, got.body)
	}
	if got := h.get(t, login+"/common/discovery/instance?api-version=1.1&authorization_endpoint=x"); !strings.Contains(got.body, "login.windows.net") {
		t.Errorf("instances: %s", got.body)
	}
}

func TestCloudsDoNotMix(t *testing.T) {
	s := seed()
	s.Organizations = append(s.Organizations,
		emulator.OrganizationSeed{Name: "agency", Hosts: []string{"agency.crm.microsoftdynamics.us"}, Consented: []string{clientID}, ApplicationUsers: []string{clientID}},
		emulator.OrganizationSeed{Name: "beijing", Hosts: []string{"beijing.crm.dynamics.cn"}, Consented: []string{clientID}, ApplicationUsers: []string{clientID}})
	h := open(t, s)
	for name, host := range map[string]string{"agency": "login.microsoftonline.us", "beijing": "login.partner.microsoftonline.cn"} {
		org := h.Organization(name)
		got := h.get(t, org.URL()+"/api/data/v9.2/WhoAmI")
		if want := "authorization_uri=https://" + host + "/" + org.TenantID() + "/"; !strings.Contains(got.Header.Get("WWW-Authenticate"), want) {
			t.Errorf("%s: challenge %q, want %q", name, got.Header.Get("WWW-Authenticate"), want)
		}
		if got := h.ask(t, login, org.TenantID(), appForm(org.URL())); got.aadsts(t).Codes[0] != 900382 {
			t.Errorf("%s: asked in the wrong cloud: %s", name, got.body)
		}
		tok := h.token(t, "https://"+host, org.TenantID(), org.URL())
		if got := h.call(t, org.URL()+"/api/data/v9.2/WhoAmI", tok); got.StatusCode != 200 {
			t.Errorf("%s: %d", name, got.StatusCode)
		}
	}
}
