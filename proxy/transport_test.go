package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/problem"
)

func (c *testProxy) inject(f emulator.Fault) {
	c.t.Helper()
	if err := c.contoso.Inject(f); err != nil {
		c.t.Fatal(err)
	}
}

// received returns how many requests of that method reached contoso, and the
// bodies that arrived whole.
func (c *testProxy) received(method string) (n int, bodies []string) {
	for _, r := range c.contoso.Requests() {
		if r.Method == method {
			n++
			bodies = append(bodies, string(r.Body))
		}
	}
	return n, bodies
}

const jsonType = "Content-Type: application/json"

func TestARefusedTokenIsRenewedAndTheCallSentAgainOnce(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.get("/contoso/api/data/v9.2/WhoAmI")
	c.contoso.RevokeTokens()
	a := c.call("POST", create, `{"name":"once"}`, jsonType)
	if a.StatusCode != 204 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if n, bodies := c.received("POST"); n != 2 || bodies[1] != `{"name":"once"}` {
		t.Errorf("%d requests, %q", n, bodies)
	}
	if rows := c.get(create + "?$filter=name%20eq%20'once'&$select=name").body; strings.Count(rows, `"name":"once"`) != 1 {
		t.Errorf("created %s", rows)
	}
	if !strings.Contains(c.log.String(), `"attempts":2`) {
		t.Error("the log does not tell of the second attempt")
	}
}

func TestA401NeverReachesACaller(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]emulator.Fault{
		"401":              {Kind: emulator.Status, Status: 401},
		"sign-in redirect": {Kind: emulator.SignInRedirect},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestProxy(t)
			c.inject(fault)
			c.get("/contoso/api/data/v9.2/WhoAmI").refused(t, problem.TokenRefused, 502)
			if n, _ := c.received("GET"); n != 2 {
				t.Errorf("%d attempts", n)
			}
		})
	}
}

func TestASignInPageForSOAPCountsAs401(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.SignInPage, Times: 1})
	a := c.soap(soapEnvelope("", soapExecute("", "WhoAmI")))
	if a.StatusCode != 200 || !strings.Contains(a.body, "UserId") {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
}

// What may be sent a second time, by method and by what went wrong.
func TestWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	const contact = "/contoso/api/data/v9.2/accounts"
	type row struct {
		method, header string
		again          bool
	}
	safe := []row{
		{"GET", "", true}, {"HEAD", "", true}, {"POST", "", false}, {"PATCH", "", false}, {"PUT", "", false}, {"DELETE", "", false},
		{"PATCH", `If-Match: W/"1"`, true}, {"PUT", `If-Match: W/"1"`, true}, {"DELETE", `If-Match: W/"1"`, true},
		{"PATCH", "If-Match: *", false}, {"DELETE", "If-Match: *", false}, {"POST", `If-Match: W/"1"`, false},
	}
	all := []row{{"GET", "", true}, {"POST", "", true}, {"PATCH", "", true}, {"DELETE", "", true}, {"PUT", "", true}}
	for name, f := range map[string]struct {
		fault emulator.Fault
		rows  []row
	}{
		"502":                {emulator.Fault{Kind: emulator.Status, Status: 502, Times: 1}, safe},
		"503":                {emulator.Fault{Kind: emulator.Status, Status: 503, Times: 1}, safe},
		"504":                {emulator.Fault{Kind: emulator.Status, Status: 504, Times: 1}, safe},
		"torn before":        {emulator.Fault{Kind: emulator.ResetBefore, Times: 1}, safe},
		"torn after":         {emulator.Fault{Kind: emulator.ResetAfter, Times: 1}, safe},
		"throttled":          {emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: time.Second, Times: 1}, all},
		"500 is no accident": {emulator.Fault{Kind: emulator.Status, Status: 500, Times: 1}, []row{{"GET", "", false}, {"POST", "", false}}},
	} {
		for _, r := range f.rows {
			t.Run(name+" "+r.method+" "+r.header, func(t *testing.T) {
				t.Parallel()
				c := newTestProxy(t)
				c.inject(f.fault)
				headers := []string{jsonType}
				if r.header != "" {
					headers = append(headers, r.header)
				}
				body := `{"name":"x"}`
				if r.method == "GET" || r.method == "HEAD" || r.method == "DELETE" {
					body = ""
				}
				c.call(r.method, contact, body, headers...)
				n, bodies := c.received(r.method)
				if want := 1 + map[bool]int{true: 1}[r.again]; n != want {
					t.Fatalf("sent %d times, want %d; the log says %s", n, want, c.log)
				}
				if r.again && bodies[1] != body {
					t.Errorf("the second body is %q", bodies[1])
				}
			})
		}
	}
}

