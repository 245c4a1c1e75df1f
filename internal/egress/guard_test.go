package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/needs"
)

// transport is set where net/http's Transport is tested.
var transport = needs.ByTransport()

// peer is an organization of raw bytes, over TLS.
type peer struct {
	listener net.Listener
	client   *egress.Client
	config   egress.Config // of client

	certificate []byte
	roots       *x509.CertPool
	accepted    atomic.Int64
	closed      sync.WaitGroup
}

// newPeer has serve speak on each connection, which is closed behind it.
func newPeer(t *testing.T, serve func(n int, conn net.Conn, in *bufio.Reader), change ...func(*egress.Config)) *peer {
	t.Helper()
	certificate, text := certify(t, host, time.Hour)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	speaks := &tls.Config{Certificates: []tls.Certificate{certificate}}
	p := &peer{listener: listener, certificate: text, roots: roots}
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			n := int(p.accepted.Add(1))
			p.closed.Go(func() {
				conn := tls.Server(&held{Conn: raw}, speaks)
				defer conn.Close()
				serve(n, conn, bufio.NewReader(conn))
			})
		}
	}()
	config := egress.Config{
		ByTransport: transport, Patience: egress.Patience{AnswerWithin: 10 * time.Second, IdleWithin: 10 * time.Second},
		Roots: func() *x509.CertPool { return roots },
		Dial:  dialTo(listener.Addr().String()),
	}
	for _, c := range change {
		c(&config)
	}
	p.config, p.client = config, egress.New(config)
	t.Cleanup(func() {
		listener.Close()
		p.client.CloseIdleConnections()
		p.closed.Wait() // no connection is left behind
	})
	return p
}

// dialTo connects to address, whatever is asked for.
func dialTo(address string) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// readRequest reads a request with its body, and returns what the body was.
func readRequest(in *bufio.Reader) (*http.Request, string, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(r.Body)
	return r, string(body), err
}

// answering answers every request with text, on as many connections as come.
func answering(text string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, conn net.Conn, in *bufio.Reader) {
		for {
			if _, _, err := readRequest(in); err != nil {
				return
			}
			io.WriteString(conn, text)
		}
	}
}

// ask makes a request and returns its answer, read whole.
func (p *peer) ask(t *testing.T, method, body string) (*http.Response, string, error) {
	t.Helper()
	resp, err := p.client.RoundTrip(request(t, method, body))
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return resp, string(text), err
}

const ok = "HTTP/1.1 200 OK\r\n"

