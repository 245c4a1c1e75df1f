package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"dynproxy/internal/callers"
	"dynproxy/internal/egress"
	"dynproxy/internal/httpguard"
	"dynproxy/internal/limits"
	"dynproxy/internal/needs"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

// staticToken is a token of the size that Entra ID gives.
type staticToken string

func (s staticToken) Token(context.Context, *tenants.Tenant) (string, error) { return string(s), nil }
func (s staticToken) Invalidate(*tenants.Tenant, string, []string) bool      { return false }
func (s staticToken) ClientID(*tenants.Tenant) string                        { return clientID }

// rig is the whole trip of a call, of which the proxy's part is all that takes
// memory: the caller and the organization write what they have ready.
type rig struct {
	caller net.Conn
	read   *bufio.Reader
	asks   []byte
	length int
}

// newRig makes a rig whose organization gives one answer to everything, in
// chunks where chunked is set.
func newRig(tb testing.TB, body []byte, chunked bool) *rig {
	tb.Helper()
	organization, roots := answering(tb, cannedAnswer(body, chunked))
	wire := egress.New(egress.Config{
		ByTransport: needs.ByTransport(),
		Patience:    egress.Patience{AnswerWithin: time.Minute, IdleWithin: time.Minute}, Roots: func() *x509.CertPool { return roots },
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, organization)
		},
	})
	known, _ := callers.Open("")
	h := proxy.New(proxy.Parts{
		Tenants: book(tb, map[string]string{"contoso": "ORG_URL=https://down.example.com\nTENANT_ID=" + contosoID}),
		Callers: known, Tokens: staticToken("Bearer " + strings.Repeat("e", 1600)), Gate: &limits.Gate{}, Wire: wire,
		Log: zerolog.New(io.Discard), Metrics: proxy.NewMetrics(prometheus.NewRegistry()),
		Access: proxy.AccessPolicy{BodyIdle: time.Minute, AnswerIdle: 2 * time.Minute, MinRate: 512},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go httpguard.Listener(listener, httpguard.Limits{}).Serve(server) // ends with Close
	caller, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		caller.Close()
		server.Close()
		wire.CloseIdleConnections()
	})
	return &rig{
		caller: caller, read: bufio.NewReaderSize(caller, 64<<10), length: len(body),
		asks: fmt.Appendf(nil, "GET /contoso/api/data/v9.2/accounts?$select=name&$top=10 HTTP/1.1\r\nHost: proxy.example\r\nUser-Agent: legacy/1.0\r\n"+
			"Accept: application/json\r\nOData-Version: 4.0\r\nOData-MaxVersion: 4.0\r\nPrefer: odata.include-annotations=\"*\"\r\n\r\n"),
	}
}

// post makes the calls carry a body.
func (r *rig) post(body []byte) {
	head := bytes.Replace(bytes.TrimSuffix(r.asks, []byte("\r\n")), []byte("GET "), []byte("POST "), 1)
	r.asks = append(fmt.Appendf(head, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
}

// answering opens an organization over TLS that gives answer to each request.
func answering(tb testing.TB, answer []byte) (address string, roots *x509.CertPool) {
	template := httptest.NewUnstartedServer(nil)
	template.StartTLS() // for its certificate, which is for *.example.com
	template.Close()
	organization, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: template.TLS.Certificates})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { organization.Close() })
	go func() {
		for {
			conn, err := organization.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				length := 0
				for in := bufio.NewReaderSize(conn, 16<<10); ; {
					line, err := in.ReadSlice('\n')
					if err != nil {
						return
					}
					if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
						length = number(value, 10)
					}
					if len(line) > len("\r\n") {
						continue
					}
					if _, err := in.Discard(length); err != nil {
						return
					}
					length = 0
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	roots = x509.NewCertPool()
	roots.AddCert(template.Certificate())
	return organization.Addr().String(), roots
}

func cannedAnswer(body []byte, chunked bool) []byte {
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json; odata.metadata=minimal\r\nOData-Version: 4.0\r\nCache-Control: no-cache\r\n" +
		"Date: Mon, 01 Jun 2026 10:00:00 GMT\r\nx-ms-service-request-id: 0f0f0f0f-0000-4000-8000-000000000000\r\nREQ_ID: 1\r\n" +
		"x-ms-ratelimit-time-remaining-xrm-requests: 1,200.00\r\nx-ms-ratelimit-burst-remaining-xrm-requests: 5999\r\n" +
		"Strict-Transport-Security: max-age=31536000\r\nSet-Cookie: ARRAffinity=1\r\n"
	if !chunked {
		return append(fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n", head, len(body)), body...)
	}
	answer := []byte(head + "Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := min(len(body), 8<<10)
		answer = fmt.Appendf(answer, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return append(answer, "0\r\n\r\n"...)
}

// rows is a page of n rows of 1 KB.
func rows(n int) []byte {
	var b bytes.Buffer
	filler := strings.Repeat(`Lorem ipsum dolor sit amet, the history of \"quotes\"; `, 14)
	b.WriteString(`{"@odata.context":"https://down.example.com/api/data/v9.2/$metadata#accounts","value":[`)
	for i := range n {
		fmt.Fprintf(&b, `{"@odata.etag":"W/\"%d\"","accountid":"%08x-0000-4000-8000-000000000000","description":"%s","contacts@odata.nextLink":"https://down.example.com/api/data/v9.2/accounts(%08x)/contacts"},`, i, i, filler, i)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString("]}")
	return b.Bytes()
}

// call makes one call and reads its answer, which has a length or chunks.
func (r *rig) call() error {
	if _, err := r.caller.Write(r.asks); err != nil {
		return err
	}
	status, err := r.read.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("%q: %v", status, err)
	}
	length := -1
	for line := status; len(line) > len("\r\n"); {
		if line, err = r.read.ReadSlice('\n'); err != nil {
			return err
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			length = number(value, 10)
		}
	}
	if length >= 0 {
		_, err = r.read.Discard(length)
		return err
	}
	for {
		line, err := r.read.ReadSlice('\n')
		if err != nil {
			return err
		}
		size := number(line, 16)
		if _, err := r.read.Discard(size + len("\r\n")); err != nil || size == 0 {
			return err
		}
	}
}

// number reads the digits with which text begins.
func number(text []byte, base int) (n int) {
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			n = n*base + int(c-'0')
		case base == 16 && 'a' <= c && c <= 'f':
			n = n*base + int(c-'a') + 10
		default:
			return n
		}
	}
	return n
}

func BenchmarkCall(b *testing.B) {
	for _, size := range []struct {
		name string
		rows int
	}{{"1KB", 1}, {"60KB", 60}, {"5MB", 5000}} {
		for _, chunked := range []bool{false, true} {
			name := size.name
			if chunked {
				name += "chunked"
			}
			b.Run(name, func(b *testing.B) {
				newRig(b, rows(size.rows), chunked).benchmark(b)
			})
		}
	}
	b.Run("POST10KB", func(b *testing.B) {
		r := newRig(b, rows(1), false)
		r.post(rows(10))
		r.benchmark(b)
	})
}

func (r *rig) benchmark(b *testing.B) {
	if err := r.call(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(r.length))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.call(); err != nil {
			b.Fatal(err)
		}
	}
}
