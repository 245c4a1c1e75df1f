//go:build linux && !race

// Only Linux has all of 127.0.0.0/8 on loopback, so that each tenant has an
// organization of its own; and with the race detector memory is another.

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// mostOfATenant is how many bytes a tenant may hold that was called a moment
// ago: its token, of 1.6 KB, its call, as operators see it, and all else.
const mostOfATenant = 8 << 10

// moreOfTransport is what net/http's Transport keeps besides of an organization
// that was called, where the tests run with it.
const moreOfTransport = 1 << 10

// Thousands of tenants are served, most of which are called now and then.
func TestATenantTakesLittleMemory(t *testing.T) {
	const few, many = 40, 440
	orgs := newOrganizations(t, many)
	at := [2]uint64{}
	for i, n := range []int{few, many} {
		r := orgs.serve(t, n)
		orgs.call(t, r, n)
		r.log.forget()
		at[i] = living()
		r.end()
	}
	each := (int64(at[1]) - int64(at[0])) / (many - few)
	t.Logf("%d bytes a tenant", each)
	most := int64(mostOfATenant)
	if needs.ByTransport() {
		most += moreOfTransport
	}
	if each > most {
		t.Errorf("a tenant takes %d bytes, more than %d", each, most)
	}
}

// living is how many bytes of the heap are in use, once what ends in the
// background has ended: until less than a thousandth of it goes any more.
func living() uint64 {
	var m runtime.MemStats
	for before := uint64(math.MaxUint64); ; time.Sleep(200 * time.Millisecond) {
		runtime.GC()
		runtime.GC() // what the first has found to be done with
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > before-before/1000 {
			return m.HeapAlloc
		}
		before = m.HeapAlloc
	}
}

// forget drops what was logged so far.
func (j *logBuffer) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = strings.Builder{}
	for len(j.lines) > 0 {
		<-j.lines
	}
}

// organizations are one server, which is another organization, of another Entra
// tenant, at each address. It remembers nothing and keeps no connection.
type organizations struct {
	port, ca string
}

func ownAddress(i int) net.IP { return net.IPv4(127, byte(1+i/256), byte(i%256), 1) }

func newOrganizations(t *testing.T, n int) *organizations {
	t.Helper()
	ca := newTestCA(t)
	var addresses []net.IP
	for i := range n {
		addresses = append(addresses, ownAddress(i))
	}
	pair, err := tls.X509KeyPair(ca.sign("organizations", addresses...))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	login, token := "127.0.0.1:"+port, strings.Repeat("0123456789abcdef", 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"access_token":%q}`, token)
		case r.Header.Get("Authorization") == "":
			host, _, _ := strings.Cut(r.Host, ":")
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer authorization_uri=https://%s/t%s/oauth2/authorize", login, host))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			io.WriteString(w, `{}`)
		}
	}))
	s.Listener.Close()
	s.Listener = listener
	s.Config.SetKeepAlivesEnabled(false)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true}
	s.StartTLS()
	t.Cleanup(s.Close)
	return &organizations{port, write(t, filepath.Join(t.TempDir(), "ca.pem"), ca.pem)}
}

// serve starts a proxy of n tenants, each with its organization.
func (o *organizations) serve(t *testing.T, n int) *running {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("tenant-%d.env", i)), fmt.Appendf(nil, "ORG_URL=https://%s:%s\n", ownAddress(i), o.port))
	}
	return start(t, map[string]string{
		prefix + "CLIENT_ID": demoClientID, prefix + "CLIENT_SECRET": demoSecret, prefix + "TENANTS_DIR": dir,
		prefix + "ALLOWED_ORG_HOSTS": "*.1:" + o.port, prefix + "ALLOWED_LOGIN_HOSTS": "127.0.0.1:" + o.port, prefix + "TRUSTED_CA_FILE": o.ca,
	})
}

// call calls each of n tenants once.
func (o *organizations) call(t *testing.T, r *running, n int) {
	t.Helper()
	var callers sync.WaitGroup
	for k := range 4 {
		callers.Go(func() {
			for i := k; i < n; i += 4 {
				if resp, text := r.get(fmt.Sprintf("/tenant-%d/api/data/v9.2/WhoAmI", i)); resp.StatusCode != http.StatusOK {
					t.Errorf("tenant %d: %s %s", i, resp.Status, text)
					return
				}
			}
		})
	}
	callers.Wait()
	http.DefaultClient.CloseIdleConnections()
}
