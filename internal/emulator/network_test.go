package emulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
)

// trusting returns a transport over real sockets that trusts one CA only.
func trusting(t *testing.T, ca []byte) *http.Transport {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("the CA is no certificate")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}
