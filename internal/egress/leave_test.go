package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/egress"
)

// settled waits until count is down to most again: what ends by itself takes a
// moment.
func settled(t *testing.T, what string, most int, count func() int) {
	t.Helper()
	for range 500 {
		if count() <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d %s, and %d before\n%s", count(), what, most, stacks[:runtime.Stack(stacks, true)])
}

func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd") // none elsewhere
	return len(open)
}

// stallingBody gives a first piece, and then nothing until it is closed.
type stallingBody struct {
	first  *strings.Reader
	closed chan struct{}
}

func (s *stallingBody) Read(p []byte) (int, error) {
	if s.first.Len() > 0 {
		return s.first.Read(p)
	}
	<-s.closed
	return 0, errors.New("the body was closed")
}

func (s *stallingBody) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

// A caller that leaves is obeyed at once, whatever is waited for; its own
// reason comes back, and nothing is left behind.
func TestWhoLeavesIsObeyedInEveryPhase(t *testing.T) {
	if warm, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		warm.Close() // what the runtime opens once is no leak
	}
	goroutines, open := runtime.NumGoroutine(), descriptors()
	leaves := errors.New("the caller left")
	silent := func(t *testing.T) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	arrived := make(chan struct{}, 1)
	told := func() {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}
	hang := func(conn net.Conn) { io.Copy(io.Discard, conn) } // until the other side leaves
	for name, x := range map[string]struct {
		serve func(n int, conn net.Conn, in *bufio.Reader)
		dial  func(t *testing.T) func(*egress.Config)
		body  func() (io.Reader, int64)
	}{
		"before anything": {},
		"dial": {dial: func(*testing.T) func(*egress.Config) {
			return func(c *egress.Config) {
				c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					told()
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
		}},
		"CONNECT": {dial: func(t *testing.T) func(*egress.Config) {
			way := silent(t)
			return func(c *egress.Config) {
				c.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse("http://" + way.Addr().String()) }
				c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					defer told()
					return new(net.Dialer).DialContext(ctx, network, address)
				}
			}
		}},
		"handshake": {dial: func(t *testing.T) func(*egress.Config) {
			to := silent(t)
			return func(c *egress.Config) {
				c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
					defer told()
					return new(net.Dialer).DialContext(ctx, network, to.Addr().String())
				}
			}
		}},
		"a body that stalls": {
			serve: func(_ int, conn net.Conn, in *bufio.Reader) { in.Peek(1); told(); hang(conn) },
			body: func() (io.Reader, int64) {
				return &stallingBody{strings.NewReader("abc"), make(chan struct{})}, 100_000
			},
		},
		"a body that is not taken": {
			serve: func(_ int, conn net.Conn, in *bufio.Reader) { in.Peek(1); told(); time.Sleep(300 * time.Millisecond) },
			body:  func() (io.Reader, int64) { return bytes.NewReader(make([]byte, 64<<20)), 64 << 20 },
		},
		"an answer that does not come": {serve: func(_ int, conn net.Conn, in *bufio.Reader) { readRequest(in); told(); hang(conn) }},
		"half a head": {serve: func(_ int, conn net.Conn, in *bufio.Reader) {
			readRequest(in)
			io.WriteString(conn, ok+"Content-")
			told()
			hang(conn)
		}},
		"half a body": {serve: func(_ int, conn net.Conn, in *bufio.Reader) {
			readRequest(in)
			io.WriteString(conn, ok+"Content-Length: 100\r\n\r\nabc")
			told()
			hang(conn)
		}},
		"half a chunk": {serve: func(_ int, conn net.Conn, in *bufio.Reader) {
			readRequest(in)
			io.WriteString(conn, ok+"Transfer-Encoding: chunked\r\n\r\n5\r\nabc")
			told()
			hang(conn)
		}},
	} {
		if transport && name == "a body that stalls" {
			continue // it waits for the body to let go
		}
		t.Run(name, func(t *testing.T) {
			var changes []func(*egress.Config)
			if x.dial != nil {
				changes = append(changes, x.dial(t))
			}
			serve := x.serve
			if serve == nil {
				serve = func(int, net.Conn, *bufio.Reader) {}
			}
			p := newPeer(t, serve, changes...)
			ctx, leave := context.WithCancelCause(t.Context())
			defer leave(nil)
			if name == "before anything" {
				leave(leaves)
			} else {
				go func() {
					<-arrived
					time.Sleep(10 * time.Millisecond)
					leave(leaves)
				}()
			}
			var body io.Reader
			length := int64(0)
			if x.body != nil {
				body, length = x.body()
			}
			r, _ := http.NewRequestWithContext(ctx, "POST", "https://"+host+"/x", body)
			r.ContentLength = length
			resp, err := p.client.RoundTrip(r)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if !errors.Is(err, leaves) {
				t.Errorf("%v", err)
			}
		})
	}
	settled(t, "goroutines", goroutines, runtime.NumGoroutine)
	settled(t, "descriptors", open, descriptors)
}

