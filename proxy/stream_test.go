package proxy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/needs"
	"dynproxy/proxy"
)

// organization puts a handler of the test's own in the place of contoso, over
// TLS.
func organization(t *testing.T, handler http.HandlerFunc) setting {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	certificate, roots := certify(t, "contoso.crm.dynamics.com")
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return func(_ map[string]string, p *proxy.Parts) {
		wire := egress.New(egress.Config{
			ByTransport: needs.ByTransport(),
			Patience:    egress.Patience{AnswerWithin: 10 * time.Second, IdleWithin: 10 * time.Second}, Roots: func() *x509.CertPool { return roots },
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
			},
		})
		t.Cleanup(wire.CloseIdleConnections)
		p.Wire = wire
	}
}

// certify makes a certificate for host, and the roots that trust it.
func certify(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func packed(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

const row = `{"@odata.etag":"W/\"1\"","x@odata.nextLink":"https://contoso.crm.dynamics.com/api/data/v9.2/x","name":"some name"}`

func TestCodings(t *testing.T) {
	t.Parallel()
	large := `{"value":[` + row + strings.Repeat(","+row, 99) + `]}`
	want := strings.ReplaceAll(large, orgBase, proxyBase)
	for name, c := range map[string]struct {
		coding, kind string // of the organization
		text         string
		accept       string
		want, got    string // body, and its coding
	}{
		"asked for":               {"gzip", "application/json", large, "gzip, deflate", want, "gzip"},
		"not asked for":           {"gzip", "application/json", large, "", want, ""},
		"refused":                 {"gzip", "application/json", large, "gzip;q=0, identity", want, ""},
		"refused in capitals":     {"gzip", "application/json", large, "GZIP; Q=0.0", want, ""},
		"any":                     {"gzip", "application/json", large, "*", want, "gzip"},
		"no other":                {"gzip", "application/json", large, "*;q=0, gzip;q=0.5", want, "gzip"},
		"any other":               {"gzip", "application/json", large, "*, gzip;q=0", want, ""},
		"too short to pay":        {"", "application/json", `{"a":1}`, "gzip", `{"a":1}`, ""},
		"plain, asked for":        {"", "application/json", large, "gzip", want, ""}, // the organization did not pack it
		"no JSON, asked for":      {"gzip", "text/plain", large, "gzip", large, "gzip"},
		"no JSON, not asked for":  {"gzip", "text/plain", large, "", large, ""},
		"a coding nobody knows":   {"x-unknown", "application/json", large, "x-unknown", large, "x-unknown"},
		"no JSON, plain, for all": {"", "text/plain", large, "gzip", large, ""},
	} {
		t.Run(name, func(t *testing.T) {
			proxied := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("ETag", `W/"7"`)
				body := []byte(c.text)
				if c.coding != "" {
					w.Header().Set("Content-Encoding", c.coding)
				}
				if c.coding == "gzip" {
					body = packed(c.text)
				}
				w.Write(body)
			}))
			headers := []string{"Host: proxy:8080"}
			if c.accept != "" {
				headers = append(headers, "Accept-Encoding: "+c.accept)
			}
			a := proxied.get("/contoso/api/data/v9.2/x", headers...)
			if a.err != nil || a.Header.Get("Content-Encoding") != c.got || a.Header.Get("ETag") != `W/"7"` {
				t.Fatalf("%v %v", a.err, a.Header)
			}
			body := a.body
			if c.got == "gzip" {
				r, err := gzip.NewReader(strings.NewReader(a.body))
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				body = string(text)
			}
			if body != c.want {
				t.Errorf("got %.300q", body)
			}
			if c.got == "gzip" && len(a.body)*4 > len(c.want) {
				t.Errorf("%d bytes became %d", len(c.want), len(a.body))
			}
		})
	}
}

// What breaks off at the organization is broken for every caller, whatever
// coding and version of HTTP.
func TestAnswersThatBreakOff(t *testing.T) {
	t.Parallel()
	text := `{"value":[` + row + strings.Repeat(","+row, 3000) + `]}`
	for name, serve := range map[string]http.HandlerFunc{
		"torn": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, text[:len(text)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		"shorter than told": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			io.WriteString(w, text[:len(text)/2])
		},
		"gzip without its end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			p := packed(text)
			w.Write(p[:len(p)-10])
		},
		"no gzip at all": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, text)
		},
	} {
		for _, version := range []string{"HTTP/1.0", "HTTP/1.1"} {
			for _, accept := range []string{"identity", "gzip"} {
				t.Run(name+" "+version+" "+accept, func(t *testing.T) {
					c := newTestProxy(t, organization(t, serve))
					conn := c.dial()
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(20 * time.Second))
					fmt.Fprintf(conn, "GET /contoso/api/data/v9.2/x %s\r\nHost: localhost\r\nAccept-Encoding: %s\r\n\r\n", version, accept)
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err == nil && resp.StatusCode == 200 {
						_, err = io.ReadAll(resp.Body)
					} else if err == nil {
						err = fmt.Errorf("status %d", resp.StatusCode)
					}
					if err == nil {
						t.Error("the caller took it for whole")
					}
				})
			}
		}
	}
}

