package entra_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
)

// identity is an RSA key with its certificate, which ends at until.
func identity(t *testing.T, until time.Time) (*rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key, certify(t, key, until)
}

func certify(t *testing.T, key crypto.Signer, until time.Time) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bridge"}, NotBefore: until.AddDate(-2, 0, 0), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

// signedIn is how the app of cert has signed in, "2" for by certificate.
func signedIn(t *testing.T, h *harness, cert *x509.Certificate) string {
	t.Helper()
	app := emulator.App{ClientID: "22222222-2222-4222-8222-222222222222", Certificates: []*x509.Certificate{cert}}
	if err := h.Entra().AddApp(app); err != nil {
		t.Fatal(err)
	}
	target := h.target(0)
	target.ClientID = app.ClientID
	h.Entra().Consent(target.TenantID, app.ClientID)
	// The emulator takes PS256 with x5t#S256 only.
	return claimsOf(t, token(t, h.cache.Source(target))).How
}

func TestCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.pem")
	until := time.Now().AddDate(1, 0, 0).Truncate(time.Second)
	key, cert := identity(t, until)
	_, stranger := identity(t, until)
	text := block("CERTIFICATE", cert.Raw) + pkcs8(t, key)
	for name, content := range map[string]string{
		"certificate first": text,
		"from Windows":      "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n") + "\x1a",
		"from PowerShell":   inUTF16(text),
		"joined by copy":    "\ufeff" + strings.TrimSpace(block("CERTIFICATE", cert.Raw)) + "\ufeff" + pkcs8(t, key),
		"PKCS #1 first":     block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)) + block("CERTIFICATE", cert.Raw),
		"with a chain":      block("CERTIFICATE", stranger.Raw) + pkcs8(t, key) + block("CERTIFICATE", cert.Raw),
	} {
		write(t, file, content)
		h := open(t, 1, entra.Registration{ClientID: clientID, CertificateFile: file})
		if how := signedIn(t, h, cert); how != "2" {
			t.Errorf("%s: signed in by %q", name, how)
		}
		if e := h.mint.Expiries(); len(e) != 1 || !e[0].At.Equal(until) || e[0].Credential != "certificate" {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// inUTF16 writes ASCII as PowerShell's > does.
func inUTF16(text string) string {
	out := "\xff\xfe"
	for _, c := range []byte(text) {
		out += string([]byte{c, 0})
	}
	return out
}

func TestAnUnusableSecretFileNamesTheCure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for content, says := range map[string]string{
		"7f6e2a10-2b7c-4d1e-9a4f-0c1b2d3e4f50\r\n": "the secret's id", "change-me": "example", " \r\n": "empty", "one\ntwo": "one line", "\x00\x01": "not text",
	} {
		write(t, file, content)
		_, err := entra.NewTokenClient(nil, zerolog.Nop()).Register(entra.Registration{ClientID: clientID, SecretFile: file})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", content, err)
		}
	}
	for _, content := range []string{"\ufeff" + password + "\r\n", inUTF16(password + "\r\n"), "\n " + password + "\r", password + "\x00\x00"} {
		write(t, file, content)
		h := open(t, 1, entra.Registration{ClientID: clientID, SecretFile: file})
		token(t, h.source(0))
	}
}

