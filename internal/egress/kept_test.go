package egress_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/egress"
)

// A server that closes behind an answer without saying so makes no call fail.
func TestAServerThatClosesBehindItsAnswerLosesNothing(t *testing.T) {
	t.Parallel()
	var carriedOut atomic.Int64
	p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		if _, body, err := readRequest(in); err == nil && body == `{"name":"once"}` {
			carriedOut.Add(1)
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	const posts = 50
	failed := 0
	for i := range posts {
		if _, _, err := p.ask(t, "POST", `{"name":"once"}`); err != nil {
			failed++
			if e, is := errors.AsType[*egress.Error](err); !is || e.Timeout {
				t.Errorf("%v", err)
			}
		}
		time.Sleep(time.Duration(i%5) * time.Millisecond)
	}
	if got := int(carriedOut.Load()); got > posts || got < posts-failed {
		t.Errorf("%d carried out, %d failed", got, failed)
	}
	// Without a pause the close and the request may cross.
	if failed > posts/5 {
		t.Errorf("%d failed", failed)
	}
}

// A kept connection that breaks under a request costs nothing where none of it
// can have been carried out twice, or that would be the same as once.
func TestAKeptConnectionThatBreaksIsReplaced(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		method, body string
		again        bool
	}{
		"GET": {"GET", "", true}, "HEAD": {"HEAD", "", true},
		"POST": {"POST", "{}", false}, "PATCH": {"PATCH", "{}", false}, "DELETE": {"DELETE", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(n int, conn net.Conn, in *bufio.Reader) {
				for i := 0; ; i++ {
					if _, _, err := readRequest(in); err != nil || n == 1 && i == 1 {
						return // it has read the second request, and closes
					}
					io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
				}
			})
			if _, _, err := p.ask(t, x.method, x.body); err != nil {
				t.Fatal(err)
			}
			_, _, err := p.ask(t, x.method, x.body)
			if x.again != (err == nil) {
				t.Errorf("%v", err)
			}
			if e, is := errors.AsType[*egress.Error](err); err != nil && (!is || e.Sent == 0 || !e.Transient()) {
				t.Errorf("%+v", e)
			}
			if _, _, err := p.ask(t, x.method, x.body); err != nil {
				t.Errorf("the next: %v", err)
			}
		})
	}
}

// A system acknowledges late what its program may have read by then: a write
// that was carried out before its connection was reset is not sent again.
func TestAWriteBeforeAResetIsSentOnce(t *testing.T) {
	t.Parallel()
	var carriedOut atomic.Int64
	p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for {
			r, body, err := readRequest(in)
			switch {
			case err != nil:
				return
			case r.Method == "GET":
				io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
				continue
			case body == `{"name":"once"}`:
				carriedOut.Add(1)
			}
			conn.(*tls.Conn).NetConn().(*held).Conn.(*net.TCPConn).SetLinger(0)
			conn.(*tls.Conn).NetConn().Close()
			return
		}
	})
	const posts = 20
	for range posts {
		for range 3 { // until the other side expects that it will answer soon
			if _, _, err := p.ask(t, "GET", ""); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := p.ask(t, "POST", `{"name":"once"}`)
		if e, is := errors.AsType[*egress.Error](err); !is || e.Sent == 0 {
			t.Errorf("%v, as if nothing had been sent", err)
		}
	}
	if got := carriedOut.Load(); got != posts {
		t.Errorf("%d carried out of %d", got, posts)
	}
}

