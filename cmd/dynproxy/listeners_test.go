package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// A web page that points its own name at the operators' port must not read
// what is there.
func TestOpsAnswersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"OPS_PUBLIC_URL"] = "https://ops.example.com/x"
	settings[prefix+"ALLOWED_HOSTS"] = "other.example.com"
	r := start(t, settings)
	for host, want := range map[string]int{
		"evil.example": 400, "evil.example:8081": 400, "localhost.evil.example": 400,
		"localhost": 200, "127.0.0.1:8081": 200, "[::1]": 200, "dynproxy": 200, "ops.example.com": 200, "other.example.com:80": 200,
	} {
		for _, path := range []string{"/api/tenants", "/", "/metrics", "/healthz"} {
			q, _ := http.NewRequest("GET", r.ops+path, nil)
			q.Host = host
			answer, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != want || want == 400 && (answer.Header.Get("Dynproxy-Error") != "bad_request" || strings.Contains(string(body), "contoso")) {
				t.Errorf("%s%s: %s %.200s", host, path, answer.Status, body)
			}
		}
	}
}

func TestOpsSpeaksTLSAndKeepsTheOldPair(t *testing.T) {
	t.Parallel()
	p, ca := startEmulator(t, demoSeed()), newTestCA(t)
	settings := p.settings("contoso")
	certFile, keyFile := overTLS(t, ca, settings)
	settings[prefix+"OPS_TLS_CERT_FILE"], settings[prefix+"OPS_TLS_KEY_FILE"] = certFile, keyFile
	r := start(t, settings)
	ops := strings.Replace(r.ops, "http://127.0.0.1", "https://localhost", 1)
	asked := func() {
		t.Helper()
		answer, err := secureClient(ca).Get(ops + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Error(answer.Status)
		}
	}
	asked()
	if _, _, err := r.command(settings, "health"); err != nil {
		t.Error(err)
	}
	answer, err := http.Get(r.ops + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 400 || !strings.Contains(string(body), "https://") {
		t.Errorf("plain HTTP: %s %s", answer.Status, body)
	}
	_, other := ca.sign("localhost")
	write(t, keyFile, other)
	r.await("the word on the bad pair", func(line string) bool {
		return strings.Contains(line, "OPS_TLS_CERT_FILE") && strings.Contains(line, "cannot be used")
	})
	asked()
}

func TestSilentOperatorsDoNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	for n := range 600 {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.ops, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n%2 == 0 {
			continue // says nothing at all
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 30<<10))
	}
	answer, err := http.Get(r.ops + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
	if n := connectionsOf(t, r.ops, "operators"); n > opsConnections {
		t.Errorf("%d connections are open", n)
	}
}

// connectionsOf is how many a listener has open, by the metrics at ops.
func connectionsOf(t *testing.T, ops, listener string) (n int) {
	t.Helper()
	_, text := fetch(t, ops+"/metrics")
	_, value, found := strings.Cut(text, "\ndynproxy_connections_open{listener=\""+listener+"\"} ")
	if !found {
		t.Fatal("there is no metric")
	}
	fmt.Sscanf(value, "%d", &n)
	return n
}

// With few descriptors and more idle connections than there are, a call is
// answered all the same, and the start says what is short.
func TestIdleConnectionsLeaveDescriptorsForCalls(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		needs.Missing(t, "no such limit")
	}
	p := startEmulator(t, demoSeed())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "dynproxy")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	proxy := exec.Command("sh", "-c", `ulimit -n 256 && exec "$0" serve`, program)
	proxy.Env = append(os.Environ(), prefix+"LISTEN=127.0.0.1:0", prefix+"OPS_LISTEN=127.0.0.1:0")
	for name, value := range p.settings("contoso") {
		proxy.Env = append(proxy.Env, name+"="+value)
	}
	out, err := proxy.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer proxy.Wait()
	defer proxy.Process.Kill()
	address, ops, warned := "", "", false
	lines := bufio.NewScanner(out)
	for address == "" && lines.Scan() {
		warned = warned || strings.Contains(lines.Text(), "limit of open files")
		if _, rest, ok := strings.Cut(lines.Text(), `"listen":"`); ok {
			address, rest, _ = strings.Cut(rest, `"`)
			_, rest, _ = strings.Cut(rest, `"ops_listen":"`)
			ops, _, _ = strings.Cut(rest, `"`)
		}
	}
	go io.Copy(io.Discard, out)
	if address == "" || !warned {
		t.Fatalf("address %q, warned: %v", address, warned)
	}
	for range 400 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	client := &http.Client{Timeout: time.Minute}
	for range 10 {
		answer, err := client.Get("http://" + address + whoAmIPath)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
	}
	if n := connectionsOf(t, "http://"+ops, "callers"); n > 256/2 {
		t.Errorf("%d of 256 files are callers' connections", n)
	}
}