func TestUnusableCertificateFilesNameTheCure(t *testing.T) {
	dir := t.TempDir()
	key, cert := identity(t, time.Now().Add(time.Hour))
	other, _ := identity(t, time.Now().Add(time.Hour))
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := block("CERTIFICATE", cert.Raw)
	old := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")}))
	for name, c := range map[string]struct{ content, says string }{
		"PFX":               {"\x30\x82\x0a\x01", "neither a PEM nor a PFX"},
		"empty":             {"", "neither a PEM nor a PFX"},
		"ECDSA in PKCS #8":  {certPEM + pkcs8(t, curve), "openssl req -x509 -newkey rsa:2048"},
		"ECDSA":             {certPEM + block("EC PRIVATE KEY", sec1), "openssl req -x509 -newkey rsa:2048"},
		"encrypted":         {certPEM + block("ENCRYPTED PRIVATE KEY", []byte("x")), "openssl pkey -in app.pem"},
		"encrypted of old":  {certPEM + old, "openssl pkey -in app.pem"},
		"no key":            {certPEM, "no key"},
		"no certificate":    {pkcs8(t, key), "no certificate"},
		"foreign key":       {certPEM + pkcs8(t, other), "do not belong together"},
		"two keys":          {certPEM + pkcs8(t, key) + pkcs8(t, other), "two keys"},
		"a lost block end":  {certPEM + strings.Replace(pkcs8(t, key), "-----END", "----END", 1), "block 2 (PRIVATE KEY) has no end"},
		"a request":         {strings.ReplaceAll(certPEM, "CERTIFICATE", "CERTIFICATE REQUEST") + pkcs8(t, key), "it holds a CERTIFICATE REQUEST"},
		"a chain of .p7b":   {strings.ReplaceAll(certPEM, "CERTIFICATE", "PKCS7") + pkcs8(t, key), "it holds a PKCS7"},
		"broken key":        {certPEM + block("PRIVATE KEY", []byte("x")), "broken"},
		"broken certifcate": {block("CERTIFICATE", []byte("x")) + pkcs8(t, key), "broken"},
	} {
		file := filepath.Join(dir, "app.pem")
		write(t, file, c.content)
		_, err := entra.NewTokenClient(nil, zerolog.Nop()).Register(entra.Registration{ClientID: clientID, CertificateFile: file})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sign makes the token of a foreign issuer.
func sign(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// federate lets a foreign issuer's subject act as an app of the harness, which
// it returns a Source of, and a way to get the issuer's tokens.
func federate(t *testing.T, h *harness) (*entra.Source, func() string) {
	t.Helper()
	const app, issuer, subject = "33333333-3333-4333-8333-333333333333", "https://cluster.example/", "system:serviceaccount:apps:bridge"
	key, _ := identity(t, time.Now().Add(time.Hour))
	err := h.Entra().AddApp(emulator.App{ClientID: app, Federated: []emulator.FederatedCredential{{Issuer: issuer, Subject: subject, Key: &key.PublicKey}}})
	if err != nil {
		t.Fatal(err)
	}
	target := h.target(0)
	target.ClientID = app
	h.Entra().Consent(target.TenantID, app)
	return h.cache.Source(target), func() string {
		now := time.Now().Unix()
		return sign(t, key, map[string]any{"iss": issuer, "sub": subject, "aud": "api://AzureADTokenExchange", "nbf": now, "exp": now + 300})
	}
}

func TestFederatedTokenIsReadAtEveryMint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{ClientID: clientID, FederatedTokenFile: file})
		s, issue := federate(t, h)
		if e := refusal(t, s, entra.Credential); e.RetryAfter > 10*time.Second || !strings.Contains(e.Error(), "FEDERATED_TOKEN_FILE cannot be read: ") {
			t.Errorf("%v, again in %v", e, e.RetryAfter)
		}
		write(t, file, " \n")
		time.Sleep(10 * time.Second)
		refusal(t, s, entra.Credential)
		if h.requests() > 0 {
			t.Error("an empty assertion was sent")
		}
		for range 3 {
			write(t, file, issue()+"\n") // good for five minutes, and too old next time
			time.Sleep(10 * time.Second)
			token(t, s)
			time.Sleep(3 * time.Hour)
		}
	})
}

// Who has mended the file does not wait out the refusal of what was in it.
func TestANewFederatedTokenEndsTheBreakAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{ClientID: clientID, FederatedTokenFile: file})
		s, issue := federate(t, h)
		write(t, file, issue())
		h.watch(t)
		time.Sleep(3 * time.Hour) // until it is too old
		for range 3 {
			if e := refusal(t, s, entra.Credential); e.RetryAfter > 10*time.Second {
				break
			}
			time.Sleep(time.Minute)
		}
		write(t, file, issue())
		time.Sleep(2 * time.Second)
		token(t, s)
	})
}

