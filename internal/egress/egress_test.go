package egress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/needs"
)

const host = "contoso.crm.dynamics.com"

// certify makes a certificate for name that ends in that much time, and the
// same in PEM form.
func certify(t testing.TB, name string, ends time.Duration) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// organization is a server over TLS and a Client that reaches it as host.
func organization(t testing.TB, handler http.HandlerFunc, change ...func(*httptest.Server, *egress.Config)) (*httptest.Server, *egress.Client) {
	t.Helper()
	certificate, text := certify(t, host, time.Hour)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	config := egress.Config{
		ByTransport: needs.ByTransport(),
		Patience:    egress.Patience{AnswerWithin: 5 * time.Second, IdleWithin: 5 * time.Second}, Roots: func() *x509.CertPool { return roots },
		Dial: dialTo(server.Listener.Addr().String()),
	}
	for _, c := range change {
		c(server, &config)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	client := egress.New(config)
	t.Cleanup(client.CloseIdleConnections)
	return server, client
}

func request(t testing.TB, method, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+"/api/data/v9.2/accounts", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Wherever the other side falls silent, the wait ends, and the error says how
// far the request came.
func TestEveryWaitHasABound(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	const soon = time.Second
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	hang := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-released:
		case <-r.Context().Done():
		}
	}
	within := func(s *httptest.Server, c *egress.Config) { c.AnswerWithin = soon }
	for name, x := range map[string]struct {
		handler http.HandlerFunc
		change  func(*httptest.Server, *egress.Config)
		stage   egress.Stage
		sent    bool
	}{
		"a handshake that is not answered": {hang, func(s *httptest.Server, c *egress.Config) {
			within(s, c)
			c.Dial = dialTo(silent.Addr().String())
		}, egress.Connect, false},
		"CONNECT that is not answered": {hang, func(s *httptest.Server, c *egress.Config) {
			within(s, c)
			c.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse("http://" + silent.Addr().String()) }
			c.Dial = nil
			c.MayBePrivate = func(string) bool { return true }
		}, egress.Connect, false},
		"a request that is not answered": {hang, within, egress.Await, true},
		"an answer that stops": {func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("{"))
			http.NewResponseController(w).Flush()
			hang(w, r)
		}, func(_ *httptest.Server, c *egress.Config) { c.IdleWithin = soon }, egress.Body, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, client := organization(t, x.handler, x.change)
			resp, err := client.RoundTrip(request(t, "POST", "{}"))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			e, ok := errors.AsType[*egress.Error](err)
			if !ok || !e.Timeout || e.Stage != x.stage || (e.Sent > 0) != x.sent || e.Transient() {
				t.Errorf("%+v", err)
			}
		})
	}
}

// A pause shorter than the bound, and a caller who takes long to read, are no
// silence of the organization.
func TestOnlyTheOrganizationsSilenceCounts(t *testing.T) {
	_, client := organization(t, func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			io.WriteString(w, "piece ")
			http.NewResponseController(w).Flush()
			time.Sleep(60 * time.Millisecond)
		}
	}, func(_ *httptest.Server, c *egress.Config) { c.IdleWithin = 2 * time.Second })
	resp, err := client.RoundTrip(request(t, "GET", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len("piece piece ")) // of which one may come with the head
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2200 * time.Millisecond)
	if text, err := io.ReadAll(resp.Body); err != nil || string(first)+string(text) != strings.Repeat("piece ", 4) {
		t.Errorf("%q %v", text, err)
	}
}

// A server that closes idle connections just when they are used again makes no
// POST fail of which it has read nothing, and none is carried out twice.
func TestAClosedKeptConnectionLosesNoPOST(t *testing.T) {
	var carriedOut atomic.Int64
	_, client := organization(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		carriedOut.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}, func(s *httptest.Server, _ *egress.Config) { s.Config.IdleTimeout = 10 * time.Millisecond })
	const posts = 300
	failed := 0
	for i := range posts {
		resp, err := client.RoundTrip(request(t, "POST", `{"name":"once"}`))
		if e, ok := errors.AsType[*egress.Error](err); ok && e.Sent == 0 && e.Transient() { // as the proxy does
			resp, err = client.RoundTrip(request(t, "POST", `{"name":"once"}`))
		}
		if err != nil {
			failed++
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		// Around the moment at which the server closes, on either side of it.
		time.Sleep(9*time.Millisecond + time.Duration(i%40)*50*time.Microsecond)
	}
	if got := int(carriedOut.Load()); got < posts-failed || got > posts {
		t.Errorf("%d carried out of %d, %d failed", got, posts, failed)
	}
	// Without learning when the server closes it is some 20; the first few crossings teach it.
	if failed > 10 {
		t.Errorf("%d of %d failed", failed, posts)
	}
	t.Logf("%d of %d failed", failed, posts)
}

