package entra

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"

	"dynproxy/internal/secret"
	"dynproxy/internal/textfile"
)

var (
	errPFXPassword = errors.New("its password is another; put the right one into the file that CLIENT_CERTIFICATE_PASSWORD_FILE names")
	errPFXLocked   = errors.New("it has a password; put that into a file that CLIENT_CERTIFICATE_PASSWORD_FILE names")
	errPFXNoKey    = errors.New("it does not hold one certificate with its key; export it again with the private key")
)

// readPFX reads certificates and the RSA key of one of them from the form in
// which Windows exports (PKCS #12), with the ciphers of old and of new versions.
func (r Registration) readPFX() ([]*x509.Certificate, *rsa.PrivateKey, error) {
	raw, err := textfile.ReadSecret(r.CertificateFile)
	if err != nil {
		return nil, nil, err
	}
	var password secret.Text
	if r.CertificatePasswordFile != "" {
		if password, err = secret.ReadFile(r.CertificatePasswordFile); err != nil {
			return nil, nil, err
		}
	}
	certs, key, err := decodePFX(binary(raw), password.Reveal())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.CertificateFile, err)
	}
	return certs, key, nil
}

// binary undoes base64, in which Azure Key Vault hands a PFX out.
func binary(raw []byte) []byte {
	text, err := textfile.Decode(raw)
	if err != nil {
		return raw
	}
	decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return raw
	}
	return decoded
}

func decodePFX(raw []byte, password string) ([]*x509.Certificate, *rsa.PrivateKey, error) {
	const sequence = 0x30
	if len(raw) == 0 || raw[0] != sequence {
		return nil, nil, errNeitherForm
	}
	found, leaf, others, err := pkcs12.DecodeChain(raw, password)
	var unknown pkcs12.NotImplementedError
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && password == "":
		return nil, nil, errPFXLocked
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, nil, errPFXPassword
	case errors.As(err, &unknown):
		return nil, nil, fmt.Errorf("it is a PFX of a kind that is not known (%w); export it again with AES256-SHA256 or TripleDES-SHA1", unknown)
	case err != nil && !bytes.Contains(raw, pkcs12Data):
		return nil, nil, errNeitherForm
	case err != nil:
		return nil, nil, errPFXNoKey
	}
	key, isRSA := found.(*rsa.PrivateKey)
	if !isRSA {
		return nil, nil, errNotRSA
	}
	return append([]*x509.Certificate{leaf}, others...), key, nil
}

// pkcs12Data is the identifier of what every PFX holds.
var pkcs12Data = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01}
