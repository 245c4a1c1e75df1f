package httpguard

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// refusing answers at once and reads nothing.
func refusing(w http.ResponseWriter, r *http.Request) {
	text := "not today"
	if wrong := Rejected(r); wrong != nil {
		text = wrong.Message
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(http.StatusForbidden)
	io.WriteString(w, text)
}

// A client that writes its whole request before it reads sees the refusal,
// however large the request is, in every framing and over TLS.
func TestRefusalsReachWhoWritesFirst(t *testing.T) {
	own, roots := identity(t, "proxy")
	for _, secure := range []bool{false, true} {
		var config *tls.Config
		if secure {
			config = &tls.Config{Certificates: []tls.Certificate{own}}
		}
		_, addr := behind(t, config, Limits{}, refusing)
		sizes := []int{100 << 10, 2 << 20, 20 << 20}
		if !secure {
			sizes = append(sizes, 130<<20) // more than anybody takes
		}
		for _, size := range sizes {
			length := fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
			for name, h := range map[string]struct{ head, tail, want string }{
				"length":          {post + length, "", "not today"},
				"HTTP/1.0":        {"POST / HTTP/1.0\r\nHost: a\r\n" + length, "", "not today"},
				"chunked":         {fmt.Sprintf("%s%x\r\n", te, size), "\r\n0\r\n\r\n", "not today"},
				"the guard's own": {"POST /a b HTTP/1.1\r\nHost: a\r\n" + length, "", faultSpace.Message},
				"broken chunks":   {te + "zz\r\n", "", "not today"},
			} {
				t.Run(fmt.Sprintf("TLS=%v/%d/%s", secure, size, name), func(t *testing.T) {
					t.Parallel()
					var c net.Conn
					var err error
					if secure {
						c, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}})
					} else {
						c, err = net.Dial("tcp", addr)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					c.SetDeadline(time.Now().Add(time.Minute))
					for _, part := range []io.Reader{strings.NewReader(h.head), io.LimitReader(zeros{}, int64(size)), strings.NewReader(h.tail)} {
						if _, err := io.Copy(c, part); err != nil {
							t.Fatalf("write: %v", err)
						}
					}
					answer, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					if body, err := io.ReadAll(answer.Body); string(body) != h.want || err != nil || answer.StatusCode != http.StatusForbidden {
						t.Errorf("%s %q, %v", answer.Status, body, err)
					}
				})
			}
		}
	}
}

// Who waits for 100 Continue gets the refusal and is not asked for the body.
func TestWhoWaitsIsNotAskedForTheBody(t *testing.T) {
	_, addr := behind(t, nil, Limits{}, refusing)
	for _, got := range talkRaw(t, addr, post+"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n") {
		if !strings.HasPrefix(got, "HTTP/1.1 403") || strings.Contains(got, "100 Continue") || !strings.Contains(got, "Connection: close") {
			t.Errorf("got %q", got)
		}
	}
}

// A connection goes on behind a refusal whose request came whole.
func TestConnectionGoesOnBehindARefusal(t *testing.T) {
	_, addr := behind(t, nil, Limits{}, refusing)
	one := post + "Content-Length: 3000000\r\n\r\n" + strings.Repeat("x", 3000000)
	if got := talk(t, addr, 2, one+get+"\r\n"); fmt.Sprint(got) != "[403 not today 403 not today]" {
		t.Errorf("got %q", got)
	}
}

func TestABodyTooLargeToDrainIsAnnounced(t *testing.T) {
	_, addr := behind(t, nil, Limits{}, refusing)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n", post, drainBytes+1)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || !answer.Close || answer.StatusCode != http.StatusForbidden {
		t.Errorf("%v, %v", answer, err)
	}
}

func talkRaw(t *testing.T, addr string, raw string) []string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, raw)
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return []string{string(got)}
}

func TestBrokenChunksAreTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		told <- fmt.Sprint(BodyFault(r.Context()))
	})}
	go Listener(l, Limits{}).Serve(s)
	defer s.Close()
	for raw, want := range map[string]string{
		te + "3\r\nabc\r\nxyz":            "chunk size is not a hex number",
		te + "0\r\nX: a\n\r\n":            "bare LF in a trailer",
		te + "0\r\nContent-Length: 3\r\n": "framing header in a trailer",
	} {
		talk(t, l.Addr().String(), 1, raw)
		if got := <-told; !strings.Contains(got, want) {
			t.Errorf("%q: %s", raw, got)
		}
	}
}

// However many leave their heads unfinished, together they hold no more than
// their budget, and a caller with a large head of its own is served.
func TestUnfinishedHeadsShareABudget(t *testing.T) {
	g, addr := serve(t, Limits{Head: 96 << 10, RequestLine: 64 << 10, Heads: 1 << 20})
	for range 200 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, get+"X: "+strings.Repeat("x", 95<<10))
	}
	if got := talk(t, addr, 1, get+"X: "+strings.Repeat("x", 90<<10)+"\r\n\r\n"); got[0] != "200 GET / a" {
		t.Errorf("got %q", got)
	}
	for deadline := time.Now().Add(20 * time.Second); g.evicted.Load() < 150 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if used := g.heads.taken(); used > 1<<20 || g.evicted.Load() < 150 {
		t.Errorf("%d bytes held, %d made room", used, g.evicted.Load())
	}
}

