package door

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"dynproxy/internal/reload"
	"dynproxy/internal/textfile"
)

// Pair is a certificate and its key, read again when their files change.
type Pair struct {
	files *reload.Files[*tls.Certificate]
}

// OpenPair reads the pair.
func OpenPair(cert, key string) (*Pair, error) {
	files, err := reload.Open(func() (*tls.Certificate, error) { return readPair(cert, key) }, cert, key)
	return &Pair{files}, err
}

// readPair reads a chain, in whichever order it stands, and the key of one of
// its certificates.
func readPair(cert, key string) (*tls.Certificate, error) {
	chain, err := textfile.ReadCertificates(cert)
	if err != nil {
		return nil, err
	}
	private, err := textfile.ReadPEM(key)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.Contains(private, []byte("BEGIN ENCRYPTED")), bytes.Contains(private, []byte("Proc-Type: 4,ENCRYPTED")):
		return nil, fmt.Errorf("the key in %s is encrypted; make a file without a password of it: openssl pkey -in app.key -out plain.key", key)
	case !bytes.Contains(private, []byte("PRIVATE KEY-----")):
		return nil, fmt.Errorf("%s holds no private key (-----BEGIN PRIVATE KEY-----)", key)
	}
	var pair tls.Certificate
	for _, leaf := range chain {
		if pair, err = tls.X509KeyPair(chainFrom(leaf, chain), private); err == nil {
			return &pair, nil
		}
	}
	return nil, fmt.Errorf("the key in %s does not fit a certificate in %s: %w", key, cert, err)
}

// chainFrom writes leaf, and behind each certificate its issuer's. What is
// nobody's issuer comes where there is nothing better.
func chainFrom(leaf *x509.Certificate, all []*x509.Certificate) []byte {
	var text []byte
	rest := slices.DeleteFunc(slices.Clone(all), leaf.Equal)
	for c := leaf; ; {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		if len(rest) == 0 {
			return text
		}
		issuer := max(0, slices.IndexFunc(rest, func(r *x509.Certificate) bool { return bytes.Equal(r.RawSubject, c.RawIssuer) }))
		c = rest[issuer]
		rest = slices.Delete(rest, issuer, issuer+1)
	}
}

// Watch is reload.Files.Watch.
func (p *Pair) Watch(ctx context.Context, told func(error)) { p.files.Watch(ctx, told) }

// Config returns how a listener speaks TLS with the pair.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.files.Get(), nil },
	}
}

// Authorities vouch for whoever comes: they are the certificates in a file that
// is read again when it changes. A nil one asks nobody.
type Authorities struct {
	files *reload.Files[*authorities]
}

type authorities struct {
	all []*x509.Certificate
	// handshake asks for certificates of these authorities. Each reading has one
	// of its own, and with it tickets of its own: what an older one let in does
	// not resume under a newer one.
	handshake *tls.Config
}

// OpenAuthorities reads the authorities in file, for connections to which pair
// is shown.
func OpenAuthorities(file string, pair *Pair) (*Authorities, error) {
	files, err := reload.Open(func() (*authorities, error) {
		all, err := textfile.ReadCertificates(file)
		if err != nil {
			return nil, err
		}
		handshake := pair.Config()
		handshake.ClientCAs, handshake.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		for _, a := range all {
			handshake.ClientCAs.AddCert(a)
		}
		return &authorities{all, handshake}, nil
	}, file)
	return &Authorities{files}, err
}

// Watch is reload.Files.Watch.
func (a *Authorities) Watch(ctx context.Context, told func(error)) { a.files.Watch(ctx, told) }

// Ends is when the first of the authorities ends.
func (a *Authorities) Ends() time.Time {
	var first time.Time
	for _, one := range a.files.Get().all {
		if first.IsZero() || one.NotAfter.Before(first) {
			first = one.NotAfter
		}
	}
	return first
}

// Require makes over ask for a certificate of the authorities as they are at
// each handshake.
func (a *Authorities) Require(over *tls.Config) {
	over.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.files.Get().handshake, nil }
}

// Vouched reports whether the caller of a connection is still one that may
// come: connections are kept, and outlive the authority that let them in.
func (a *Authorities) Vouched(state *tls.ConnectionState) bool {
	if a == nil {
		return true
	}
	trusted := a.files.Get().all
	return state != nil && slices.ContainsFunc(state.VerifiedChains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(trusted, chain[len(chain)-1].Equal)
	})
}
