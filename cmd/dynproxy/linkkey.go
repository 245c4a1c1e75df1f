package main

import (
	"os"

	"dynproxy/consent"
	"dynproxy/tenants"
)

// consentKey is the same in every proxy and command of one registration, so
// that a link may be printed here and answered there.
func consentKey(r tenants.Registration) consent.Key {
	for _, file := range []string{r.CertificateFile, r.SecretFile} {
		if file != "" {
			if text, err := os.ReadFile(file); err == nil {
				return consent.NewKey(text)
			}
		}
	}
	return consent.NewKey([]byte(r.Secret.Reveal()))
}
