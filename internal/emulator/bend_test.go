package emulator_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
)

// overWire starts the emulator on loopback and returns contoso with a token for
// it. Requests go over HTTP/1.1.
func overWire(t *testing.T) (h *harness, org *emulator.Organization, url, token string) {
	t.Helper()
	h = open(t, seed())
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	tr := trusting(t, h.CA())
	tr.ForceAttemptHTTP2 = false
	tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	h.client.Transport = tr
	url = h.OrgURL("contoso")
	return h, h.Organization("contoso"), url, h.token(t, "https://"+h.LoginHost(), tenantID, url)
}

func TestBodyStalls(t *testing.T) {
	h, org, url, tok := overWire(t)
	list := func() *http.Response {
		t.Helper()
		resp, err := h.client.Do(request(t, "GET", url+"/api/data/v9.2/accounts", "", "Authorization", "Bearer "+tok))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	whole, err := io.ReadAll(list().Body)
	if err != nil {
		t.Fatal(err)
	}
	inject(t, org, emulator.Fault{Kind: emulator.Stall, Times: 1, After: 100, Delay: time.Millisecond})
	if got, err := io.ReadAll(list().Body); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("a short pause: %d of %d bytes, %v", len(got), len(whole), err)
	}
	inject(t, org, emulator.Fault{Kind: emulator.Stall, Times: 1, After: 100})
	resp := list()
	begun := make([]byte, 100)
	if _, err := io.ReadFull(resp.Body, begun); err != nil || !bytes.Equal(begun, whole[:100]) {
		t.Errorf("before the pause: %q %v", begun, err)
	}
	rest := make(chan []byte, 1)
	go func() {
		got, _ := io.ReadAll(resp.Body)
		rest <- got
	}()
	resp.Body.Close()
	if got := <-rest; len(got) > 0 {
		t.Errorf("%d bytes behind the place of the pause", len(got))
	}
}

func TestKeptConnectionsAreTorn(t *testing.T) {
	for _, kind := range []emulator.FaultKind{emulator.TearReused, emulator.TearReusedHead} {
		h, org, url, tok := overWire(t)
		create := func() (reused bool, err error) {
			r := request(t, "POST", url+"/api/data/v9.2/accounts", `{"name":"`+strings.Repeat("x", 100)+`"}`, "Authorization", "Bearer "+tok)
			// A request that the client cannot repeat shows the tear.
			r.GetBody = nil
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }}))
			resp, err := h.client.Do(r)
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return reused, err
		}
		inject(t, org, emulator.Fault{Kind: kind, Times: 1})
		if reused, err := create(); reused || err != nil {
			t.Errorf("%s: a new connection is torn: %v", kind, err)
		}
		before, received := org.Answered(204), org.Received()
		if reused, err := create(); !reused || err == nil {
			t.Errorf("%s: reused %v, %v", kind, reused, err)
		}
		if org.Answered(204) != before || kind == emulator.TearReused && org.Received() != received {
			t.Errorf("%s: the request was carried out or seen", kind)
		}
		if _, err := create(); err != nil || len(org.Faults()) != 0 {
			t.Errorf("%s: afterwards %v, %v left", kind, err, org.Faults())
		}
	}
}

func TestSlowHandshake(t *testing.T) {
	h, org, url, _ := overWire(t)
	inject(t, org, emulator.Fault{Kind: emulator.SlowHandshake, Times: 1})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	go func() { done <- client.Handshake() }()
	// The next connection is answered, though the first is not.
	if got := h.get(t, url+"/"); got.StatusCode != 401 {
		t.Errorf("the next connection: %d", got.StatusCode)
	}
	select {
	case err := <-done:
		t.Errorf("the handshake ended: %v", err)
	default:
	}
	c.Close()
	<-done
	inject(t, org, emulator.Fault{Kind: emulator.SlowHandshake, Times: 1, Delay: time.Millisecond})
	h.client.CloseIdleConnections()
	if got := h.get(t, url+"/"); got.StatusCode != 401 {
		t.Errorf("after a pause: %d", got.StatusCode)
	}
}

func TestAnswersBeforeTheAnswer(t *testing.T) {
	h, org, url, tok := overWire(t)
	for status, want := range map[int]int{0: 103, 100: 100, 102: 102} {
		inject(t, org, emulator.Fault{Kind: emulator.Informational, Status: status, Times: 1})
		var got []int
		var header textproto.MIMEHeader
		r := request(t, "GET", url+"/api/data/v9.2/WhoAmI", "", "Authorization", "Bearer "+tok)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error { got, header = append(got, code), h; return nil }}))
		resp := h.do(t, r)
		if resp.StatusCode != 200 || len(got) != 1 || got[0] != want || header.Get("Set-Cookie") == "" || header.Get("WWW-Authenticate") == "" || !strings.Contains(header.Get("Link"), url) {
			t.Errorf("%d: %d, before it %v %v", status, resp.StatusCode, got, header)
		}
		if resp.Header.Get("Link") != "" || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%d: the answer carries them too: %v", status, resp.Header)
		}
	}
}

func TestBentHeaders(t *testing.T) {
	h, org, url, tok := overWire(t)
	inject(t, org, emulator.Fault{Kind: emulator.NoContentType, Times: 1})
	c, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := request(t, "GET", url+"/api/data/v9.2/WhoAmI", "", "Authorization", "Bearer "+tok)
	if err := r.Write(c); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		t.Fatal(err)
	}
	if values, there := resp.Header["Content-Type"]; there || resp.StatusCode != 200 {
		t.Errorf("%d with the type %v", resp.StatusCode, values)
	}
	inject(t, org, emulator.Fault{Kind: emulator.RootedLocation, Times: 1})
	made := h.do(t, request(t, "POST", url+"/api/data/v9.2/accounts", `{"name":"x"}`, "Authorization", "Bearer "+tok))
	if at := made.Header.Get("Location"); !strings.HasPrefix(at, "/api/data/v9.2/accounts(") {
		t.Errorf("Location %q", at)
	}
}

func TestPromisedLimits(t *testing.T) {
	h, org, url, tok := overWire(t)
	const name = "x-ms-ratelimit-burst-remaining-xrm-requests"
	for _, c := range []struct {
		what   string
		limits emulator.Limits
		want   string
	}{
		{"over-promised", emulator.Limits{Requests: 6000, Promised: 8000}, "7999"},
		{"silent", emulator.Limits{Requests: 6000, Silent: true}, ""},
	} {
		org.SetLimits(c.limits)
		got := h.do(t, request(t, "GET", url+"/api/data/v9.2/WhoAmI", "", "Authorization", "Bearer "+tok))
		if got := got.Header.Get(name); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