func TestBrokenChunksAreTheCallersBadRequest(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	for _, kind := range []string{"application/json", "application/octet-stream"} {
		got := r.raw("POST /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: a\r\nContent-Type: " + kind + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nxyz\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "Dynproxy-Error: bad_request") || !strings.Contains(got, "chunk size is not a hex number") {
			t.Errorf("%s: got %q", kind, got)
		}
		r.await("its line", func(line string) bool { return strings.Contains(line, `"error":"bad_request"`) })
	}
}

// HTTP/1.0 needs no Host: links lead to where the caller came in.
func TestWithoutHostLinksLeadToTheConnectionsAddress(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	got := r.raw("GET /contoso/api/data/v9.2/accounts?$top=1 HTTP/1.0\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.0 200") || !strings.Contains(got, `"@odata.context":"`+r.calls+"/contoso/api/data/v9.2/") {
		t.Errorf("got %.600q", got)
	}
}

// Who has the proxy as HTTP proxy asks in absolute form, some with the port of
// the scheme: links are of the same authority without it.
func TestInAbsoluteFormLinksLeadBack(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	for _, hosts := range [][2]string{{"localhost:80", "localhost"}, {"localhost", "localhost:80"}, {"localhost", "localhost"}} {
		got := r.raw("GET http://" + hosts[0] + "/contoso/api/data/v9.2/accounts?$top=1 HTTP/1.1\r\nHost: " + hosts[1] + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.Contains(got, `"@odata.context":"http://localhost/contoso/api/data/v9.2/`) {
			t.Errorf("%s: got %.600q", hosts, got)
		}
	}
}

// A caller that came by one name of this machine may write any other in links.
func TestLinksByEveryNameOfThisMachine(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.calls, "http://"))
	machine, _ := os.Hostname()
	post := func(host, body string) string {
		return r.raw(fmt.Sprintf("POST /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", host, port, len(body), body))
	}
	made := regexp.MustCompile(`OData-EntityId: http://[^/]+(/\S+)`).FindStringSubmatch(post("localhost", `{"name":"x"}`))
	if made == nil {
		t.Fatal("nothing was made")
	}
	names := []string{"localhost", "127.0.0.1", "[::1]", machine}
	for _, came := range names {
		for _, written := range names {
			got := post(came, `{"name":"y","parentaccountid@odata.bind":"http://`+written+":"+port+made[1]+`"}`)
			if !strings.HasPrefix(got, "HTTP/1.1 204") {
				t.Errorf("%s, by %s: %.400q", written, came, got)
			}
		}
	}
}

// A CA that replaces another lets its own callers in, and the other's no more.
func TestCallersCAIsReadAgain(t *testing.T) {
	t.Parallel()
	p, ca, next := startEmulator(t, demoSeed()), newTestCA(t), newTestCA(t)
	settings := p.settings("contoso")
	overTLS(t, ca, settings)
	file := write(t, filepath.Join(t.TempDir(), "ca.pem"), ca.pem)
	settings[prefix+"CALLER_CA_FILE"] = file
	r := start(t, settings)
	at := strings.Replace(r.calls, "http://127.0.0.1", "https://localhost", 1) + whoAmIPath
	ask := func(c *http.Client) bool {
		answer, err := c.Get(at)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}
	old, young := secureClient(ca, ca.pair("legacy")), secureClient(ca, next.pair("legacy"))
	kept := func(h2 bool) *http.Client {
		c := secureClient(ca, ca.pair("legacy"))
		c.Transport.(*http.Transport).DisableKeepAlives, c.Transport.(*http.Transport).ForceAttemptHTTP2 = false, h2
		return c
	}
	first, second := kept(false), kept(true)
	status := func(c *http.Client) int {
		answer, err := c.Get(at)
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return answer.StatusCode
	}
	if !ask(old) || ask(young) || status(first) != 200 || status(second) != 200 {
		t.Fatal("before the change")
	}
	write(t, file, next.pem)
	r.await("the word on the new CA", func(line string) bool {
		return strings.Contains(line, "CALLER_CA_FILE") && strings.Contains(line, "in use")
	})
	if ask(old) || !ask(young) {
		t.Error("after the change the old CA counts")
	}
	for name, c := range map[string]*http.Client{"HTTP/1": first, "HTTP/2": second} {
		if was, now := status(c), status(c); was != http.StatusUnauthorized || now != 0 {
			t.Errorf("a connection kept by %s from before: %d, and then %d", name, was, now)
		}
	}
}