// A GET that may be taken for a write is sent once, by either client.
func TestWhatMayBeAWriteIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, byTransport := range []bool{false, true} {
		for _, once := range []bool{false, true} {
			var came atomic.Int64
			p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				for {
					r, body, err := readRequest(in)
					switch {
					case err != nil:
						return
					case r.Header.Get("X-HTTP-Method") == "":
						io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
						continue
					case body == "" && r.Header.Get("Content-Length") == "" && len(r.TransferEncoding) == 0:
						came.Add(1)
					}
					return // it is carried out, and gets no answer
				}
			}, func(c *egress.Config) { c.ByTransport = byTransport })
			if _, _, err := p.ask(t, "GET", ""); err != nil {
				t.Fatal(err)
			}
			r := request(t, "GET", "")
			r.Header.Set("X-HTTP-Method", "DELETE")
			if once {
				r = r.WithContext(egress.Once(r.Context()))
			}
			resp, err := p.client.RoundTrip(r)
			if err == nil {
				resp.Body.Close()
			}
			if came := came.Load(); err == nil || once != (came == 1) {
				t.Errorf("by net/http %v, to be sent once %v: it came %d times, %v", byTransport, once, came, err)
			}
		}
	}
}

// What a header claims makes no write one that may be sent again, with neither
// client; the header itself goes on.
func TestAKeyMakesNoWriteHarmless(t *testing.T) {
	t.Parallel()
	for _, byTransport := range []bool{false, true} {
		for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
			for _, method := range []string{"POST", "PATCH", "DELETE"} {
				var came atomic.Int64
				p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
					for {
						r, _, err := readRequest(in)
						switch {
						case err != nil:
							return
						case r.Method == "GET":
							io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
							continue
						case r.Header.Get(name) == "1":
							came.Add(1)
						}
						return // it is carried out, and gets no answer
					}
				}, func(c *egress.Config) { c.ByTransport = byTransport })
				if _, _, err := p.ask(t, "GET", ""); err != nil {
					t.Fatal(err)
				}
				r := request(t, method, "{}")
				r.Header.Set(name, "1")
				resp, err := p.client.RoundTrip(r)
				if err == nil {
					resp.Body.Close()
				}
				if e, is := errors.AsType[*egress.Error](err); came.Load() != 1 || !is || e.Sent == 0 || r.Header.Get(name) != "1" {
					t.Errorf("by net/http %v, %s with %s: carried out %d times, %v", byTransport, method, name, came.Load(), err)
				}
			}
		}
	}
}

// An answer that comes while a body is still sent is taken, whatever becomes
// of the rest of the body.
func TestEarlyAnswers(t *testing.T) {
	t.Parallel()
	const refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
	for name, after := range map[string]func(conn net.Conn, in *bufio.Reader){
		"and the rest is read":     func(conn net.Conn, in *bufio.Reader) { io.Copy(io.Discard, in) },
		"and the rest is not read": func(conn net.Conn, in *bufio.Reader) { time.Sleep(300 * time.Millisecond) },
	} {
		for _, length := range []int64{8 << 20, -1} {
			t.Run(fmt.Sprint(name, length), func(t *testing.T) {
				t.Parallel()
				p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
					if _, err := http.ReadRequest(in); err == nil {
						io.WriteString(conn, refusal)
						after(conn, in)
					}
				})
				r := request(t, "POST", "")
				r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(make([]byte, 8<<20))), length, nil
				resp, err := p.client.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 413 || string(text) != "big" {
					t.Errorf("%d %q %v", resp.StatusCode, text, err)
				}
			})
		}
	}
}

// failing is a body that breaks off.
type failing struct {
	n    int
	err  error
	read int
}

func (f *failing) Read(p []byte) (int, error) {
	if f.read == f.n {
		return 0, f.err
	}
	n := min(len(p), f.n-f.read)
	f.read += n
	return n, nil
}