func TestAnOrganizationThatStaysDownIsToldAsSuch(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.Status, Status: 503})
	a := c.get("/contoso/api/data/v9.2/WhoAmI")
	if a.StatusCode != 503 || a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("an organization's own answer passes: %d %v", a.StatusCode, a.Header)
	}
	c.contoso.Heal()
	c.inject(emulator.Fault{Kind: emulator.Down})
	c.get("/contoso/api/data/v9.2/WhoAmI").refused(t, problem.UpstreamUnreachable, 502)
}

func TestAnAnswerThatBreaksOffIsNoShorterAnswer(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"Accept-Encoding: identity", "Accept-Encoding: gzip"} {
		c := newTestProxy(t)
		c.inject(emulator.Fault{Kind: emulator.ResetMiddle})
		conn := c.dial()
		fmt.Fprintf(conn, "GET /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", coding)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
		}
		if err == nil {
			t.Errorf("%s: the caller saw a whole answer", coding)
		}
		if n, _ := c.received("GET"); n != 1 {
			t.Errorf("%s: sent %d times, though the answer had begun", coding, n)
		}
		conn.Close()
	}
}

func TestABodyThatBreaksOffChangesNothing(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	conn := c.dial()
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: 100\r\n\r\n{\"name\":", create, jsonType)
	conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	(&answer{Response: resp, body: string(text)}).refused(t, problem.BadRequest, 400)
	if n, _ := c.received("POST"); n != 0 {
		t.Errorf("%d requests were sent on", n)
	}
}

// A large body streams, in no more memory than a small one, and can still be
// sent again.
func TestLargeBodiesStreamAndAreKept(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.get("/contoso/api/data/v9.2/WhoAmI")
	body := strings.Repeat("0123456789abcdef", 3<<20/16)
	id := strings.Trim(firstID(t, c), `"`)
	target := "/contoso/api/data/v9.2/accounts(" + id + ")/sample_filecolumn?x-ms-file-name=a.bin"
	a := c.call("PATCH", target, body, "Content-Type: application/octet-stream")
	if a.StatusCode/100 != 2 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	c.contoso.RevokeTokens()
	if a := c.call("PATCH", target, body, "Content-Type: application/octet-stream"); a.StatusCode/100 != 2 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	down := c.get("/contoso/api/data/v9.2/accounts(" + id + ")/sample_filecolumn/$value")
	if down.err != nil || down.body != body {
		t.Errorf("got back %d bytes, %v", len(down.body), down.err)
	}
}

func firstID(t *testing.T, c *testProxy) string {
	t.Helper()
	_, rest, ok := strings.Cut(c.get(create+"?$select=name&$top=1").body, `"accountid":`)
	if !ok || len(rest) < 38 {
		t.Fatal("no account")
	}
	return rest[:38]
}

func TestRateAndBurst(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "RATE=2\nBURST=2\nQUEUE_WAIT=700ms"))
	statuses := make(chan *answer, 8)
	began := time.Now()
	for range 8 {
		go func() { statuses <- c.get("/contoso/api/data/v9.2/WhoAmI") }()
	}
	served := 0
	for range 8 {
		a := <-statuses
		if a.StatusCode == 200 {
			served++
			continue
		}
		a.refused(t, problem.LimitWaitExceeded, 429)
		if !strings.Contains(a.body, `"code":"0x80072322"`) || a.Header.Get("Retry-After") == "" {
			t.Errorf("%v %s", a.Header, a.body)
		}
	}
	took := time.Since(began)
	if took < 400*time.Millisecond {
		t.Errorf("nobody waited: %v", took)
	}
	// Two at once, a third within its patience, and no more than the rate gives
	// while the callers come.
	if most := 2 + int(2*took.Seconds()); served < 3 || served > most {
		t.Errorf("%d were served within %v, want 3 to %d", served, took, most)
	}
	if c.contoso.Answered(429) != 0 {
		t.Error("the organization had to refuse")
	}
}

func TestGzipIsAskedForAndHiddenFromWhoDidNot(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	plain := c.get("/contoso/api/data/v9.2/accounts", "Accept-Encoding: identity")
	if got := c.last().Header.Get("Accept-Encoding"); got != "gzip" {
		t.Errorf("asked for %q", got)
	}
	if plain.Header.Get("Content-Encoding") != "" || !bytes.HasPrefix([]byte(plain.body), []byte(`{"@odata.context"`)) {
		t.Errorf("%v %.100q", plain.Header, plain.body)
	}
}
