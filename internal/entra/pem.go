package entra

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// What to do, by what is wrong with a certificate file.
const (
	curePFX       = "a PFX can be given as it is, its password in the file that CLIENT_CERTIFICATE_PASSWORD_FILE names"
	cureEncrypted = "(openssl pkey -in app.pem && openssl x509 -in app.pem) > plain.pem; or give a PFX: " + curePFX
	cureNotRSA    = "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=dynproxy -keyout key.pem -out cert.pem && cat cert.pem key.pem > app.pem"
)

var (
	errNeitherForm = errors.New("neither a PEM nor a PFX file; export certificate and key again: " + curePFX)
	errEncrypted   = errors.New("the key is encrypted; make a file without a password: " + cureEncrypted)
	errNotRSA      = errors.New("the key is not an RSA key, and Entra ID takes no other; make one and register its certificate: " + cureNotRSA)
	errNoCert      = errors.New("there is a key but no certificate; put both into the file; " + curePFX)
	errNoKey       = errors.New("there is a certificate but no key; put both into the file; " + curePFX)
	errTwoKeys     = errors.New("there are two keys; keep the one that belongs to the certificate")
	errBroken      = errors.New("the key or the certificate is broken; make the file anew; " + curePFX)
)

// readPEM reads certificates and the RSA key of one of them, in any order, and
// says how to make a file that can be used of one that cannot.
func readPEM(content []byte) ([]*x509.Certificate, *rsa.PrivateKey, error) {
	var certs []*x509.Certificate
	var key *rsa.PrivateKey
	blocks, other := 0, ""
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if block.Type == "CERTIFICATE" || block.Type == "X509 CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, errBroken
			}
			certs = append(certs, cert)
			continue
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			if !strings.HasSuffix(block.Type, "PARAMETERS") {
				other = block.Type
			}
			continue
		}
		if key != nil {
			return nil, nil, errTwoKeys
		}
		var err error
		if key, err = readKey(block); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case blocks == 0:
		return nil, nil, errNeitherForm
	case other != "" && (key == nil || len(certs) == 0):
		return nil, nil, fmt.Errorf("it holds a %s, which is neither a certificate nor its key; put those into the file; %s", other, curePFX)
	case key == nil:
		return nil, nil, errNoKey
	case len(certs) == 0:
		return nil, nil, errNoCert
	}
	return certs, key, nil
}

func readKey(block *pem.Block) (*rsa.PrivateKey, error) {
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errEncrypted
	case block.Type == "RSA PRIVATE KEY":
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errBroken
		}
		return key, nil
	case block.Type != "PRIVATE KEY":
		return nil, errNotRSA
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errBroken
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, errNotRSA
	}
	return key, nil
}

// leafOf returns the certificate of key, nil without one.
func leafOf(certs []*x509.Certificate, key *rsa.PrivateKey) *x509.Certificate {
	for _, c := range certs {
		if key.PublicKey.Equal(c.PublicKey) {
			return c
		}
	}
	return nil
}
