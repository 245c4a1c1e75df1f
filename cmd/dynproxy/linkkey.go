package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dynproxy/consent"
	"dynproxy/internal/envfile"
	"dynproxy/internal/textfile"
)

const (
	linkKeyName  = "link.key" // in STATE_DIR
	shortestLink = 16         // bytes of a link key that is worth the name
)

// linkKey returns what signs links of consent. It is the same in every proxy
// and command of the same settings, so that a link may be printed here and
// answered there: LINK_KEY_FILE, else a key that is made once and kept in
// STATE_DIR, else one derived from the app's secret. lasting is false where
// there is none of these, and the key ends with this process.
func linkKey(cfg *config) (key consent.Key, lasting bool, err error) {
	fault := func(name string, err error) error {
		return envfile.Faults{{Variable: prefix + name, Cure: fmt.Sprintf("cannot be used: %v", err)}}
	}
	switch {
	case cfg.LinkKeyFile != "":
		text, err := readLinkKey(cfg.LinkKeyFile)
		if err != nil {
			return key, false, fault("LINK_KEY_FILE", err)
		}
		return consent.NewKey(text), true, nil
	case cfg.StateDir != "":
		text, err := keptLinkKey(cfg.StateDir)
		if err != nil {
			return key, false, fault("STATE_DIR", err)
		}
		return consent.NewKey(text), true, nil
	}
	for _, file := range []string{cfg.registration.CertificateFile, cfg.registration.SecretFile} {
		if file == "" {
			continue
		}
		if text, err := textfile.ReadRaw(file); err == nil {
			return consent.NewKey(text), true, nil
		}
	}
	secret := cfg.registration.Secret
	return consent.NewKey([]byte(secret.Reveal())), !secret.Empty(), nil
}

func readLinkKey(path string) ([]byte, error) {
	text, err := textfile.Read(path)
	if err != nil {
		return nil, err
	}
	if text = bytes.TrimSpace(text); len(text) < shortestLink {
		return nil, fmt.Errorf("%s holds fewer than %d characters; make it with: openssl rand -base64 32", path, shortestLink)
	}
	return text, nil
}

// keptLinkKey reads the key that is kept in dir, or makes it. Of several
// processes that make one at the same time all get the same.
func keptLinkKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, linkKeyName)
	text, err := readLinkKey(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	whole, err := os.CreateTemp(dir, ".link-*") // for its owner alone
	if err != nil {
		return nil, err
	}
	defer os.Remove(whole.Name())
	_, err = whole.WriteString(rand.Text() + rand.Text() + "\n")
	if err = errors.Join(err, whole.Sync(), whole.Close()); err != nil {
		return nil, err
	}
	// Unlike a rename, a link replaces nothing.
	if err := os.Link(whole.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readLinkKey(path)
}
