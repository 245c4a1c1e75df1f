package httpguard

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// identity returns a certificate for 127.0.0.1 that signs itself.
func identity(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func serveTLS(t *testing.T, config *tls.Config, limits Limits) (*Guard, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := TLSListener(l, config, limits)
	s := &http.Server{ConnContext: ConnContext, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reason := Refused(r); reason != "" {
			http.Error(w, reason, http.StatusBadRequest)
			return
		}
		name := "nobody"
		if state := TLSState(r); state != nil && len(state.VerifiedChains) > 0 {
			name = state.VerifiedChains[0][0].Subject.CommonName
		}
		fmt.Fprint(w, r.Proto, " ", name)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(g)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return g, l.Addr().String()
}

func TestTLSStateForBothProtocols(t *testing.T) {
	own, roots := identity(t, "proxy")
	theirs, callers := identity(t, "legacy")
	_, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: callers, ClientAuth: tls.RequireAndVerifyClientCert}, Limits{})
	for proto, h2 := range map[string]bool{"HTTP/1.1 legacy": false, "HTTP/2.0 legacy": true} {
		transport := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{theirs}}}
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if string(body) != proto {
			t.Errorf("got %q, want %q", body, proto)
		}
	}
}

func TestAmbiguousRequestsOverTLSAreRefused(t *testing.T) {
	own, roots := identity(t, "proxy")
	_, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, Limits{})
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, hostile[0].raw)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Fatalf("answer %v, %v", answer, err)
	}
}

// Many that connect and say nothing must not keep others from being served.
func TestSilentHandshakesDoNotHoldUpOthers(t *testing.T) {
	own, roots := identity(t, "proxy")
	g, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, Limits{})
	for range 50 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	start := time.Now()
	answer, err := (&http.Client{Transport: transport}).Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if waited := time.Since(start); waited > handshakeTime/2 {
		t.Errorf("served after %v", waited)
	}
	if g.Open() < 2 {
		t.Errorf("%d open", g.Open())
	}
}

func TestPlainHTTPOnTheTLSPortIsTold(t *testing.T) {
	own, _ := identity(t, "proxy")
	g, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, Limits{})
	if got := talk(t, addr, 1, get+"\r\n"); !strings.HasPrefix(got[0], "400 This port speaks HTTPS") {
		t.Errorf("got %q", got)
	}
	if g.Failed() != 1 {
		t.Errorf("%d failed", g.Failed())
	}
}

func TestConnectionsAreLimitedAndGivenBack(t *testing.T) {
	for name, limits := range map[string]Limits{"in all": {Connections: 2}, "of one address": {PerAddress: 2}} {
		t.Run(name, func(t *testing.T) {
			g, addr := serve(t, limits)
			var held []net.Conn
			for range 2 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				io.WriteString(c, get+"\r\n")
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Fatal(err)
				}
				held = append(held, c)
			}
			if got := talk(t, addr, 1, get+"\r\n"); !strings.HasPrefix(got[0], "end") || g.Rejected() != 1 || g.Open() != 2 {
				t.Errorf("the third got %q; %d rejected away, %d open", got, g.Rejected(), g.Open())
			}
			held[0].Close()
			for deadline := time.Now().Add(10 * time.Second); g.Open() == 2 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if got := talk(t, addr, 1, get+"\r\n"); got[0] != "200 GET / a" {
				t.Errorf("after one left: %q", got)
			}
		})
	}
}

func TestCloseEndsHandshakesUnderWay(t *testing.T) {
	own, _ := identity(t, "proxy")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := TLSListener(l, &tls.Config{Certificates: []tls.Certificate{own}}, Limits{})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), handshakeTime/2)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- g.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("Close waits for a handshake")
	}
	if _, err := g.Accept(); err == nil {
		t.Error("Accept after Close")
	}
}
