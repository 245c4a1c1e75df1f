package httpguard

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
)

type lockedLog struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// A fault of ours in a handshake costs one connection.
func TestAFaultInAHandshakeCostsOneConnection(t *testing.T) {
	own, roots := identity(t, "proxy")
	var spoilt atomic.Bool
	log := new(lockedLog)
	_, addr := serveTLS(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if spoilt.Swap(false) {
			panic("a-canary")
		}
		return &own, nil
	}}, Limits{Log: zerolog.New(log)})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	spoilt.Store(true)
	if _, err := client.Get("https://" + addr); err == nil {
		t.Error("the handshake went well")
	}
	resp, err := client.Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	log.mu.Lock()
	defer log.mu.Unlock()
	if text := log.String(); !strings.Contains(text, `"where":"handshake"`) || !strings.Contains(text, `"level":"error"`) || strings.Contains(text, "a-canary") {
		t.Errorf("the log: %s", text)
	}
}
