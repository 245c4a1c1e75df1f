package egress_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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

// carriesOut is an organization that answers what is no write, and closes
// without an answer behind a write, which it counts.
func carriesOut(n *atomic.Int64, isWrite func(r *http.Request) bool) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, conn net.Conn, in *bufio.Reader) {
		for {
			r, _, err := readRequest(in)
			switch {
			case err != nil:
				return
			case isWrite(r):
				n.Add(1)
				return
			}
			io.WriteString(conn, ok+"Content-Length: 0\r\n\r\n")
		}
	}
}

// A GET that may be taken for a write is sent once, by either client, and as
// what it is: without a body.
func TestWhatMayBeAWriteIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, byTransport := range []bool{false, true} {
		for _, once := range []bool{false, true} {
			var came atomic.Int64
			p := newPeer(t, carriesOut(&came, func(r *http.Request) bool {
				if r.Header.Get("Content-Length") != "" || len(r.TransferEncoding) > 0 {
					t.Errorf("it came with a body: %v %v", r.Header, r.TransferEncoding)
				}
				return r.Header.Get("X-HTTP-Method") != ""
			}), func(c *egress.Config) { c.ByTransport = byTransport })
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
				p := newPeer(t, carriesOut(&came, func(r *http.Request) bool { return r.Header.Get(name) == "1" }), func(c *egress.Config) { c.ByTransport = byTransport })
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