func TestManagedIdentityStandsInForASecret(t *testing.T) {
	// MSAL remembers a managed identity's token for the whole process.
	managed := "managed-" + rand.Text()
	h := open(t, 1, entra.Registration{ClientID: clientID, ManagedIdentity: managed})
	s, issue := federate(t, h)
	var asked []string
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("resource")+" "+r.URL.Query().Get("client_id"))
		fmt.Fprintf(w, `{"access_token":%q,"expires_on":"%d","resource":"x","token_type":"Bearer"}`, issue(), time.Now().Add(time.Hour).Unix())
	}))
	defer platform.Close()
	t.Setenv("IDENTITY_ENDPOINT", platform.URL)
	t.Setenv("IDENTITY_HEADER", "x")
	// It is the machine's own address, where no egress proxy leads.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	if how := claimsOf(t, token(t, s)).How; how != "2" {
		t.Errorf("signed in by %q", how)
	}
	if want := "api://AzureADTokenExchange " + managed; len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %q", asked)
	}
}

// A file that cannot be used is told by its setting, with its fault and the
// cure: callers read that, and no path of this machine.
func TestTheFaultOfAFileIsToldByItsSetting(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		write(t, filepath.Join(dir, name), content)
		return filepath.Join(dir, name)
	}
	missing, empty := filepath.Join(dir, "missing"), file("empty", " \n")
	asset := file("app.pfx", "\x30\x82\x0a\x01")
	for want, r := range map[string]entra.Registration{
		"CLIENT_SECRET_FILE cannot be read: ":                                  {SecretFile: missing},
		"CLIENT_SECRET_FILE cannot be used: it is empty":                       {SecretFile: empty},
		"the content of CLIENT_SECRET_FILE is a GUID":                          {SecretFile: file("id", "7f6e2a10-2b7c-4d1e-9a4f-0c1b2d3e4f50")},
		"CLIENT_SECRET_NEXT_FILE cannot be read: ":                             {SecretNextFile: missing},
		"CLIENT_CERTIFICATE_FILE cannot be read: ":                             {CertificateFile: missing},
		"CLIENT_CERTIFICATE_FILE: neither a PEM nor a PFX file":                {CertificateFile: empty},
		"CLIENT_CERTIFICATE_PASSWORD_FILE cannot be used: it is empty":         {CertificateFile: asset, CertificatePasswordFile: empty},
		"FEDERATED_TOKEN_FILE cannot be read: ":                                {FederatedTokenFile: missing},
		"FEDERATED_TOKEN_FILE cannot be used: it is empty":                     {FederatedTokenFile: empty},
		"FEDERATED_TOKEN_FILE cannot be used: it holds more than the one line": {FederatedTokenFile: file("two", "a\nb")},
	} {
		h := open(t, 1, entra.Registration{})
		target := h.target(0)
		r.ClientID = clientID
		target.Credential, _ = h.mint.Register(r)
		e := refusal(t, h.cache.Source(target), entra.Credential)
		if !strings.HasPrefix(e.Reason, want) || strings.Contains(e.Error(), dir) || e.Cure == "" {
			t.Errorf("%q, %q, want %q", e.Error(), e.Cure, want)
		}
	}
}

// A machine without a managed identity says what is missing.
func TestAMachineWithoutAManagedIdentitySaysSo(t *testing.T) {
	const canary = "platforms-canary"
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"invalid_request","error_description":%q}`, canary)
	}))
	t.Setenv("IDENTITY_ENDPOINT", platform.URL)
	t.Setenv("IDENTITY_HEADER", canary)
	says := func(class entra.Class, want string) {
		t.Helper()
		h := open(t, 1, entra.Registration{ClientID: clientID, ManagedIdentity: "none-" + rand.Text()})
		e := refusal(t, h.source(0), class)
		if !strings.Contains(e.Error(), want) || !strings.Contains(e.Cure, "MANAGED_IDENTITY") || strings.Contains(e.Error(), canary) {
			t.Errorf("%v, %q", e, e.Cure)
		}
	}
	says(entra.Credential, "no such managed identity")
	platform.Close()
	says(entra.Transient, "gives out no managed identity: the connection was refused")
}