// Waits for what the other side does not do have an end, and say what for.
func TestWaitsSayWhatFor(t *testing.T) {
	t.Parallel()
	const soon = 200 * time.Millisecond
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for name, x := range map[string]struct {
		change func(*egress.Config)
		long   bool
		stage  egress.Stage
		words  string
	}{
		"dial": {func(c *egress.Config) {
			c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		}, false, egress.Connect, "attempt to connect"},
		"CONNECT": {func(c *egress.Config) {
			c.Proxy = func(*url.URL) (*url.URL, error) { return url.Parse("http://" + silent.Addr().String()) }
			c.Dial, c.MayBePrivate = nil, func(string) bool { return true }
		}, false, egress.Connect, "from the proxy of HTTPS_PROXY"},
		"handshake": {func(c *egress.Config) {
			c.Dial = dialTo(silent.Addr().String())
		}, false, egress.Connect, "in the middle of the TLS handshake"},
		"a request not taken up": {func(*egress.Config) {}, true, egress.Send, "took up no more of the request in time"},
		"no answer":              {func(*egress.Config) {}, false, egress.Await, "no answer came in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			never := make(chan struct{})
			_, client := organization(t, func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					return
				}
				if !x.long {
					io.Copy(io.Discard, r.Body)
				}
				select {
				case <-never:
				case <-r.Context().Done():
				}
			}, func(_ *httptest.Server, c *egress.Config) {
				c.AnswerWithin, c.IdleWithin = soon, soon
				x.change(c)
			})
			if x.stage != egress.Connect { // the connection is made in all the time that a busy machine takes
				client.SetPatience(egress.Patience{AnswerWithin: time.Minute, IdleWithin: time.Minute})
				resp, err := client.RoundTrip(request(t, "GET", ""))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				client.SetPatience(egress.Patience{AnswerWithin: soon, IdleWithin: soon})
			}
			t.Cleanup(func() { close(never) }) // before the server's
			r := request(t, "POST", "{}")
			if x.long {
				r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(make([]byte, 64<<20))), 64<<20, nil
			}
			_, err := client.RoundTrip(r)
			e, is := errors.AsType[*egress.Error](err)
			if !is || !e.Timeout || e.Stage != x.stage || !strings.HasSuffix(err.Error(), x.words) {
				t.Errorf("%v; %+v", err, e)
			}
		})
	}
}

// Interim answers are told as they come, and are no answer.
func TestInterimAnswersAreTold(t *testing.T) {
	t.Parallel()
	p := newPeer(t, answering("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+ok+"Content-Length: 2\r\n\r\nok"))
	var told []int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code == 103 && header.Get("Link") != "</a>" {
			t.Errorf("%v", header)
		}
		told = append(told, code)
		return nil
	}})
	for range 2 {
		resp, err := p.client.RoundTrip(request(t, "GET", "").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(text) != "ok" {
			t.Errorf("%d %q", resp.StatusCode, text)
		}
	}
	if len(told) != 4 || told[0] != 103 || told[1] != 102 || p.accepted.Load() != 1 {
		t.Errorf("%v, %d connections", told, p.accepted.Load())
	}
	refused := errors.New("no more of this")
	ctx = httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return refused }})
	if _, err := p.client.RoundTrip(request(t, "GET", "").WithContext(ctx)); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
}

// A body that nobody reads on costs no more than what is here of it.
func TestABodyThatIsLeftIsCutOrTaken(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 8<<20)
	for name, x := range map[string]struct {
		answer string
		read   int
		again  bool
	}{
		"all but its end":    {ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 3, true},
		"the end of it":      {ok + "Content-Length: 6\r\n\r\nabcdef", 3, true},
		"much":               {ok + "Content-Length: 8388608\r\n\r\n" + long, 3, false},
		"much, in chunks":    {ok + "Transfer-Encoding: chunked\r\n\r\n800000\r\n" + long + "\r\n0\r\n\r\n", 3, false},
		"what does not come": {ok + "Content-Length: 6\r\n\r\nabc", 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, answering(x.answer))
			for range 3 {
				resp, err := p.client.RoundTrip(request(t, "GET", ""))
				if err != nil {
					t.Fatal(err)
				}
				io.ReadFull(resp.Body, make([]byte, x.read))
				began := time.Now()
				resp.Body.Close()
				resp.Body.Close()
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("Close took %v", took)
				}
				if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
					t.Error("a closed body is read")
				}
			}
			want := int64(3)
			if x.again {
				want = 1
			}
			// What net/http has read ahead it does not look into.
			if got := p.accepted.Load(); got != want && !(transport && got == 3) {
				t.Errorf("%d connections, want %d", got, want)
			}
		})
	}
}

// Whoever closes a body ends a Read of it that another waits in.
func TestCloseEndsARead(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		readRequest(in)
		io.WriteString(conn, ok+"Content-Length: 6\r\n\r\nabc")
		io.Copy(io.Discard, conn)
	})
	resp, err := p.client.RoundTrip(request(t, "GET", ""))
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(resp.Body, make([]byte, 3))
	ended := make(chan error)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	resp.Body.Close()
	if err := <-ended; err == nil {
		t.Error("it read something")
	}
}
