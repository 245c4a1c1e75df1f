package entra_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/entra"
	"dynproxy/internal/needs"
)

// pfx has openssl make a PFX of what stands in the PEM file at path.
func pfx(t *testing.T, path string, options ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "app.pfx")
	said, err := exec.Command("openssl", append([]string{"pkcs12", "-export", "-in", path, "-out", out}, options...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return out
}

// A PFX is taken as Windows exports it, with the ciphers of old and of new
// versions, with the chain, and as Azure Key Vault hands it out.
func TestAPFXIsTakenAsItIs(t *testing.T) {
	needs.Tool(t, "openssl")
	dir := t.TempDir()
	until := time.Now().AddDate(1, 0, 0).Truncate(time.Second)
	key, cert := identity(t, until)
	_, authority := identity(t, until)
	pem := filepath.Join(dir, "app.pem")
	write(t, pem, block("CERTIFICATE", cert.Raw)+pkcs8(t, key))
	chain := filepath.Join(dir, "chain.pem")
	write(t, chain, block("CERTIFICATE", authority.Raw))
	password := filepath.Join(dir, "password")
	write(t, password, "p@ss wörd\r\n")
	const pass = "-passout=pass:p@ss wörd"
	old := []string{"-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40", "-macalg", "sha1"}
	given := strings.Split(pass, "=")
	bare := []string{"-passout", "pass:"}
	vault := filepath.Join(dir, "vault.pfx")
	plain, err := os.ReadFile(pfx(t, pem, bare...))
	if err != nil {
		t.Fatal(err)
	}
	write(t, vault, base64.StdEncoding.EncodeToString(plain)+"\r\n")
	for name, r := range map[string]entra.Registration{
		"of now":            {CertificateFile: pfx(t, pem, given...), CertificatePasswordFile: password},
		"of old Windows":    {CertificateFile: pfx(t, pem, append(old, given...)...), CertificatePasswordFile: password},
		"3DES for both":     {CertificateFile: pfx(t, pem, append([]string{"-legacy", "-descert", "-macalg", "sha1"}, given...)...), CertificatePasswordFile: password},
		"with its chain":    {CertificateFile: pfx(t, pem, append([]string{"-certfile", chain}, given...)...), CertificatePasswordFile: password},
		"without password":  {CertificateFile: pfx(t, pem, bare...)},
		"of old, without":   {CertificateFile: pfx(t, pem, append(old, bare...)...)},
		"of Key Vault":      {CertificateFile: vault},
		"PEM, and password": {CertificateFile: pem, CertificatePasswordFile: password},
	} {
		r.ClientID = clientID
		h := open(t, 1, r)
		if how := signedIn(t, h, cert); how != "2" {
			t.Errorf("%s: signed in by %q", name, how)
		}
		if e := h.mint.Expiries(); len(e) != 1 || !e[0].At.Equal(until) {
			t.Errorf("%s: ends %v", name, e)
		}
	}
}

func TestAPFXThatCannotBeUsedNamesTheCure(t *testing.T) {
	needs.Tool(t, "openssl")
	dir := t.TempDir()
	key, cert := identity(t, time.Now().Add(time.Hour))
	pem, password := filepath.Join(dir, "app.pem"), filepath.Join(dir, "password")
	write(t, pem, block("CERTIFICATE", cert.Raw)+pkcs8(t, key))
	write(t, password, "another")
	locked := pfx(t, pem, "-passout", "pass:s3cret")
	whole, err := os.ReadFile(locked)
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, "torn.pfx")
	write(t, torn, string(whole[:len(whole)/2]))
	for name, c := range map[string]struct {
		r    entra.Registration
		says string
	}{
		"no password":      {entra.Registration{CertificateFile: locked}, "it has a password; put that into a file"},
		"another password": {entra.Registration{CertificateFile: locked, CertificatePasswordFile: password}, "its password is another"},
		"no password file": {entra.Registration{CertificateFile: locked, CertificatePasswordFile: filepath.Join(dir, "none")}, "none cannot be read"},
		"without its key":  {entra.Registration{CertificateFile: pfx(t, pem, "-nokeys", "-passout", "pass:")}, "export it again with the private key"},
		"torn":             {entra.Registration{CertificateFile: torn}, "export it again"},
	} {
		c.r.ClientID = clientID
		_, err := entra.NewTokenClient(nil, zerolog.Nop()).Register(c.r)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