// heap returns how much memory is in use, at the most, while f runs.
func heap(f func()) uint64 {
	runtime.GC()
	var most atomic.Uint64
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-watched
	return most.Load()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestLargeBodiesNeedNoMemory(t *testing.T) {
	const size = 128 << 20
	var arrived atomic.Int64
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		arrived.Store(n)
		if strings.HasSuffix(r.URL.Path, "/$value") {
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.Copy(w, io.LimitReader(zeros{}, size))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	url := c.server.URL + "/contoso/api/data/v9.2/accounts(1)/file"
	for name, f := range map[string]func() int64{
		"up": func() int64 {
			r, _ := http.NewRequest("PATCH", url, io.LimitReader(zeros{}, size))
			r.ContentLength = size
			r.Header.Set("Content-Type", "application/octet-stream")
			resp, err := http.DefaultClient.Do(r)
			if err != nil || resp.StatusCode != 204 {
				t.Errorf("%v %v", resp, err)
				return 0
			}
			resp.Body.Close()
			return arrived.Load()
		},
		"down": func() int64 {
			resp, err := http.Get(url + "/$value")
			if err != nil {
				t.Error(err)
				return 0
			}
			defer resp.Body.Close()
			if resp.ContentLength != size {
				t.Errorf("length %d", resp.ContentLength)
			}
			n, _ := io.Copy(io.Discard, resp.Body)
			return n
		},
	} {
		var passed int64
		if most := heap(func() { passed = f() }); most > 48<<20 || passed != size {
			t.Errorf("%s: %d bytes passed, %d MiB of memory in use", name, passed, most>>20)
		}
	}
}

// A gzip of little bytes may be one of many.
func TestABombNeedsNoMemory(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	io.WriteString(w, `{"a":"`)
	io.Copy(w, io.LimitReader(zeros{}, 256<<20))
	io.WriteString(w, `"}`)
	w.Close()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	}))
	var n int64
	most := heap(func() {
		r, _ := http.NewRequest("GET", c.server.URL+"/contoso/api/data/v9.2/x", nil)
		r.Header.Set("Accept-Encoding", "identity")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		n, _ = io.Copy(io.Discard, resp.Body)
	})
	if n != 256<<20+8 || most > 48<<20 {
		t.Errorf("%d bytes passed, %d MiB of memory in use", n, most>>20)
	}
}

// A caller that leaves, or takes nothing more, ends what the organization
// sends.
func TestACallerThatLeavesOrStallsStopsTheOrganization(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]bool{"leaves": true, "stalls": false} {
		t.Run(name, func(t *testing.T) {
			stopped := make(chan struct{})
			c := newTestProxy(t, entrance(func(e *proxy.AccessPolicy) { e.AnswerIdle = 300 * time.Millisecond }),
				organization(t, func(w http.ResponseWriter, r *http.Request) {
					defer close(stopped)
					w.Header().Set("Content-Type", "application/octet-stream")
					io.Copy(w, zeros{})
				}))
			conn := c.dial()
			defer conn.Close()
			io.WriteString(conn, "GET /contoso/api/data/v9.2/x/$value HTTP/1.1\r\nHost: localhost\r\n\r\n")
			io.ReadFull(conn, make([]byte, 100))
			if leave {
				conn.Close()
			}
			select {
			case <-stopped:
			case <-time.After(15 * time.Second):
				t.Error("the organization went on sending")
			}
		})
	}
}

// A slow answer arrives as it is written, not when it is whole.
func TestSlowAnswersAreNotHeldBack(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	defer close(next)
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"value":[`+strings.Repeat(" ", 4096))
		w.(http.Flusher).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
		}
	}))
	for _, coding := range []string{"identity", "gzip"} {
		r, _ := http.NewRequest("GET", c.server.URL+"/contoso/api/data/v9.2/x", nil)
		r.Header.Set("Accept-Encoding", coding)
		resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(r)
		if err != nil {
			t.Fatalf("%s: %v", coding, err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
			t.Errorf("%s: %v", coding, err)
		}
		resp.Body.Close()
	}
}
