package egress_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/egress"
)

// A fault of ours in a goroutine of net/http's, at a dial or a handshake,
// costs one request.
func TestAFaultOfOurOwnCostsOneRequest(t *testing.T) {
	for name, spoil := range map[string]func(*egress.Config){
		"dial": func(c *egress.Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) { panic("a-canary") }
		},
		"verify": func(c *egress.Config) { c.Roots = func() *x509.CertPool { panic("a-canary") } },
	} {
		var log bytes.Buffer
		_, client := organization(t, func(http.ResponseWriter, *http.Request) {}, func(_ *httptest.Server, c *egress.Config) {
			spoil(c)
			c.Log = zerolog.New(&log)
		})
		_, err := client.RoundTrip(request(t, "GET", ""))
		if e, ok := errors.AsType[*egress.Error](err); !ok || e.Sent != 0 || !strings.Contains(e.Error(), "its log says where") {
			t.Errorf("%s: %v", name, err)
		}
		if text := log.String(); !strings.Contains(text, `"where":"`+name+`"`) || !strings.Contains(text, `"level":"error"`) || strings.Contains(text, "a-canary") {
			t.Errorf("%s: the log: %s", name, text)
		}
	}
}

// unclosable is a connection in whose end a fault of ours lies.
type unclosable struct{ net.Conn }

func (u unclosable) Close() error {
	u.Conn.Close()
	panic("a-canary")
}

// A fault of ours while kept connections are looked through, with nobody
// calling, ends neither the process nor the looking.
func TestAFaultWhileConnectionsAreSweptEndsNothing(t *testing.T) {
	if transport {
		return // it sweeps its own
	}
	var log lockedLog
	var roots atomic.Pointer[x509.CertPool]
	_, client := organization(t, func(http.ResponseWriter, *http.Request) {}, func(_ *httptest.Server, c *egress.Config) {
		dial, trusted := c.Dial, c.Roots
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			inner, err := dial(ctx, network, address)
			return unclosable{inner}, err
		}
		roots.Store(trusted())
		c.Roots, c.Log = roots.Load, zerolog.New(&log)
	})
	for n := 1; n <= 2; n++ {
		resp, err := client.RoundTrip(request(t, "GET", ""))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		changed := roots.Load().Clone()
		certificate, _ := certify(t, "another.example", time.Hour)
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		changed.AddCert(leaf)
		roots.Store(changed) // what is kept is trusted no more
		for began := time.Now(); strings.Count(log.String(), `"where":"sweep of connections"`) < n; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the %dth time nothing is told: %s", n, log.String())
			}
		}
	}
	if strings.Contains(log.String(), "a-canary") {
		t.Errorf("the log: %s", log.String())
	}
}

type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
