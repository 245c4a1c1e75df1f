package kerberos

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dynproxy/internal/kerberos/kdctest"
)

// TestRealCenterAndCurl goes the whole way of an application on a Windows
// domain: sign in, ask for a page, be challenged, answer with a ticket.
func TestRealCenterAndCurl(t *testing.T) {
	k := kdctest.Start(t)
	a, err := Open(k.Keytab, "HTTP/localhost")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards sent
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		if authorization == "" {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, authorization)
		principal, reply, err := a.Accept(authorization)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("WWW-Authenticate", reply)
		fmt.Fprint(w, principal)
	}))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	ask := func(more ...string) string {
		args := append([]string{"-sS", "--max-time", "20", "--resolve", fmt.Sprintf("localhost:%d:127.0.0.1", port), "-w", " %{http_code}"}, more...)
		return k.Run(t, "", "curl", append(args, fmt.Sprintf("http://localhost:%d/", port))...)
	}

	if got := ask("--negotiate", "-u", ":"); !strings.HasSuffix(got, " 401") {
		t.Errorf("without a ticket: %q", got)
	}
	k.Run(t, "wonderland\n", "kinit", "alice")
	for range 2 { // each request has a token of its own
		if got := ask("--negotiate", "-u", ":"); got != "alice@CORP.TEST 200" {
			t.Errorf("with a ticket: %q", got)
		}
	}
	mu.Lock()
	overheard := sent[len(sent)-1]
	mu.Unlock()
	if got := ask("-H", "Authorization: "+overheard); got != "the token was used before\n 401" {
		t.Errorf("a token that somebody overheard: %q", got)
	}
	if got := ask("--ntlm", "-u", "alice:wonderland"); !strings.HasSuffix(got, " 401") {
		t.Errorf("NTLM: %q", got)
	}
	k.ChangeServiceKey(t)
	k.Run(t, "wonderland\n", "kinit", "alice")
	if got := ask("--negotiate", "-u", ":"); !strings.HasPrefix(got, "the ticket does not fit the keytab") {
		t.Errorf("after the service's key was changed: %q", got)
	}
}
