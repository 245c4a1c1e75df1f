package entra

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"dynproxy/internal/secret"
)

// proof is one way in which a registration proves itself now.
type proof struct {
	name       string // for the log
	credential confidential.Credential
	expires    time.Time // of a certificate
}

// exchangeAudience is what a managed identity's token must be for, to stand in
// for a secret.
const exchangeAudience = "api://AzureADTokenExchange"

// proofs reads what the registration has to show at this moment, the one to
// try first in front.
func (r Registration) proofs() ([]proof, error) {
	switch {
	case r.CertificateFile != "":
		p, err := r.certificate()
		return []proof{p}, err
	case r.FederatedTokenFile != "":
		return []proof{{name: "federated token", credential: confidential.NewCredFromAssertionCallback(r.federated)}}, nil
	case r.ManagedIdentity != "":
		return []proof{{name: "managed identity", credential: confidential.NewCredFromAssertionCallback(r.managed)}}, nil
	}
	current, err := secretOf(r.Secret, r.SecretFile)
	next, nextErr := secretOf(r.SecretNext, r.SecretNextFile)
	var found []proof
	for _, s := range []struct {
		name string
		text secret.Text
	}{{"secret", current}, {"next secret", next}} {
		if s.text.Empty() {
			continue
		}
		credential, err := confidential.NewCredFromSecret(s.text.Reveal())
		if err != nil {
			return nil, errors.New("the secret cannot be used")
		}
		found = append(found, proof{name: s.name, credential: credential})
	}
	if len(found) == 0 {
		return nil, errors.Join(err, nextErr, errors.New("there is no secret"))
	}
	return found, nil
}

// secretOf returns text, or the content of file without its final line break.
func secretOf(text secret.Text, file string) (secret.Text, error) {
	if file == "" {
		return text, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(strings.TrimRight(string(content), "\r\n")), nil
}

func (r Registration) certificate() (proof, error) {
	pem, err := os.ReadFile(r.CertificateFile)
	if err != nil {
		return proof{}, err
	}
	certs, key, err := readPEM(pem)
	if err != nil {
		return proof{}, fmt.Errorf("%s: %w", r.CertificateFile, err)
	}
	credential, err := confidential.NewCredFromCert(certs, key)
	if err != nil {
		return proof{}, fmt.Errorf("%s: certificate and key do not belong together", r.CertificateFile)
	}
	return proof{name: "certificate", credential: credential, expires: leafExpiry(certs, key)}, nil
}

// readPEM reads a certificate and its RSA key, and says how to make a file
// that can be used of one that cannot.
func readPEM(pem []byte) ([]*x509.Certificate, crypto.PrivateKey, error) {
	text := string(pem)
	switch {
	case !strings.Contains(text, "-----BEGIN"):
		return nil, nil, errors.New("not a PEM file; for a PFX: openssl pkcs12 -in app.pfx -nodes -out app.pem")
	case strings.Contains(text, "ENCRYPTED PRIVATE KEY"), strings.Contains(text, "Proc-Type: 4,ENCRYPTED"):
		return nil, nil, errors.New("the key is encrypted; make one that is not: openssl rsa -in app.pem -out key.pem, and put the certificate behind it")
	case strings.Contains(text, "BEGIN EC PRIVATE KEY"):
		return nil, nil, errors.New("only RSA keys are taken by Entra ID; make one: openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout key.pem -out cert.pem")
	}
	certs, key, err := confidential.CertFromPEM(pem, "")
	if err != nil {
		return nil, nil, errors.New("must hold one certificate and its RSA key; for a PFX: openssl pkcs12 -in app.pfx -nodes -out app.pem")
	}
	return certs, key, nil
}

func leafExpiry(certs []*x509.Certificate, key crypto.PrivateKey) time.Time {
	type public interface{ Public() crypto.PublicKey }
	type comparable interface{ Equal(crypto.PublicKey) bool }
	holder, ok := key.(public)
	if !ok {
		return time.Time{}
	}
	for _, c := range certs {
		if k, ok := c.PublicKey.(comparable); ok && k.Equal(holder.Public()) {
			return c.NotAfter
		}
	}
	return time.Time{}
}

func (r Registration) federated(context.Context, confidential.AssertionRequestOptions) (string, error) {
	text, err := os.ReadFile(r.FederatedTokenFile)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(text)), nil
}

func (r Registration) managed(ctx context.Context, _ confidential.AssertionRequestOptions) (string, error) {
	id := managedidentity.SystemAssigned()
	if r.ManagedIdentity != "system" {
		id = managedidentity.UserAssignedClientID(r.ManagedIdentity)
	}
	client, err := managedidentity.New(id)
	if err != nil {
		return "", err
	}
	got, err := client.AcquireToken(ctx, exchangeAudience)
	return got.AccessToken, err
}