// How an answer is framed decides where it ends, and whether its connection
// can serve again.
func TestAnswersEndWhereTheyEnd(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		answer, method string
		body           string
		length         int64
		trailer        string
		again          bool // the connection serves the next request too
		closes         bool // the other side closes behind the answer
	}{
		"a length":                  {answer: ok + "Content-Length: 3\r\n\r\nabc", body: "abc", length: 3, again: true},
		"no bytes":                  {answer: ok + "Content-Length: 0\r\n\r\n", length: 0, again: true},
		"chunks":                    {answer: ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n", body: "abc", length: -1, again: true},
		"chunks in capitals":        {answer: ok + "transfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", body: "0123456789", length: -1, again: true},
		"no chunk":                  {answer: ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", length: -1, again: true},
		"a trailer told":            {answer: ok + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n", body: "a", length: -1, trailer: "7", again: transport},
		"a trailer not told":        {answer: ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 8\r\n\r\n", body: "a", length: -1, trailer: "8", again: true},
		"the connection's end":      {answer: ok + "\r\nabc", body: "abc", length: -1, closes: true},
		"a blank before the colon":  {answer: ok + "Content-Length : 9\r\n\r\nabc", body: "abc", length: -1, closes: true},
		"HTTP/1.0":                  {answer: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", body: "abc", length: 3},
		"Connection: close":         {answer: ok + "Connection: close\r\nContent-Length: 3\r\n\r\nabc", body: "abc", length: 3},
		"Connection: x, Close":      {answer: ok + "Connection: x, Close\r\nContent-Length: 3\r\n\r\nabc", body: "abc", length: 3},
		"HEAD":                      {method: "HEAD", answer: ok + "Content-Length: 30\r\n\r\n", length: 30, again: true},
		"HEAD, chunked":             {method: "HEAD", answer: ok + "Transfer-Encoding: chunked\r\n\r\n", length: -1, again: true},
		"HEAD, nothing told":        {method: "HEAD", answer: ok + "\r\n", length: -1, again: true},
		"204":                       {method: "POST", answer: "HTTP/1.1 204 No Content\r\n\r\n", length: 0, again: true},
		"204 with a length":         {answer: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", length: 0, again: true},
		"304 with a length":         {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n", length: 0, again: true},
		"no reason":                 {answer: "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", body: "a", length: 1, again: true},
		"bytes behind its end":      {answer: ok + "Content-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", body: "abc", length: 3},
		"bytes behind its chunks":   {answer: ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nx", body: "abc", length: -1},
		"bytes behind 204":          {answer: "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", length: 0},
		"an empty head's own bytes": {method: "HEAD", answer: ok + "Content-Length: 3\r\n\r\nabc", length: 3},
		"chunks and a length":       {answer: ok + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", body: "abc", length: -1, again: transport},
		"a length told twice":       {answer: ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", body: "abc", length: 3, again: transport},
		"a folded line":             {answer: ok + "X-A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc", body: "abc", length: 3, again: transport},
		"lines that end in LF":      {answer: "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", body: "abc", length: 3, again: transport},
		"a head of 40 KB":           {answer: ok + strings.Repeat("X-Long: "+strings.Repeat("x", 990)+"\r\n", 40) + "Content-Length: 3\r\n\r\nabc", body: "abc", length: 3, again: transport},
		"a long answer":             {answer: ok + "Content-Length: 300000\r\n\r\n" + strings.Repeat("abc", 100_000), body: strings.Repeat("abc", 100_000), length: 300_000, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{}, 16) // connections
			p := newPeer(t, func(n int, conn net.Conn, in *bufio.Reader) {
				defer func() { ended <- struct{}{} }()
				for {
					if _, _, err := readRequest(in); err != nil {
						return
					}
					io.WriteString(conn, x.answer)
					if x.closes {
						return
					}
				}
			})
			if x.method == "" {
				x.method = "GET"
			}
			for range 3 {
				resp, text, err := p.ask(t, x.method, "")
				if err != nil || text != x.body || resp.ContentLength != x.length {
					t.Fatalf("%.60q of length %d, %v", text, resp.ContentLength, err)
				}
				if got := resp.Trailer.Get("X-Sum"); got != x.trailer {
					t.Errorf("trailer %q", got)
				}
				if transport && !x.again {
					<-ended // what it sees too late for a next request, it sees
				}
			}
			want := int64(3)
			if x.again {
				want = 1
			}
			if got := p.accepted.Load(); got != want {
				t.Errorf("%d connections, want %d", got, want)
			}
		})
	}
}

// An answer that only the connection's end ends is whole however that comes,
// unless it says itself that it is not.
func TestJSONThatIsTornOffIsNoAnswer(t *testing.T) {
	t.Parallel()
	const kind = "Content-Type: application/json; odata.metadata=minimal\r\n"
	for name, x := range map[string]struct {
		header, body string
		goodbye      bool // of TLS
		torn         bool
	}{
		"in a string":          {kind, `{"value":[{"name":"a`, false, true},
		"behind a value":       {kind, `{"value":[{"name":"a"`, false, true},
		"in a list":            {kind, "\r\n[1, 2,\n", false, true},
		"as told":              {kind, `{"value":[{"name":"a`, true, false},
		"whole":                {kind, `{"value":[]}` + "\r\n", false, false},
		"a whole list":         {kind, "[1]", false, false},
		"no object":            {kind, `"a`, false, false},
		"nothing":              {kind, "", false, false},
		"text":                 {"Content-Type: text/plain\r\n", `{"value":[`, false, false},
		"packed":               {kind + "Content-Encoding: br\r\n", `{"value":[`, false, false},
		"packed in nothing":    {kind + "Content-Encoding: identity\r\n", `{"value":[`, false, true},
		"whole, with goodbye":  {kind, `{"value":[]}`, true, false},
		"of a type in capital": {"Content-Type: Application/JSON\r\n", `{"value":[`, false, true},
	} {
		p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
			readRequest(in)
			io.WriteString(conn, ok+x.header+"\r\n"+x.body)
			if !x.goodbye {
				conn.(*tls.Conn).NetConn().(*held).Conn.(*net.TCPConn).CloseWrite()
			}
		})
		_, text, err := p.ask(t, "GET", "")
		e, is := errors.AsType[*egress.Error](err)
		if text != x.body || x.torn != (err != nil) || err != nil && (!is || e.Stage != egress.Body || e.Timeout || e.Sent == 0) {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

// No header stands in an answer that the organization did not send. net/http
// makes one of Pragma, and cannot be told not to.
func TestNoHeaderIsInvented(t *testing.T) {
	if transport {
		return
	}
	t.Parallel()
	for name, framing := range map[string]string{"a length": "Content-Length: 3\r\n", "chunks and a length": "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n", "the connection's end": ""} {
		for told, want := range map[string]string{"": "", "cache-control: no-cache\r\n": "no-cache", "Cache-Control: private\r\n": "private"} {
			body := "abc"
			if strings.Contains(framing, "chunked") {
				body = "3\r\nabc\r\n0\r\n\r\n"
			}
			p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				readRequest(in)
				io.WriteString(conn, ok+"Pragma: no-cache\r\n"+told+framing+"\r\n"+body)
			})
			resp, text, err := p.ask(t, "GET", "")
			if err != nil || text != "abc" || resp.Header.Get("Pragma") != "no-cache" || resp.Header.Get("Cache-Control") != want {
				t.Errorf("%s, %q: %v %q %v", name, told, resp, text, err)
			}
		}
	}
}

// What cannot be one answer is none.
func TestMalformedAnswersAreRefused(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"two lengths":                  ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"two lengths in a line":        ok + "Content-Length: 3, 3\r\n\r\nabc",
		"a length with a sign":         ok + "Content-Length: +3\r\n\r\nabc",
		"a negative length":            ok + "Content-Length: -3\r\n\r\nabc",
		"a length of hex":              ok + "Content-Length: 0x3\r\n\r\nabc",
		"no length":                    ok + "Content-Length: \r\n\r\nabc",
		"a length too large":           ok + "Content-Length: 99999999999999999999\r\n\r\nabc",
		"two codings":                  ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"gzip, chunked":                ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"identity":                     ok + "Transfer-Encoding: identity\r\n\r\nabc",
		"NUL in a value":               ok + "X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"NUL in a name":                ok + "X\x00A: b\r\nContent-Length: 0\r\n\r\n",
		"CR in a value":                ok + "X-A: a\rb\r\nContent-Length: 0\r\n\r\n",
		"a blank first line":           ok + " X: y\r\nContent-Length: 3\r\n\r\nabc",
		"no colon":                     ok + "nothing\r\n\r\n",
		"no name":                      ok + ": nothing\r\n\r\n",
		"a status of two digits":       "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
		"a status of letters":          "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
		"another protocol":             "HTTQ/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"a chunk without a size":       ok + "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
		"a chunk that is longer":       ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
		"a chunk size with a sign":     ok + "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
		"a chunk too large":            ok + "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nabc\r\n0\r\n\r\n",
		"a chunk line too long":        ok + "Transfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("x", 9000) + "\r\nabc\r\n0\r\n\r\n",
		"a chunk line that ends in LF": ok + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
		"no end behind the last chunk": ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
		"a trailer without end":        ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n",
		"a trailer too long":           ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 990)+"\r\n", 100) + "\r\n",
		"half a body":                  ok + "Content-Length: 30\r\n\r\nabc",
		"half a chunk":                 ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"no last chunk":                ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"half a head":                  ok + "Content-Le",
		"half a line":                  "HTTP/1.1 2",
		"nothing":                      "",
		"a head without end":           ok + strings.Repeat("X-Long: "+strings.Repeat("x", 990)+"\r\n", 12_000),
		"a line without end":           strings.Repeat("x", 11<<20),
		"interim answers for ever":     strings.Repeat("HTTP/1.1 102 Processing\r\nX-Long: "+strings.Repeat("x", 1000)+"\r\n\r\n", 12_000),
		"a switch of protocol":         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				if _, _, err := readRequest(in); err == nil {
					io.WriteString(conn, answer)
				}
			})
			_, text, err := p.ask(t, "POST", "{}")
			e, is := errors.AsType[*egress.Error](err)
			if !is || e.Sent == 0 || e.Timeout {
				t.Fatalf("%.60q, %v", text, err)
			}
			if words := err.Error(); strings.ContainsAny(words, "\"\x00") || strings.Contains(words, "xxx") {
				t.Errorf("it says %q", words)
			}
			if got := p.accepted.Load(); got != 1 {
				t.Errorf("sent %d times", got)
			}
		})
	}
}

