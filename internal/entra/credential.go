package entra

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"dynproxy/internal/secret"
	"dynproxy/internal/textfile"
)

// credential is one way in which a registration proves itself now.
type credential struct {
	name    string // for the log
	id      string // tells one content from another
	shown   confidential.Credential
	expires time.Time // of a certificate
	private []byte    // what only those who have it know; nil where that is new each time
}

// nextSecret names the second secret of a rotation.
const nextSecret = "next secret"

// exchangeAudience is what a managed identity's token must be for, to stand in
// for a secret.
const exchangeAudience = "api://AzureADTokenExchange"

// assertionAgain is when to look again for an assertion that was not there.
const assertionAgain = 5 * time.Second

// credentials reads what the registration has to show at this moment, the one to
// try first in front.
func (r Registration) credentials() ([]credential, error) {
	switch {
	case r.CertificateFile != "":
		p, err := r.certificate()
		if err != nil {
			return nil, err
		}
		return []credential{p}, nil
	case r.FederatedTokenFile != "":
		return []credential{{name: "federated token", shown: confidential.NewCredFromAssertionCallback(r.federated)}}, nil
	case r.ManagedIdentity != "":
		return []credential{{name: "managed identity", shown: confidential.NewCredFromAssertionCallback(r.managed)}}, nil
	}
	return r.secrets()
}

func (r Registration) secrets() ([]credential, error) {
	current, err := secretOf(r.Secret, r.SecretFile)
	next, nextErr := secretOf(r.SecretNext, r.SecretNextFile)
	var found []credential
	for _, s := range []struct {
		name string
		text secret.Text
	}{{"secret", current}, {nextSecret, next}} {
		if s.text.Empty() || len(found) > 0 && found[0].id == s.text.Fingerprint() {
			continue
		}
		shown, err := confidential.NewCredFromSecret(s.text.Reveal())
		if err != nil {
			return nil, errors.New("the secret cannot be used")
		}
		found = append(found, credential{name: s.name, id: s.text.Fingerprint(), shown: shown, private: []byte(s.text.Reveal())})
	}
	if len(found) > 0 {
		return found, nil
	}
	if err := cmp.Or(err, nextErr); err != nil {
		return nil, err
	}
	return nil, errors.New("there is no secret")
}

// secretOf returns text, or the secret in file.
func secretOf(text secret.Text, file string) (secret.Text, error) {
	if file == "" {
		return text, nil
	}
	text, err := secret.ReadFile(file)
	if err != nil {
		return secret.Text{}, err
	}
	if err := secret.CheckAppSecret(text); err != nil {
		return secret.Text{}, fmt.Errorf(contentOf+"%s %w", file, err)
	}
	return text, nil
}

func (r Registration) certificate() (credential, error) {
	certs, key, err := r.readCertificate()
	if err != nil {
		return credential{}, err
	}
	leaf := leafOf(certs, key)
	if leaf == nil {
		return credential{}, fmt.Errorf("%s: certificate and key do not belong together", r.CertificateFile)
	}
	shown, err := confidential.NewCredFromCert(certs, key)
	if err != nil {
		return credential{}, fmt.Errorf("%s: certificate and key cannot be used", r.CertificateFile)
	}
	sum := sha256.Sum256(leaf.Raw)
	return credential{name: "certificate", id: hex.EncodeToString(sum[:8]), shown: shown, expires: leaf.NotAfter, private: x509.MarshalPKCS1PrivateKey(key)}, nil
}

// readCertificate reads certificates and key from a file of either form.
func (r Registration) readCertificate() ([]*x509.Certificate, *rsa.PrivateKey, error) {
	content, err := textfile.ReadPEM(r.CertificateFile)
	if errors.Is(err, textfile.ErrNoPEM) {
		return r.readPFX()
	}
	if err != nil {
		return nil, nil, err
	}
	certs, key, err := readPEM(content)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.CertificateFile, err)
	}
	return certs, key, nil
}

// federated reads the assertion anew each time: whoever writes the file renews
// it more often than we mint.
func (r Registration) federated(context.Context, confidential.AssertionRequestOptions) (string, error) {
	token, err := secret.ReadFile(r.FederatedTokenFile)
	if err != nil {
		return "", &Error{
			Class: Credential, RetryAfter: assertionAgain, Reason: r.named(err),
			Cure: "Name the file into which the platform writes the token, and let this program read it; it is read anew for each token.",
		}
	}
	return token.Reveal(), nil
}

// managed gets an assertion from the platform that we run on. That is asked
// directly: its address is the machine's own, and no egress proxy leads there.
func (r Registration) managed(ctx context.Context, _ confidential.AssertionRequestOptions) (string, error) {
	var id managedidentity.ID = managedidentity.SystemAssigned()
	if r.ManagedIdentity != "system" {
		id = managedidentity.UserAssignedClientID(r.ManagedIdentity)
	}
	direct := &http.Transport{DisableKeepAlives: true}
	client, err := managedidentity.New(id, managedidentity.WithHTTPClient(&http.Client{Transport: direct, Timeout: answerWithin}))
	if err != nil {
		return "", &Error{Class: Credential, Reason: noSuchIdentity, Cure: anIdentity}
	}
	got, err := client.AcquireToken(ctx, exchangeAudience)
	if err != nil {
		return "", noIdentity(err)
	}
	return got.AccessToken, nil
}

const noSuchIdentity = "this machine has no such managed identity"

// anIdentity is what to do where the platform has no managed identity for us.
const anIdentity = "Give this machine the managed identity that MANAGED_IDENTITY names. Outside of Azure there is none: set a secret, a certificate or FEDERATED_TOKEN_FILE in its place."

// noIdentity says why the platform gives no managed identity's token. What MSAL
// says of it may quote what was asked and answered.
func noIdentity(err error) *Error {
	failed := &Error{Class: Transient, RetryAfter: assertionAgain}
	answer, answered := errors.AsType[msal.CallErr](err)
	switch {
	case !answered:
		failed.Reason, failed.Cure, failed.Err = "this machine's platform gives out no managed identity", anIdentity, plain(err)
	case answer.Resp.StatusCode == http.StatusBadRequest:
		failed.Class, failed.Reason, failed.Cure = Credential, noSuchIdentity, anIdentity
	default:
		failed.Reason = fmt.Sprintf("this machine's platform answers with status %d in place of a managed identity's token", answer.Resp.StatusCode)
	}
	return failed
}

// file is one whose content is the credential, or a part of it.
type file struct{ setting, path string }

func (r Registration) files() []file {
	return slices.DeleteFunc([]file{
		{"CLIENT_SECRET_FILE", r.SecretFile}, {"CLIENT_SECRET_NEXT_FILE", r.SecretNextFile},
		{"CLIENT_CERTIFICATE_FILE", r.CertificateFile}, {"CLIENT_CERTIFICATE_PASSWORD_FILE", r.CertificatePasswordFile},
		{"FEDERATED_TOKEN_FILE", r.FederatedTokenFile},
	}, func(f file) bool { return f.path == "" })
}

// named is what err says of one of the files, in words for callers too: the
// setting stands in place of the path.
func (r Registration) named(err error) string {
	text := err.Error()
	for _, f := range r.files() {
		for _, before := range []string{"", contentOf} {
			if fault, is := strings.CutPrefix(text, before+f.path); is && strings.IndexAny(fault, " :") == 0 {
				return before + f.setting + fault
			}
		}
	}
	return text
}

// contentOf begins what is said of a file's content, before its path.
const contentOf = "the content of "
