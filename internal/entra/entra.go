// Package entra gets app-only tokens from Microsoft Entra ID and keeps them
// ready. MSAL mints them (this package is its only importer); what is known of
// a token is remembered here and nowhere else.
package entra

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"dynproxy/internal/secret"
)

// Target names one token. It is comparable and carries all that tells two
// tokens apart, so that no look-up can forget the tenant.
type Target struct {
	Login      string // host[:port] of the login service
	TenantID   string
	ClientID   string
	Resource   string // origin of the organization: https://contoso.crm.dynamics.com
	Credential string // Registration.Identity
}

// Token is an access token, ready to be sent.
type Token struct {
	Header  string    // "Bearer ...", the value of an Authorization header
	Expires time.Time // its true end
	Refresh time.Time // when Entra ID wants it renewed; zero if it does not say
}

// Registration is an app registration and the way in which it proves who it
// is: one of Secret, SecretFile, CertificateFile, FederatedTokenFile and
// ManagedIdentity. Beside a secret there may be a next one. Files are read at
// every mint; what they held last serves while they cannot be read.
type Registration struct {
	ClientID                string
	Secret                  secret.Text
	SecretFile              string
	SecretNext              secret.Text
	SecretNextFile          string
	CertificateFile         string // PEM or PFX, with an RSA key
	CertificatePasswordFile string // for a PFX that has one
	FederatedTokenFile      string
	ManagedIdentity         string // "system", or the client id of a user-assigned one
}

// Identity tells registrations apart. It does not change when the content of a
// file does: tokens outlive the secret that they were got with.
func (r Registration) Identity() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		r.ClientID, r.Secret.Reveal(), r.SecretNext.Reveal(), r.SecretFile, r.SecretNextFile,
		r.CertificateFile, r.CertificatePasswordFile, r.FederatedTokenFile, r.ManagedIdentity,
	}, "\x00")))
	return hex.EncodeToString(sum[:8])
}