// Half a request is never taken for the whole: what broke its body off is the
// error, and the other side sees it broken off too.
func TestHalfARequestIsNone(t *testing.T) {
	t.Parallel()
	broke := errors.New("the caller broke off")
	for name, x := range map[string]struct {
		sends, says int64
		err, want   error
	}{
		"short":          {10, 100, broke, broke},
		"long":           {300_000, 500_000, broke, broke},
		"chunks":         {300_000, -1, broke, broke},
		"fewer, short":   {10, 100, io.EOF, nil},
		"more, short":    {101, 100, io.EOF, nil},
		"fewer, long":    {300_000, 500_000, io.EOF, nil},
		"more, long":     {300_001, 300_000, io.EOF, nil},
		"nothing at all": {0, 100, broke, broke},
	} {
		for _, atHand := range []bool{false, true} {
			t.Run(fmt.Sprint(name, atHand), func(t *testing.T) {
				t.Parallel()
				whole := make(chan bool, 10)
				p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
					_, _, err := readRequest(in)
					whole <- err == nil
					if err == nil {
						io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
					}
				})
				r := request(t, "POST", "")
				r.GetBody = nil
				body := func() io.ReadCloser { return io.NopCloser(&failing{n: int(x.sends), err: x.err}) }
				r.Body, r.ContentLength = body(), x.says
				if atHand {
					r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
				}
				_, err := p.client.RoundTrip(r)
				if err == nil || x.want != nil && !errors.Is(err, x.want) && !transport {
					t.Errorf("%v", err)
				}
				p.listener.Close()
				p.closed.Wait()
				close(whole)
				for w := range whole {
					if w && !strings.HasPrefix(name, "more") {
						t.Error("it was taken for whole")
					}
				}
			})
		}
	}
}

// A trailer goes with a body in chunks.
func TestATrailerIsSent(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		r, body, _ := readRequest(in)
		got <- body + " " + r.Trailer.Get("X-Sum")
		io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
	})
	r := request(t, "POST", "{}")
	r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": {"7"}}
	if resp, err := p.client.RoundTrip(r); err != nil || resp.StatusCode != 200 {
		t.Fatal(err)
	}
	if text := <-got; text != "{} 7" {
		t.Errorf("%q", text)
	}
}

// way is a proxy that connects to the organization, whatever it is asked for.
func way(t *testing.T, to string, asked chan<- *http.Request) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		there, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		defer there.Close()
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			io.Copy(there, buffered)
			there.Close()
		}()
		io.Copy(here, there)
	}
}

// A proxy on the way is asked for the organization by name, once a connection,
// and what goes through it is the organization's alone.
func TestEgressProxies(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			asked := make(chan *http.Request, 10)
			var address string
			p := newPeer(t, answering(ok+"Content-Length: 3\r\n\r\nabc"), func(c *egress.Config) {
				c.Dial, c.MayBePrivate = nil, func(string) bool { return true }
				c.Proxy = func(u *url.URL) (*url.URL, error) {
					if u.Scheme != "https" || u.Hostname() != host {
						t.Errorf("asked for %v", u)
					}
					return url.Parse(scheme + "://who:secret@" + address)
				}
			})
			switch scheme {
			case "socks5":
				address = socks(t, p.listener.Addr().String(), asked)
			default:
				server := httptest.NewUnstartedServer(way(t, p.listener.Addr().String(), asked))
				if scheme == "https" {
					certificate, text := certify(t, "proxy.example", time.Hour)
					server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
					server.StartTLS()
					_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
					address = "proxy.example:" + port
					p.alsoTrust(t, text, server.Listener.Addr().String(), func() (*url.URL, error) { return url.Parse("https://who:secret@" + address) })
				} else {
					server.Start()
					address = server.Listener.Addr().String()
				}
				t.Cleanup(server.Close)
			}
			t.Cleanup(func() { p.client.CloseIdleConnections() })
			for range 3 {
				if _, text, err := p.ask(t, "POST", "{}"); err != nil || text != "abc" {
					t.Fatalf("%q %v", text, err)
				}
			}
			r := <-asked
			if r.Method != "CONNECT" || r.Host != host+":443" || r.Header.Get("Authorization")+r.Header.Get("Cookie") != "" {
				t.Errorf("%s %s %v", r.Method, r.Host, r.Header)
			}
			if got := r.Header.Get("Proxy-Authorization"); got != "Basic "+base64.StdEncoding.EncodeToString([]byte("who:secret")) {
				t.Errorf("%q", got)
			}
			if n := p.accepted.Load(); n != 1 || len(asked) != 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// alsoTrust makes the client anew, with a proxy of TLS at address.
func (p *peer) alsoTrust(t *testing.T, certificate []byte, address string, proxy func() (*url.URL, error)) {
	pool := p.roots.Clone()
	pool.AppendCertsFromPEM(certificate)
	config := p.config
	config.Proxy = func(*url.URL) (*url.URL, error) { return proxy() }
	config.Roots = func() *x509.CertPool { return pool }
	config.Dial = dialTo(address)
	p.client = egress.New(config)
}

// socks is a SOCKS5 proxy that leads to one address.
func socks(t *testing.T, to string, asked chan<- *http.Request) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				take := func(n int) []byte { b := make([]byte, n); io.ReadFull(in, b); return b }
				text := func() string { return string(take(int(take(1)[0]))) }
				take(1)
				text() // methods
				conn.Write([]byte{5, 2})
				take(1)
				who, password := text(), text()
				conn.Write([]byte{1, 0})
				take(4)
				name, port := text(), take(2)
				r := &http.Request{Method: "CONNECT", Host: fmt.Sprintf("%s:%d", name, int(port[0])<<8|int(port[1])), Header: make(http.Header)}
				r.SetBasicAuth(who, password)
				r.Header.Set("Proxy-Authorization", r.Header.Get("Authorization"))
				r.Header.Del("Authorization")
				asked <- r
				there, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer there.Close()
				conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				go func() { io.Copy(there, in); there.Close() }()
				io.Copy(conn, there)
			}()
		}
	}()
	return listener.Addr().String()
}

