package main

import (
	"crypto/tls"
	"crypto/x509"
	"slices"

	"dynproxy/internal/textfile"
)

// callerCA is who vouches for callers.
type callerCA struct {
	authorities []*x509.Certificate
	// handshake asks for certificates of these authorities. Each callerCA has one
	// of its own, and with it tickets of its own: what an older one let in does
	// not resume under a newer one.
	handshake *tls.Config
}

// readCallerCA reads the authorities in file. basis is how to speak TLS
// otherwise.
func readCallerCA(file string, basis *tls.Config) (*callerCA, error) {
	authorities, err := textfile.ReadCertificates(file)
	if err != nil {
		return nil, err
	}
	basis.ClientCAs, basis.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	for _, a := range authorities {
		basis.ClientCAs.AddCert(a)
	}
	return &callerCA{authorities, basis}, nil
}

// vouched reports whether the caller of a connection is still one that may
// come: connections are kept, and outlive the authority that let them in.
func (g *guards) vouched(state *tls.ConnectionState) bool {
	if g.callerCA == nil {
		return true
	}
	trusted := g.callerCA.get().authorities
	return state != nil && slices.ContainsFunc(state.VerifiedChains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(trusted, chain[len(chain)-1].Equal)
	})
}
