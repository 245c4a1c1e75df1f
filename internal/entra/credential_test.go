package entra_test

import (
	"context"
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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// watch runs Watch until the end of the test.
func (h *house) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { h.mint.Watch(ctx, h.cache.Changed) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// fingerprint is how the emulator names a secret.
func fingerprint(s string) emulator.TokenRequest {
	return emulator.TokenRequest{Credential: "secret:" + fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:8]}
}

func TestSecretFileIsReplacedUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, password+"\n")
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 5, entra.Registration{ClientID: clientID, SecretFile: file})
		h.watch(t)
		load := func(d time.Duration) {
			t.Helper()
			for began := time.Now(); time.Since(began) < d; time.Sleep(50 * time.Millisecond) {
				for i := range 4 {
					mustNotWait(t, h.source(i))
				}
			}
		}
		for i := range 4 {
			token(t, h.source(i))
		}
		load(time.Second)
		const next = "n3xt-canary"
		h.Entra().SetSecret(clientID, next, false)
		write(t, file, next)
		load(time.Second)
		if n := h.Entra().TokenRequests(fingerprint(next)); n != 1 {
			t.Errorf("%d requests with the new secret within a second", n)
		}
		h.Entra().RemoveSecret(clientID, password)
		load(3 * time.Hour / 60)
		if !strings.Contains(h.log.String(), `"credential":"secret"`) {
			t.Errorf("the log does not say which one worked:\n%s", h.log)
		}
		token(t, h.source(4))
	})
}

// A slip in the file loses no call: what is held serves, and what worked before
// is tried last.
func TestWrongSecretFileLosesNoCall(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, password)
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 5, entra.Registration{ClientID: clientID, SecretFile: file})
		h.watch(t)
		token(t, h.source(0))
		for i, content := range []string{"typo", "", "\n", "-"} {
			write(t, file, content)
			if content == "-" {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			mustNotWait(t, h.source(0))
			token(t, h.source(i+1))
		}
		log := h.log.String()
		if !strings.Contains(log, `"credential":"former secret"`) || !strings.Contains(log, "cannot be used; the former one stays") {
			t.Errorf("the log does not say so:\n%s", log)
		}
	})
}

func TestRightSecretEndsTheBreakAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "typo")
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{ClientID: clientID, SecretFile: file})
		h.watch(t)
		refusal(t, h.source(0), entra.Credential)
		write(t, file, password)
		time.Sleep(time.Second)
		token(t, h.source(0))
	})
}

func TestEitherSecretServesDuringARotation(t *testing.T) {
	const next = "n3xt-canary"
	both := entra.Registration{ClientID: clientID, Secret: secret.New(password), SecretNext: secret.New(next)}
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 4, both)
		token(t, h.source(0))
		if !strings.Contains(h.log.String(), `"credential":"secret"`) {
			t.Errorf("which one?\n%s", h.log)
		}
		h.Entra().SetSecret(clientID, next, false)
		h.Entra().RemoveSecret(clientID, password)
		token(t, h.source(1))
		if !strings.Contains(h.log.String(), `"credential":"next secret"`) {
			t.Errorf("which one?\n%s", h.log)
		}
		before := h.requests()
		token(t, h.source(2)) // and from now on that one first
		if n := h.requests(); n != before+1 {
			t.Errorf("%d requests", n-before)
		}
		h.Entra().SetSecret(clientID, password, false)
		h.Entra().RemoveSecret(clientID, next)
		token(t, h.source(3))
	})
}

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

func TestCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.pem")
	until := time.Now().AddDate(1, 0, 0).Truncate(time.Second)
	key, cert := identity(t, until)
	_, stranger := identity(t, until)
	for name, content := range map[string]string{
		"certificate first": block("CERTIFICATE", cert.Raw) + pkcs8(t, key),
		"PKCS #1 first":     block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)) + block("CERTIFICATE", cert.Raw),
		"with a chain":      block("CERTIFICATE", stranger.Raw) + pkcs8(t, key) + block("CERTIFICATE", cert.Raw),
	} {
		write(t, file, content)
		h := open(t, 1, entra.Registration{ClientID: clientID, CertificateFile: file})
		app := emulator.App{ClientID: "22222222-2222-4222-8222-222222222222", Certificates: []*x509.Certificate{cert}}
		if err := h.Entra().AddApp(app); err != nil {
			t.Fatal(err)
		}
		target := h.target(0)
		target.ClientID = app.ClientID
		h.Entra().Consent(target.TenantID, app.ClientID)
		// The emulator takes PS256 with x5t#S256 only.
		if how := claimsOf(t, token(t, h.cache.Source(target))).How; how != "2" {
			t.Errorf("%s: signed in by %q", name, how)
		}
		if e := h.mint.Expiries(); len(e) != 1 || !e[0].At.Equal(until) || e[0].Credential != "certificate" {
			t.Errorf("%s: %v", name, e)
		}
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
		"PFX":               {"\x30\x82\x0a\x01", "openssl pkcs12 -in app.pfx -nodes -out app.pem"},
		"empty":             {"", "openssl pkcs12"},
		"ECDSA in PKCS #8":  {certPEM + pkcs8(t, curve), "openssl req -x509 -newkey rsa:2048"},
		"ECDSA":             {certPEM + block("EC PRIVATE KEY", sec1), "openssl req -x509 -newkey rsa:2048"},
		"encrypted":         {certPEM + block("ENCRYPTED PRIVATE KEY", []byte("x")), "openssl pkey -in app.pem"},
		"encrypted of old":  {certPEM + old, "openssl pkey -in app.pem"},
		"no key":            {certPEM, "no key"},
		"no certificate":    {pkcs8(t, key), "no certificate"},
		"foreign key":       {certPEM + pkcs8(t, other), "do not belong together"},
		"two keys":          {certPEM + pkcs8(t, key) + pkcs8(t, other), "two keys"},
		"broken key":        {certPEM + block("PRIVATE KEY", []byte("x")), "broken"},
		"broken certifcate": {block("CERTIFICATE", []byte("x")) + pkcs8(t, key), "broken"},
	} {
		file := filepath.Join(dir, "app.pem")
		write(t, file, c.content)
		_, err := entra.NewMint(nil, zerolog.Nop()).Register(entra.Registration{ClientID: clientID, CertificateFile: file})
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

// federate lets a foreign issuer's subject act as an app of the house, which
// it returns a Source of, and a way to get the issuer's tokens.
func federate(t *testing.T, h *house) (*entra.Source, func() string) {
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
		if e := refusal(t, s, entra.Credential); e.RetryAfter > 10*time.Second || !strings.Contains(e.Error(), "federated token file") {
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

func TestEndsOfCredentialsAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		end := time.Now().Add(40*24*time.Hour + 12*time.Hour)
		h.mint.SecretExpires(h.identity, end)
		if e := h.mint.Expiries(); len(e) != 1 || !e[0].At.Equal(end) || e[0].ClientID != clientID || e[0].Credential != "secret" {
			t.Errorf("%v", e)
		}
		var days []int
		for seen := 0; time.Since(end) < 0; {
			// In pieces, since Watch looks at files some three times a second.
			time.Sleep(6*time.Hour - time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			h.mint.Watch(ctx, h.cache.Changed)
			cancel()
			lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
			for _, line := range lines[seen:] {
				var said struct {
					Days int
					Ends time.Time
				}
				if line == "" {
					continue
				}
				if err := json.Unmarshal([]byte(line), &said); err != nil {
					t.Fatal(err)
				}
				days = append(days, said.Days)
				seen++
			}
		}
		h.watch(t)
		time.Sleep(2 * time.Hour)
		if fmt.Sprint(days) != "[30 14 7 1]" {
			t.Errorf("warned with %v days left", days)
		}
		if n := strings.Count(h.log.String(), "has ended"); n != 1 {
			t.Errorf("the end was told %d times", n)
		}
	})
}

// Whatever happens, no secret, assertion or token is to be read anywhere.
func TestNothingSecretIsPrinted(t *testing.T) {
	dir := t.TempDir()
	file, federated := filepath.Join(dir, "secret"), filepath.Join(dir, "token")
	const next = "n3xt-canary"
	write(t, file, password)
	var printed safeBuffer
	var secrets []string
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 2, entra.Registration{ClientID: clientID, SecretFile: file, SecretNext: secret.New(next)})
		h.cache.Observe = func(target entra.Target, _ time.Duration, failed *entra.Error) {
			fmt.Fprintf(&printed, "%+v %+v\n", target, failed)
		}
		h.Entra().SetTokenLife(10*time.Minute, 0)
		h.watch(t)
		s := h.source(0)
		call := func() {
			header, err := s.Token(t.Context())
			if err == nil {
				secrets = append(secrets, strings.TrimPrefix(header, "Bearer "))
			}
			fmt.Fprintf(&printed, "%v %+v %#v\n", err, err, err)
			expires, failed := s.Held()
			fmt.Fprintf(&printed, "%v %+v %+v\n", expires, failed, h.mint.Expiries())
		}
		call()
		for _, kind := range []emulator.FaultKind{emulator.HTML, emulator.Empty, emulator.Truncated, emulator.WrongTokenType, emulator.Down} {
			h.strike(t, emulator.Fault{Kind: kind, Times: 7})
			time.Sleep(11 * time.Minute)
			call()
			time.Sleep(2 * time.Minute)
			call()
		}
		h.Entra().Heal()
		h.Entra().RemoveSecret(clientID, password)
		write(t, file, "s0me-canary")
		time.Sleep(11 * time.Minute)
		call()
		fs, issue := federate(t, h)
		target := fs.Target()
		target.Credential, _ = h.mint.Register(entra.Registration{ClientID: target.ClientID, FederatedTokenFile: federated})
		assertion := issue()
		write(t, federated, assertion)
		secrets = append(secrets, assertion)
		s = h.cache.Source(target)
		call()
		write(t, federated, assertion[:len(assertion)-9]+"canary")
		time.Sleep(11 * time.Minute)
		call()
		fmt.Fprint(&printed, h.log)
	})
	if len(secrets) < 6 || len(printed.String()) < 2000 {
		t.Fatalf("%d secrets, %d bytes: the story was not told", len(secrets), len(printed.String()))
	}
	for _, s := range append(secrets, password, next, "canary", "s0me-canary", "eyJ") {
		if strings.Contains(printed.String(), s) {
			t.Errorf("%q was printed", s)
		}
	}
}