// A thousand calls to one organization at once, from a standing start, are
// served by so many connections as they need and no more, with few handshakes
// at a time.
func TestAThousandFromAStandingStart(t *testing.T) {
	t.Parallel()
	const calls = 1000
	var handshakes, most atomic.Int64
	var inside sync.WaitGroup
	inside.Add(calls)
	_, client := organization(t, func(w http.ResponseWriter, r *http.Request) {
		inside.Done()
		inside.Wait() // all are busy at once
	}, func(s *httptest.Server, c *egress.Config) {
		c.AnswerWithin = time.Minute
		s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			n := handshakes.Add(1)
			defer handshakes.Add(-1)
			for {
				was := most.Load()
				if n <= was || most.CompareAndSwap(was, n) {
					break
				}
			}
			time.Sleep(time.Millisecond)
			return nil, nil
		}
	})
	var ended sync.WaitGroup
	for range calls {
		ended.Go(func() {
			resp, err := client.RoundTrip(request(t, "GET", ""))
			if err != nil {
				t.Error(err)
				inside.Done()
				return
			}
			resp.Body.Close()
		})
	}
	ended.Wait()
	if n := most.Load(); n > 64 && !transport {
		t.Errorf("%d handshakes at once", n)
	}
}

// BenchmarkStandingStart is how long it takes until so many calls to one
// organization are all under way, from no connection on.
func BenchmarkStandingStart(b *testing.B) {
	for _, calls := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(calls), func(b *testing.B) {
			var inside sync.WaitGroup
			_, client := organization(b, func(http.ResponseWriter, *http.Request) {
				inside.Done()
				inside.Wait()
			}, func(_ *httptest.Server, c *egress.Config) { c.AnswerWithin = time.Minute })
			for b.Loop() {
				client.CloseIdleConnections()
				inside.Add(calls)
				var ended sync.WaitGroup
				for range calls {
					ended.Go(func() {
						resp, err := client.RoundTrip(request(b, "GET", ""))
						if err != nil {
							inside.Done()
							b.Error(err)
							return
						}
						resp.Body.Close()
					})
				}
				ended.Wait()
			}
		})
	}
}

