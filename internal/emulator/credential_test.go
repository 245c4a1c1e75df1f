package emulator_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"testing"
	"time"

	"dynproxy/internal/emulator"
)

// identity is an RSA key with its certificate.
type identity struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return identity{key, cert}
}

func (i identity) thumbprint() string {
	sum := sha256.Sum256(i.cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (i identity) standardThumbprint() string {
	sum := sha256.Sum256(i.cert.Raw)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// sign makes a token with PS256 or, if alg says so, RS256.
func (i identity) sign(t *testing.T, alg, thumbprint string, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]string{"alg": alg, "typ": "JWT", "x5t#S256": thumbprint}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	if alg == "RS256" {
		signature, err = rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	} else {
		signature, err = rsa.SignPSS(rand.Reader, i.key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func assertionForm(assertion string) url.Values {
	form := appForm(contoso)
	form.Del("client_secret")
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return form
}

func TestCertificateCredential(t *testing.T) {
	own, other := newIdentity(t), newIdentity(t)
	s := seed()
	s.Apps[0].Certificates = []*x509.Certificate{own.cert}
	h := open(t, s)
	now := time.Now().Unix()
	good := func() map[string]any {
		return map[string]any{"iss": clientID, "sub": clientID, "aud": login + "/" + tenantID + "/oauth2/v2.0/token",
			"nbf": now, "exp": now + 600, "jti": t.Name()}
	}
	for _, c := range []struct {
		name       string
		by         identity
		alg, print string
		claim      string
		value      any
		code       int // 0 when it is accepted
	}{
		{"another key", other, "PS256", own.thumbprint(), "jti", "1", 700027},
		{"another certificate", other, "PS256", other.thumbprint(), "jti", "2", 700027},
		{"RS256", own, "RS256", own.thumbprint(), "jti", "3", 700027},
		{"another audience", own, "PS256", own.thumbprint(), "aud", "https://evil.example/token", 700023},
		{"another tenant's audience", own, "PS256", own.thumbprint(), "aud", login + "/other/oauth2/v2.0/token", 700023},
		{"another subject", own, "PS256", own.thumbprint(), "sub", "someone", 700021},
		{"expired", own, "PS256", own.thumbprint(), "exp", now - 301, 700024},
		{"not yet valid", own, "PS256", own.thumbprint(), "nbf", now + 900, 700024},
		{"no jti", own, "PS256", own.thumbprint(), "jti", "", 50027},
		{"good", own, "PS256", own.thumbprint(), "jti", "4", 0},
		{"thumbprint as MSAL writes it", own, "PS256", own.standardThumbprint(), "jti", "5", 0},
		{"replayed", own, "PS256", own.thumbprint(), "jti", "4", 50027},
		{"audience in a list", own, "PS256", own.thumbprint(), "aud", []string{login + "/" + tenantID + "/v2.0"}, 0},
	} {
		claims := good()
		claims[c.claim] = c.value
		got := h.ask(t, login, tenantID, assertionForm(c.by.sign(t, c.alg, c.print, claims)))
		switch {
		case c.code == 0 && got.StatusCode != 200:
			t.Errorf("%s: %s", c.name, got.body)
		case c.code != 0 && (got.StatusCode == 200 || got.aadsts(t).Codes[0] != c.code):
			t.Errorf("%s: want %d: %s", c.name, c.code, got.body)
		}
	}
	if n := h.Entra().TokenRequests(emulator.TokenRequest{Credential: "certificate:" + own.thumbprint()}); n != 12 {
		t.Errorf("%d requests by the certificate", n)
	}
}

func TestFederatedCredential(t *testing.T) {
	cluster, other := newIdentity(t), newIdentity(t)
	const issuer, subject = "https://cluster.example/", "system:serviceaccount:apps:bridge"
	s := seed()
	s.Apps[0].Federated = []emulator.FederatedCredential{{Issuer: issuer, Subject: subject, Key: &cluster.key.PublicKey}}
	h := open(t, s)
	now := time.Now().Unix()
	for _, c := range []struct {
		name  string
		by    identity
		claim string
		value any
		code  int
	}{
		{"good", cluster, "jti", "", 0},
		{"the same again, as a token file is read again", cluster, "jti", "", 0},
		{"another key", other, "jti", "", 50012},
		{"another subject", cluster, "sub", "system:serviceaccount:apps:other", 70021},
		{"another issuer", cluster, "iss", "https://evil.example/", 70021},
		{"another audience", cluster, "aud", "sts.amazonaws.com", 70021},
		{"expired", cluster, "exp", now - 301, 700024},
	} {
		claims := map[string]any{"iss": issuer, "sub": subject, "aud": []string{"api://AzureADTokenExchange"}, "nbf": now, "exp": now + 600}
		claims[c.claim] = c.value
		got := h.ask(t, login, tenantID, assertionForm(c.by.sign(t, "RS256", "", claims)))
		switch {
		case c.code == 0 && got.StatusCode != 200:
			t.Errorf("%s: %s", c.name, got.body)
		case c.code != 0 && (got.StatusCode == 200 || got.aadsts(t).Codes[0] != c.code):
			t.Errorf("%s: want %d: %s", c.name, c.code, got.body)
		}
	}
}

func TestCertificateWithoutRSAIsRefused(t *testing.T) {
	s := seed()
	s.Apps[0].Certificates = []*x509.Certificate{{}}
	if _, err := emulator.New(s); err == nil {
		t.Error("no error")
	}
}
