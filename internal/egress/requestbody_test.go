package egress_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

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
