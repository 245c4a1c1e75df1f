package tenants

import (
	"strings"

	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
)

// Registration is an app registration and its credential, as the settings
// give it: of Secret, SecretFile, CertificateFile, FederatedTokenFile and
// ManagedIdentity one is used. SecretNext and SecretNextFile go with a secret.
type Registration struct {
	ClientID                string
	Secret                  secret.Text
	SecretFile              string
	SecretNext              secret.Text
	SecretNextFile          string
	CertificateFile         string
	CertificatePasswordFile string // for a PFX that has one
	FederatedTokenFile      string
	ManagedIdentity         string
}

// Credentials are the settings of a Registration. The same ones name the
// proxy's own registration and that of a tenant.
type Credentials struct {
	ClientID                      string      `env:"CLIENT_ID"`
	ClientSecret                  secret.Text `env:"CLIENT_SECRET"`
	ClientSecretFile              string      `env:"CLIENT_SECRET_FILE"`
	ClientSecretNext              secret.Text `env:"CLIENT_SECRET_NEXT"`
	ClientSecretNextFile          string      `env:"CLIENT_SECRET_NEXT_FILE"`
	ClientCertificateFile         string      `env:"CLIENT_CERTIFICATE_FILE"`
	ClientCertificatePasswordFile string      `env:"CLIENT_CERTIFICATE_PASSWORD_FILE"`
	FederatedTokenFile            string      `env:"FEDERATED_TOKEN_FILE"`
	ManagedIdentity               string      `env:"MANAGED_IDENTITY"`
}

// systemIdentity names the managed identity that a machine itself has.
const systemIdentity = "system"

// Registration checks that the credentials name one way to prove the app's
// identity and no more, and returns them. Without any it is the empty
// Registration.
func (c Credentials) Registration(prefix string, faults *envfile.Faults) Registration {
	type way struct {
		variable string
		set      bool
	}
	var used []string
	for _, w := range []way{
		{"CLIENT_SECRET", !c.ClientSecret.Empty()}, {"CLIENT_SECRET_FILE", c.ClientSecretFile != ""},
		{"CLIENT_CERTIFICATE_FILE", c.ClientCertificateFile != ""}, {"FEDERATED_TOKEN_FILE", c.FederatedTokenFile != ""},
		{"MANAGED_IDENTITY", c.ManagedIdentity != ""},
	} {
		if w.set {
			used = append(used, prefix+w.variable)
		}
	}
	if len(used) > 1 {
		faults.Add(strings.Join(used, " and "), "exclude each other: set one")
	}
	for _, s := range []struct {
		variable string
		value    secret.Text
	}{{"CLIENT_SECRET", c.ClientSecret}, {"CLIENT_SECRET_NEXT", c.ClientSecretNext}} {
		if err := secret.CheckAppSecret(s.value); err != nil {
			faults.Add(prefix+s.variable, "%v", err)
		}
	}
	next := !c.ClientSecretNext.Empty() || c.ClientSecretNextFile != ""
	if next && c.ClientSecret.Empty() && c.ClientSecretFile == "" {
		variable := "CLIENT_SECRET_NEXT"
		if c.ClientSecretNext.Empty() {
			variable = "CLIENT_SECRET_NEXT_FILE"
		}
		faults.Add(prefix+variable, "goes with a secret: set %sCLIENT_SECRET or %sCLIENT_SECRET_FILE too", prefix, prefix)
	}
	if c.ClientCertificatePasswordFile != "" && c.ClientCertificateFile == "" {
		faults.Add(prefix+"CLIENT_CERTIFICATE_PASSWORD_FILE", "goes with a certificate: set %sCLIENT_CERTIFICATE_FILE too", prefix)
	}
	if strings.EqualFold(c.ManagedIdentity, systemIdentity) {
		c.ManagedIdentity = systemIdentity
	} else if id := c.ManagedIdentity; id != "" && !guidPattern.MatchString(id) {
		faults.Add(prefix+"MANAGED_IDENTITY", "must be system, or the client id of a managed identity of this machine, a GUID")
	}
	switch {
	case c.ClientID == "":
	case secret.Placeholder(c.ClientID):
		faults.Add(prefix+"CLIENT_ID", "is still the example's; put the application (client) id of your app registration there, a GUID")
	case !idPattern.MatchString(c.ClientID):
		faults.Add(prefix+"CLIENT_ID", "must be the application (client) id of the app registration, a GUID")
	}
	if c.ClientID != "" && len(used) == 0 {
		faults.Add(prefix+"CLIENT_SECRET", "is missing: set it, or one of CLIENT_SECRET_FILE, CLIENT_CERTIFICATE_FILE, FEDERATED_TOKEN_FILE, MANAGED_IDENTITY")
	}
	return Registration{
		ClientID: c.ClientID, Secret: c.ClientSecret, SecretFile: c.ClientSecretFile,
		SecretNext: c.ClientSecretNext, SecretNextFile: c.ClientSecretNextFile,
		CertificateFile: c.ClientCertificateFile, CertificatePasswordFile: c.ClientCertificatePasswordFile,
		FederatedTokenFile: c.FederatedTokenFile, ManagedIdentity: c.ManagedIdentity,
	}
}
