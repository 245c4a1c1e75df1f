package emulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"testing"
)

// trusting returns a transport over real sockets that trusts one CA only.
func trusting(t testing.TB, ca []byte) *http.Transport {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("the CA is no certificate")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func TestStartOnATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	h := open(t, seed())
	if err := h.Start(taken.Addr().String()); err == nil {
		t.Fatal("no error")
	}
	if h.LoginHost() != "login.microsoftonline.com" || h.OrgURL("contoso") != contoso {
		t.Errorf("half started: %s, %s", h.LoginHost(), h.OrgURL("contoso"))
	}
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Error(err)
	}
}

// TestCloseEndsEverything finds no listener and no connection afterwards.
func TestCloseEndsEverything(t *testing.T) {
	h := open(t, seed())
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	h.client.Transport = trusting(t, h.CA())
	h.get(t, h.OrgURL("contoso")+"/")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if resp, err := h.client.Get(h.OrgURL("contoso") + "/"); err == nil {
		resp.Body.Close()
		t.Errorf("an answer after Close: %d", resp.StatusCode)
	}
	memory := h.Transport()
	defer memory.CloseIdleConnections()
	if resp, err := (&http.Client{Transport: memory}).Get(contoso + "/"); err == nil {
		resp.Body.Close()
		t.Errorf("an answer through memory after Close: %d", resp.StatusCode)
	}
}

// TestCertificates asks for several names and an address on one listener, and
// wants each certificate to be good for its name alone.
func TestCertificates(t *testing.T) {
	h := open(t, seed())
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.CA())
	for _, name := range []string{"127.0.0.1", "localhost", "contoso.crm.dynamics.com", "login.microsoftonline.com"} {
		c, err := tls.Dial("tcp", h.LoginHost(), &tls.Config{RootCAs: pool, ServerName: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaf := c.ConnectionState().PeerCertificates[0]
		c.Close()
		if err := leaf.VerifyHostname("other.example"); err == nil {
			t.Errorf("the certificate of %s is good for another", name)
		}
	}
	if c, err := tls.Dial("tcp", h.LoginHost(), &tls.Config{ServerName: "localhost"}); err == nil {
		c.Close()
		t.Error("trusted without the CA")
	}
}
