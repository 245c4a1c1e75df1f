package door

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issued is a certificate, its key, and both as text.
type issued struct {
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	text, own string
}

func issue(t *testing.T, name string, by *issued) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made := &issued{key: key, text: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	made.cert, _ = x509.ParseCertificate(der)
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	made.own = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return made
}

// A chain is shown from the key's own certificate to its root, in whichever
// order the file has it, and in the binary form of Windows too.
func TestAChainIsShownInItsOrder(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	root := issue(t, "root", nil)
	middle := issue(t, "middle", root)
	leaf := issue(t, "leaf", middle)
	all := []string{leaf.text, middle.text, root.text}
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		text := leaf.own // in the same file, first
		for _, i := range order {
			text += all[i]
		}
		os.WriteFile(certFile, []byte(text), 0o600)
		pair, err := readPair(certFile, certFile)
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, der := range pair.Certificate {
			c, _ := x509.ParseCertificate(der)
			shown = append(shown, c.Subject.CommonName)
		}
		if strings.Join(shown, " ") != "leaf middle root" {
			t.Errorf("of %v: %v", order, shown)
		}
	}
	os.WriteFile(certFile, leaf.cert.Raw, 0o600)
	os.WriteFile(keyFile, []byte(leaf.own), 0o600)
	if _, err := readPair(certFile, keyFile); err != nil {
		t.Errorf("the binary form: %v", err)
	}
}

func TestAPairThatCannotBeUsedNamesTheCure(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	one, other := issue(t, "one", nil), issue(t, "other", nil)
	for name, c := range map[string]struct{ cert, key, want string }{
		"another's key":      {one.text, other.own, keyFile + " does not fit a certificate in " + certFile},
		"an encrypted key":   {one.text, strings.ReplaceAll(one.own, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "openssl pkey"},
		"encrypted of old":   {one.text, strings.Replace(one.own, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1), "openssl pkey"},
		"no key":             {one.text, one.text, keyFile + " holds no private key"},
		"no certificate":     {one.own, one.own, certFile + " cannot be used: it holds no certificate"},
		"a PFX":              {"\x30\x82\x0a\x01\x00", one.own, "it holds no PEM block"},
		"a request":          {strings.ReplaceAll(one.text, "CERTIFICATE", "CERTIFICATE REQUEST"), one.own, "is a CERTIFICATE REQUEST"},
		"a key that is none": {one.text, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "does not fit"},
	} {
		os.WriteFile(certFile, []byte(c.cert), 0o600)
		os.WriteFile(keyFile, []byte(c.key), 0o600)
		if _, err := readPair(certFile, keyFile); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}
