package main

import (
	"errors"
	"fmt"

	"dynproxy/consent"
	"dynproxy/internal/envfile"
	"dynproxy/internal/textfile"
)

// linkKey returns what signs links of consent. It is the same in every proxy
// and command of the same settings, so that a link may be printed here and
// answered there: LINK_KEY_FILE, else a key that is made once and kept in
// STATE_DIR if that can be written, else one derived from the app's secret. lasting is false where
// there is none of these, and the key ends with this process.
func linkKey(cfg *config) (key consent.Key, lasting bool, err error) {
	from := func(setting string, read func(string) (consent.Key, error), path string) (consent.Key, bool, error) {
		key, err := read(path)
		if errors.Is(err, consent.ErrNotKept) {
			return key, false, err
		}
		if err != nil {
			return key, false, envfile.Faults{{Variable: prefix + setting, Cure: fmt.Sprintf("cannot be used: %v", err)}}
		}
		return key, true, nil
	}
	switch {
	case cfg.LinkKeyFile != "":
		return from("LINK_KEY_FILE", consent.ReadKey, cfg.LinkKeyFile)
	case cfg.StateDir != "":
		key, lasting, err := from("STATE_DIR", consent.KeptKey, cfg.StateDir)
		if !errors.Is(err, consent.ErrNotKept) {
			return key, lasting, err
		}
		// The start tells of it, and calls must not fail.
	}
	for _, file := range []string{cfg.registration.CertificateFile, cfg.registration.SecretFile} {
		if file == "" {
			continue
		}
		if text, err := textfile.ReadSecret(file); err == nil {
			return consent.NewKey(text), true, nil
		}
	}
	secret := cfg.registration.Secret
	return consent.NewKey([]byte(secret.Reveal())), !secret.Empty(), nil
}