// An operator's body must be small.
func TestOperatorsBodiesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, startEmulator(t, demoSeed()).settings("contoso"))
	for path, want := range map[string]int{"/tenants/contoso/check": 413, "/api/tenants": 413, "/consent/callback": 413} {
		q, _ := http.NewRequest("POST", r.ops+path, io.LimitReader(zeros{}, opsBody+1))
		q.ContentLength = opsBody + 1
		said, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		said.Body.Close()
		if said.StatusCode != want || said.Header.Get("Dynproxy-Error") != "bad_request" {
			t.Errorf("%s: %s", path, said.Status)
		}
	}
	// One whose length only its end tells.
	for spaces, fits := range map[int64]bool{opsBody / 2: true, opsBody: false} {
		question := io.MultiReader(io.LimitReader(blanks{}, spaces), strings.NewReader(`{"method":"GET","target":"`+whoAmIPath+`"}`))
		said, err := http.Post(r.ops+"/api/explain", "application/json", question)
		if err != nil {
			t.Errorf("%d blanks: %v", spaces, err)
			continue
		}
		said.Body.Close()
		if (said.StatusCode == http.StatusOK) != fits {
			t.Errorf("%d blanks: %s", spaces, said.Status)
		}
	}
}

type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A head of which nothing more comes does not wait for ever for the rest.
func TestAnOperatorsHeadIsNotAwaitedForEver(t *testing.T) {
	needs.Long(t)
	t.Parallel()
	r := start(t, startEmulator(t, demoSeed()).settings("contoso"))
	c, err := net.Dial("tcp", strings.TrimPrefix(r.ops, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX: ")
	c.SetReadDeadline(time.Now().Add(40 * time.Second))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it is still awaited")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A file of roots that is spoilt is told of at once, not when the next
// connection needs it; what was trusted stays so.
func TestSpoiltRootsAreToldWithoutACall(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	good, err := os.ReadFile(settings[prefix+"TRUSTED_CA_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "roots.pem"), good)
	settings[prefix+"TRUSTED_CA_FILE"] = file
	r := start(t, settings)
	write(t, file, []byte("spoilt"))
	r.await("word of the spoilt file", func(line string) bool {
		return strings.Contains(line, "TRUSTED_CA_FILE cannot be used") && strings.Contains(line, `"level":"error"`)
	})
	if answer, text := r.get(whoAmIPath); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Status, text)
	}
	write(t, file, append(good, '\n'))
	r.await("word of the mended file", func(line string) bool { return strings.Contains(line, "TRUSTED_CA_FILE was read again") })
}

// A name that is allowed is one of the proxy in links, too, under whichever name
// the call itself comes.
func TestAllowedNamesAreTheProxysOwnInLinks(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam")
	settings[prefix+"ALLOWED_HOSTS"] = "CRM.lan., ,*.example.com,"
	r := start(t, settings)
	_, port, _ := strings.Cut(strings.TrimPrefix(r.calls, "http://"), ":")
	post := func(to, body string) (*http.Response, string) {
		answer, err := http.Post(r.calls+"/contoso/api/data/v9.2/"+to, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer, string(text)
	}
	made, _ := post("accounts", `{"name":"x"}`)
	_, account, _ := strings.Cut(made.Header.Get("OData-EntityId"), "/accounts")
	for tenant, want := range map[string]int{"contoso": http.StatusNoContent, "fabrikam": http.StatusBadRequest} {
		bind := `{"lastname":"x","parentcustomerid_account@odata.bind":"http://crm.lan:` + port + "/" + tenant + `/api/data/v9.2/accounts` + account + `"}`
		if answer, body := post("contacts", bind); answer.StatusCode != want {
			t.Errorf("a link to %s: %s %s", tenant, answer.Status, body)
		}
	}
}