// Once the first handshake is made, the next go on with its session.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	var full, resumed atomic.Int64
	p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		if _, _, err := readRequest(in); err == nil {
			if conn.(*tls.Conn).ConnectionState().DidResume {
				resumed.Add(1)
			} else {
				full.Add(1)
			}
			io.WriteString(conn, ok+"Connection: close\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for range 5 {
		if _, _, err := p.ask(t, "GET", ""); err != nil {
			t.Fatal(err)
		}
	}
	if !transport && (full.Load() != 1 || resumed.Load() != 4) {
		t.Errorf("%d full, %d resumed", full.Load(), resumed.Load())
	}
}

// When a root leaves the file, the connections that it vouched for are left.
func TestConnectionsEndWithTheRootsThatVouchedForThem(t *testing.T) {
	t.Parallel()
	if transport {
		return // it knows nothing of roots
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	_, other := certify(t, host, time.Hour)
	var roots *egress.Roots
	busy, release := make(chan struct{}), make(chan struct{})
	p := newPeer(t, func(n int, conn net.Conn, in *bufio.Reader) {
		for {
			r, _, err := readRequest(in)
			if err != nil {
				return
			}
			if r.Method == "PUT" {
				close(busy)
				<-release
			}
			io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
		}
	}, func(c *egress.Config) { c.Roots = func() *x509.CertPool { return roots.Pool() } })
	if err := os.WriteFile(file, p.certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := make(chan error, 10)
	var err error
	if roots, err = egress.OpenRoots(file, func(err error) { changed <- err }); err != nil {
		t.Fatal(err)
	}
	under := make(chan error)
	go func() {
		_, _, err := p.ask(t, "PUT", "{}")
		under <- err
	}()
	<-busy
	if _, _, err := p.ask(t, "GET", ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-changed; err != nil { // the look at what is kept sees it, with nobody calling
		t.Fatal(err)
	}
	close(release)
	if err := <-under; err != nil {
		t.Errorf("a call under way: %v", err)
	}
	for range 3 {
		if _, _, err := p.ask(t, "GET", ""); err == nil || !strings.Contains(err.Error(), "not trusted") {
			t.Errorf("%v", err)
		}
	}
}

// A connection that was made in advance, and looked at before its first
// request, knows how much of that arrived: a write that was carried out is not
// sent again when its answer is lost.
func TestAWriteOnAConnectionMadeInAdvanceIsSentOnce(t *testing.T) {
	t.Parallel()
	if transport {
		return // it makes none for nobody
	}
	for range 100 { // until the write went by such a connection
		handshakes, carriedOut := writeInAdvance(t)
		if carriedOut != 1 {
			t.Fatalf("carried out %d times", carriedOut)
		}
		if handshakes == 2 {
			return
		}
	}
	t.Fatal("no write went by a connection that was made in advance")
}

// writeInAdvance lets a call that waits for a connection of its own be served
// by one that comes back, so that the other is made for nobody; then a write
// goes by that, is carried out, and gets no answer.
func writeInAdvance(t *testing.T) (handshakes, carriedOut int64) {
	var made, done atomic.Int64
	second, goOn := make(chan struct{}), make(chan struct{})
	reads, answer := make(chan struct{}), make(chan struct{})
	_, client := organization(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == "POST" {
			done.Add(1)
			panic(http.ErrAbortHandler)
		}
		reads <- struct{}{}
		<-answer
	}, func(s *httptest.Server, c *egress.Config) {
		s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if made.Add(1) == 2 {
				close(second)
				<-goOn
			}
			return nil, nil
		}
	})
	var calls sync.WaitGroup
	read := func() {
		calls.Go(func() {
			resp, err := client.RoundTrip(request(t, "GET", ""))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
	read()
	<-reads
	read()
	<-second
	answer <- struct{}{} // and its connection serves the second
	<-reads
	close(goOn)
	time.Sleep(5 * time.Millisecond) // if that is too short, it is tried again
	if resp, err := client.RoundTrip(request(t, "POST", `{"name":"once"}`)); err == nil {
		resp.Body.Close()
		t.Error("a write without an answer has succeeded")
	}
	answer <- struct{}{}
	calls.Wait()
	return made.Load(), done.Load()
}
