package door

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/httpguard"
)

// An operator's body must come soon; what is done with it may take as long as
// it takes.
func TestTheTimeOfABodyEndsWithIt(t *testing.T) {
	const within = 50 * time.Millisecond
	cut, read := make(chan bool, 1), make(chan error, 1)
	b := Bounds{Known: func() func(string) bool { return nil }, Body: 10, Within: within}
	s := httptest.NewServer(b.Before(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		read <- err
		select {
		case <-r.Context().Done():
			cut <- true
		case <-time.After(5 * within):
			cut <- false
		}
	})))
	defer s.Close()
	answer, err := http.Post(s.URL, "text/plain", strings.NewReader("x"))
	if err == nil {
		answer.Body.Close()
	}
	if readErr := <-read; <-cut || readErr != nil {
		t.Errorf("the time of the body cut off the work: %v, %v", err, readErr)
	}

	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
	if err := <-read; err == nil {
		t.Error("a body that does not end is waited for")
	}
}

// What a listener may be called, and no more.
func TestHostsAreOurOwnOrNamed(t *testing.T) {
	known := Hosts([]string{"localhost", "proxy.corp.example"}, []string{" Crm.example.com ", "*.contoso.example", "[2001:db8::1]:80", "crm.lan.:8080", "*.corp.lan."}, "https://Ops.example.com.:8443/x")
	for host, want := range map[string]bool{
		"localhost": true, "proxy": true, "a.localhost": true, "127.0.0.1": true, "::1": true, "2001:db8::9": true, "PROXY.corp.example.": true, "crm.lan": true, "crm.lan.:80": true, "a.corp.lan": true,
		"crm.example.com": true, "a.contoso.example": true, "a.b.contoso.example": true, "ops.example.com": true,
		"contoso.example": false, "evilcontoso.example": false, "x.crm.example.com": false, "evil.example": false, "localhost.evil.example": false,
	} {
		if known(httpguard.HostName(host)) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	if Hosts(nil, []string{"a.example", "*"}, "") != nil {
		t.Error("* does not allow any")
	}
}
