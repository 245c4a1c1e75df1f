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
	"math/big"
	"net"
	"net/http"
	"net/netip"
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
	return behind(t, config, limits, func(w http.ResponseWriter, r *http.Request) {
		if wrong := Rejected(r); wrong != nil {
			http.Error(w, wrong.Message, wrong.Status)
			return
		}
		name := "nobody"
		if state := TLSState(r); state != nil && len(state.VerifiedChains) > 0 {
			name = state.VerifiedChains[0][0].Subject.CommonName
		}
		fmt.Fprint(w, r.Proto, " ", name)
	})
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

// Many that connect and say nothing must not keep others from being served,
// and the answer is here while all of them are still within their time.
func TestSilentHandshakesDoNotHoldUpOthers(t *testing.T) {
	own, roots := identity(t, "proxy")
	for _, limits := range []Limits{{}, {Handshakes: 32}} {
		g, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, limits)
		for range 300 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport}).Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if kept := g.connections.taken(); limits.Handshakes == 0 && kept < 300 || limits.Handshakes > 0 && g.evicted.Load() < 200 {
			t.Errorf("%d open, %d made room", kept, g.evicted.Load())
		}
	}
}

func TestPlainHTTPOnTheTLSPortIsTold(t *testing.T) {
	own, _ := identity(t, "proxy")
	g, addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{own}}, Limits{})
	if got := talk(t, addr, 1, get+"\r\n"); !strings.HasPrefix(got[0], said(faultPlainHTTP)) {
		t.Errorf("got %q", got)
	}
	if g.failed.Load() != 1 {
		t.Errorf("%d failed", g.failed.Load())
	}
}

// A server whose connections are all at their limit: those that wait for a
// request make room, the oldest first; those that are served do not.
func TestConnectionsThatWaitMakeRoom(t *testing.T) {
	for name, limits := range map[string]Limits{"in all": {Connections: 2}, "of one address": {PerAddress: 2}} {
		t.Run(name, func(t *testing.T) {
			g, addr := serve(t, limits)
			var held []net.Conn
			for range 2 {
				held = append(held, ask(t, addr))
				g.awaitWaiting(len(held)) // the answer is here before its connection waits
			}
			if got := talk(t, addr, 1, get+"\r\n"); got[0] != "200 GET / a" || g.evicted.Load() != 1 {
				t.Errorf("the third got %q; %d made room", got, g.evicted.Load())
			}
			if _, err := held[0].Read(make([]byte, 1)); err == nil {
				t.Error("the oldest is still open")
			}
			io.WriteString(held[1], get+"\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(held[1]), nil); err != nil {
				t.Errorf("the younger was closed: %v", err)
			}
		})
	}
}

// awaitWaiting returns when n connections wait for a request.
func (g *Guard) awaitWaiting(n int) {
	for len(g.connections.waiting()) != n {
		time.Sleep(time.Millisecond)
	}
}

// ask opens a connection, which is idle once it has an answer.
func ask(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, get+"\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body)
	return c
}

func TestConnectionsInUseAreKeptAndOthersClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, end := make(chan bool, 2), make(chan bool)
	g := Listener(l, Limits{Connections: 2})
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began <- true
		<-end
	})}
	go g.Serve(s)
	defer s.Close()
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, get+"\r\n")
		<-began
		held = append(held, c)
	}
	if got := talk(t, l.Addr().String(), 1, get+"\r\n"); !strings.HasPrefix(got[0], "end") || g.Rejected() != 1 || g.connections.taken() != 2 {
		t.Errorf("the third got %q; %d rejected, %d open", got, g.Rejected(), g.connections.taken())
	}
	close(end)
	for _, c := range held {
		if answer, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("a call in flight got %v, %v", answer, err)
		}
	}
}

// However many of one address say nothing, another address keeps its places.
func TestTheAddressThatHoldsMostMakesRoom(t *testing.T) {
	p := newPool(10, 0)
	g := &Guard{connections: p}
	closed := map[*session]bool{}
	connect := func(addr string) *session {
		s := &session{guard: g, addr: netip.MustParseAddr(addr)}
		s.Conn = &closing{s: s, closed: closed}
		if !p.take(&s.place, s, 1) {
			t.Fatal("no room")
		}
		return s
	}
	other := connect("192.0.2.1")
	var silent []*session
	for range 300 {
		silent = append(silent, connect("192.0.2.2"))
	}
	if closed[other] || p.used != 10 || len(closed) != 291 {
		t.Errorf("other closed: %v; %d used, %d closed", closed[other], p.used, len(closed))
	}
	for i, s := range silent {
		if closed[s] != (i < 291) {
			t.Fatalf("the %dth is closed: %v", i, closed[s])
		}
	}
}

type closing struct {
	net.Conn
	s      *session
	closed map[*session]bool
}

func (c *closing) Close() error {
	c.closed[c.s] = true
	return nil
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
