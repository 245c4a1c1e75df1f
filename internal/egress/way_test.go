package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"dynproxy/internal/egress"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"
)

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

// That a connection cannot be made is told to who has waited for it, and to
// nobody who came later or may have another.
func TestWhoIsToldThatNoConnectionCanBeMade(t *testing.T) {
	t.Parallel()
	if transport {
		return // it has rules of its own
	}
	dials := make(chan chan bool) // what each waits for: whether it goes well
	inside, leave := make(chan struct{}, 4), make(chan struct{})
	_, client := organization(t, func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	}, func(s *httptest.Server, c *egress.Config) {
		c.AnswerWithin = time.Minute
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			goesOn := make(chan bool)
			if dials <- goesOn; !<-goesOn {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, address)
		}
	})
	var ends [4]chan error
	var attempts [4]chan bool
	ask := func(n int) {
		ends[n] = make(chan error, 1)
		go func() {
			resp, err := client.RoundTrip(request(t, "GET", ""))
			if err == nil {
				resp.Body.Close()
			}
			ends[n] <- err
		}()
		attempts[n] = soon(t, dials)
	}
	ask(0)
	ask(1)
	attempts[0] <- false
	if err := <-ends[0]; err == nil {
		t.Error("the first has an answer")
	}
	ask(2)
	ask(3)
	attempts[2] <- true // and serves who is first: the second
	soon(t, inside)
	attempts[3] <- false
	if err := <-ends[2]; err == nil {
		t.Error("the third has an answer")
	}
	attempts[1] <- true // for the fourth
	soon(t, inside)
	close(leave)
	for _, n := range []int{1, 3} {
		if err := <-ends[n]; err != nil {
			t.Errorf("the %dth, which had another to wait for: %v", n+1, err)
		}
	}
}

// soon is what comes on a channel.
func soon[T any](t *testing.T, from <-chan T) (came T) {
	t.Helper()
	select {
	case came = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing comes")
	}
	return came
}