// What comes on a connection that nobody uses is never an answer, however it
// comes: with the answer before, in one record with it, cut in the middle of a
// record, or later.
func TestUnaskedBytesAreNoAnswer(t *testing.T) {
	t.Parallel()
	const honest, forged = ok + "Content-Length: 6\r\n\r\nhonest", ok + "Content-Length: 6\r\n\r\nforged"
	for name, send := range map[string]func(conn net.Conn, answered func()){
		"in one record": func(conn net.Conn, _ func()) { io.WriteString(conn, honest+forged) },
		"in the next record": func(conn net.Conn, answered func()) {
			writeTogether(conn, len(honest)+len(forged)+100, answered, honest, forged)
		},
		"a part of a record":   func(conn net.Conn, answered func()) { writeTogether(conn, len(honest)+60, answered, honest, forged) },
		"a part of its header": func(conn net.Conn, answered func()) { writeTogether(conn, len(honest)+25, answered, honest, forged) },
		"a moment later": func(conn net.Conn, answered func()) {
			io.WriteString(conn, honest)
			answered()
			io.WriteString(conn, forged)
		},
		"an alert, then nothing": func(conn net.Conn, _ func()) { io.WriteString(conn, honest); conn.(*tls.Conn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, sent := make(chan bool, 1), make(chan bool, 1)
			p := newPeer(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				for {
					if _, _, err := readRequest(in); err != nil {
						return
					}
					send(conn, func() { <-read; read <- true })
					sent <- true
				}
			})
			for range 4 {
				if _, text, err := p.ask(t, "POST", `{"name":"once"}`); err != nil || text != "honest" {
					t.Fatalf("%q %v", text, err)
				}
				read <- true
				<-sent
				<-read
				time.Sleep(20 * time.Millisecond) // for net/http's client, which reads beside
			}
			if got := p.accepted.Load(); got != 4 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

// held is a connection that can keep back what is written.
type held struct {
	net.Conn
	kept *[]byte // nil while nothing is kept back
}

func (h *held) Write(p []byte) (int, error) {
	if h.kept == nil {
		return h.Conn.Write(p)
	}
	*h.kept = append(*h.kept, p...)
	return len(p), nil
}

// writeTogether writes the first n bytes of the records of texts at once, and
// the rest once the first was answered.
func writeTogether(conn net.Conn, n int, answered func(), texts ...string) {
	raw := conn.(*tls.Conn).NetConn().(*held)
	var all []byte
	raw.kept = &all
	for _, text := range texts {
		io.WriteString(conn, text)
	}
	raw.kept = nil
	n = min(n, len(all))
	raw.Conn.Write(all[:n])
	answered()
	raw.Conn.Write(all[n:])
}