func TestACertificateIsVerifiedByTheRootsOfTheMoment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	good, goodPEM := certify(t, host, time.Hour)
	_, otherPEM := certify(t, host, time.Hour)
	if err := os.WriteFile(file, otherPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 10)
	roots, err := egress.OpenRoots(file, func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	_, client := organization(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server, c *egress.Config) {
		s.TLS.Certificates = []tls.Certificate{good}
		c.Roots = roots.Pool
	})
	ask := func() error {
		resp, err := client.RoundTrip(request(t, "GET", ""))
		if err == nil {
			resp.Body.Close()
		}
		client.CloseIdleConnections()
		return err
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "DYNPROXY_TRUSTED_CA_FILE") {
		t.Fatalf("another authority's certificate: %v", err)
	}
	change := func(text []byte) error {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for {
			roots.Pool()
			select {
			case err := <-told:
				return err
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if err := change(append(otherPEM, goodPEM...)); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("after the file had changed: %v", err)
	}
	if err := change([]byte("-----BEGIN CERTIFICATE-----\nbroken")); err == nil {
		t.Error("a broken file was taken")
	}
	if err := ask(); err != nil {
		t.Errorf("a broken file took away what was trusted: %v", err)
	}
	for name, bad := range map[string]func() (tls.Certificate, []byte){
		"another name": func() (tls.Certificate, []byte) { return certify(t, "fabrikam.crm.dynamics.com", time.Hour) },
		"an old one":   func() (tls.Certificate, []byte) { return certify(t, host, -time.Minute) },
	} {
		cert, text := bad()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		_, client := organization(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server, c *egress.Config) {
			s.TLS.Certificates = []tls.Certificate{cert}
			c.Roots = func() *x509.CertPool { return pool }
		})
		if resp, err := client.RoundTrip(request(t, "GET", "")); err == nil || !strings.Contains(err.Error(), "not trusted") {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
}

// What an error says holds no name of a type, no address and no query.
func TestErrorsSpeakPlainly(t *testing.T) {
	answers := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err == nil {
				buf.WriteString(text)
				buf.Flush()
				conn.Close()
			}
		}
	}
	for name, x := range map[string]struct {
		answer, words string
	}{
		"no HTTP":            {"hello\r\n\r\n", "not HTTP"},
		"an unasked upgrade": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "another protocol"},
		"a bad length":       {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "framed"},
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "framed"},
		"a bad chunk":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "framed"},
		"cut off":            {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", "broke off"},
		"nothing":            {"", "broke off"},
		"a bad head":         {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "head of its answer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, client := organization(t, answers(x.answer))
			resp, err := client.RoundTrip(request(t, "GET", ""))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if err == nil {
				t.Fatal("it is taken for an answer")
			}
			if text := err.Error(); !strings.Contains(text, x.words) || strings.ContainsAny(text, "*\"") || strings.Contains(text, "127.0.0.1") || strings.Contains(text, "errors.") {
				t.Errorf("%q", text)
			}
		})
	}
	for answer, words := range map[string]string{
		"503 Service Unavailable": "HTTPS_PROXY did not connect: it answered 503",
		"407 Who are you":         "HTTPS_PROXY asks for a password",
	} {
		t.Run("a proxy that answers "+answer, func(t *testing.T) {
			way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					io.WriteString(conn, "HTTP/1.1 "+answer+"\r\nContent-Length: 0\r\n\r\n")
					conn.Close()
				}
			}))
			t.Cleanup(way.Close)
			_, client := organization(t, nil, func(_ *httptest.Server, c *egress.Config) {
				c.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse(way.URL) }
				c.Dial, c.MayBePrivate = nil, func(string) bool { return true }
			})
			if _, err := client.RoundTrip(request(t, "GET", "")); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%v", err)
			}
		})
	}
	if text := egress.Explain(fmt.Errorf("at https://x/?secret: %w", errors.New("secret"))); strings.Contains(text, "secret") {
		t.Errorf("%q", text)
	}
}