// What HTTP/1 refuses, HTTP/2 refuses, in the same words.
func TestHTTP2IsHeldToTheSameRules(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, h := range []struct {
		target, host string
		header       http.Header
		want         *Fault
	}{
		{"/a?$select=name", "a", http.Header{"X": {"1", "2"}}, nil},
		{"/a b", "a", nil, faultSpace},
		{"/a#b", "a", nil, faultTargetByte('#')},
		{"/" + long, "a", nil, faultLongLine(small)},
		{"/", "a", http.Header{"X": {strings.Repeat("x", 9000)}}, faultLongHead([]byte("\r\nX: 1234567890"), small)},
		{"/", "a", http.Header{"Content_length": {"3"}}, faultUnderscore([]byte("Content_length"), "content-length")},
		{"/", "a", http.Header{"Content_type": {"text/xml"}}, faultUnderscore([]byte("Content_type"), "content-type")},
		{"/", "a", http.Header{"Content-Length": {"3", "3"}}, faultLengths},
		{"/", "u@a", nil, faultHost},
		{"/", "a", http.Header{"Host": {"b"}}, faultHosts},
		{"/", "a", http.Header{"Host": {"a", "a"}}, faultHosts},
		{"/", "a", http.Header{"Host": {"a"}}, nil},
		{"/", "a", http.Header{"X": {"1\r\nY: 2"}}, faultLineBreak},
	} {
		r := &http.Request{Method: "GET", RequestURI: h.target, Host: h.host, Header: h.header, ProtoMajor: 2}
		r = r.WithContext(contextOf(small))
		got := Rejected(r)
		if (got == nil) != (h.want == nil) || got != nil && *got != *h.want {
			t.Errorf("%.40s %v: got %v, want %v", h.target, h.header, got, h.want)
		}
	}
}

func TestTLSOnThePlainPortIsTold(t *testing.T) {
	_, addr := serve(t, Limits{})
	_, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); !ok || string(plain.RecordHeader[:]) != "HTTP/" {
		t.Errorf("got %v", err)
	}
	for raw, want := range map[string]*Fault{
		"\x16\x03\x01\x02\x00\x01\x00": faultTLS, "\x80\x2e\x01\x00\x02": faultGarbage, "SSH-2.0-x\r\n": faultNoVersion,
	} {
		if got := talk(t, addr, 1, raw); got[0] != said(want) {
			t.Errorf("%q: got %q", raw, got)
		}
	}
}

func contextOf(l *Limits) context.Context {
	return context.WithValue(context.Background(), sessionKey{}, &session{guard: &Guard{limits: l}})
}

// Whoever sends no more of a request that is answered already loses its
// connection, however little is missing, and holds no place for ever.
func TestTheRestOfARequestIsNotAwaitedForEver(t *testing.T) {
	for name, rest := range map[string]string{ // of who promises to wait: that one is waited for the shortest
		"a length":          "Content-Length: 100\r\nExpect: 100-continue\r\n\r\nabc",
		"chunks":            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n",
		"what reads beside": "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			g, addr := behind(t, nil, Limits{}, func(w http.ResponseWriter, r *http.Request) {
				if name == "what reads beside" { // as what sends a body on may, when the organization answers early
					reads := make(chan struct{})
					go func() {
						close(reads)
						r.Body.Read(make([]byte, 1))
						http.NewResponseController(w).SetReadDeadline(time.Time{})
						close(over)
					}()
					<-reads
				}
				refusing(w, r)
			})
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, post+rest)
			in := bufio.NewReader(c)
			for status := http.StatusContinue; status == http.StatusContinue; {
				answer, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, answer.Body)
				status = answer.StatusCode
			}
			if name == "what reads beside" {
				io.WriteString(c, "x")
				<-over
			}
			if _, err := io.ReadAll(in); err != nil {
				t.Errorf("the connection stays: %v", err)
			}
			for g.connections.taken()+g.drains.taken() > 0 {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// Who is answered and waited for makes room for others.
func TestWhoIsAnsweredMakesRoom(t *testing.T) {
	for name, raw := range map[string]string{
		"by the handler":   post + "Content-Length: 100\r\n\r\n",
		"by the guard":     post + "Content-Length: 100\r\nContent-Length: 100\r\n\r\n",
		"in broken chunks": te + "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, addr := behind(t, nil, Limits{Connections: 1}, refusing)
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, raw)
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
			for began := time.Now(); ; time.Sleep(time.Millisecond) {
				if got := talk(t, addr, 1, get+"\r\n"); got[0] == "403 not today" {
					break
				} else if time.Since(began) > 20*time.Second {
					t.Fatalf("%q", got)
				}
			}
			if n := g.evicted.Load(); n != 1 {
				t.Errorf("%d made room", n)
			}
		})
	}
}
