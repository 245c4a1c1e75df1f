package kerberos

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// kdc is a real key distribution center for one test, on loopback.
type kdc struct {
	dir  string
	env  []string
	path map[string]string // program -> where it lies
}

// startKDC makes a realm with a caller alice and the service HTTP/localhost,
// and serves it. Where the programs are missing the test is skipped, or fails
// if the environment demands every test.
func startKDC(t *testing.T) *kdc {
	t.Helper()
	k := &kdc{dir: t.TempDir(), path: make(map[string]string)}
	for _, program := range []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kvno", "curl"} {
		path, err := exec.LookPath(program)
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/" + program)
		}
		if err != nil && os.Getenv("DYNPROXY_TEST_REQUIRE") == "all" {
			t.Fatalf("%s is missing, and DYNPROXY_TEST_REQUIRE demands it", program)
		}
		if err != nil {
			t.Skipf("%s is missing; Debian has it in krb5-kdc, krb5-admin-server, krb5-user and curl", program)
		}
		k.path[program] = path
	}
	port := freePort(t)
	k.write(t, "krb5.conf", fmt.Sprintf(`[libdefaults]
 default_realm = %[1]s
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 %[1]s = {
  kdc = 127.0.0.1:%[2]d
 }
[domain_realm]
 localhost = %[1]s
`, realm, port))
	k.write(t, "kdc.conf", fmt.Sprintf(`[kdcdefaults]
 kdc_listen = 127.0.0.1:%[3]d
 kdc_tcp_listen = 127.0.0.1:%[3]d
[realms]
 %[1]s = {
  database_name = %[2]s/principal
  key_stash_file = %[2]s/stash
  acl_file = %[2]s/acl
 }
[logging]
 kdc = FILE:%[2]s/kdc.log
`, realm, k.dir, port))
	k.env = append(os.Environ(), "KRB5_CONFIG="+k.dir+"/krb5.conf", "KRB5_KDC_PROFILE="+k.dir+"/kdc.conf",
		"KRB5CCNAME=FILE:"+k.dir+"/cache", "KRB5RCACHETYPE=none", "LC_ALL=C")
	k.run(t, "", "kdb5_util", "create", "-s", "-r", realm, "-P", "master")
	for _, query := range []string{"addprinc -pw wonderland alice", "addprinc -randkey HTTP/localhost", "ktadd -k " + k.dir + "/keytab HTTP/localhost"} {
		k.run(t, "", "kadmin.local", "-r", realm, "-q", query)
	}
	k.serve(t, port)
	return k
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (k *kdc) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a program in the realm to its end and returns what it printed.
func (k *kdc) run(t *testing.T, input, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.path[program], args...)
	cmd.Env = k.env
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve runs the center until the test ends, and waits for its port.
func (k *kdc) serve(t *testing.T, port int) {
	t.Helper()
	var out bytes.Buffer
	center := exec.Command(k.path["krb5kdc"], "-n", "-r", realm)
	center.Env = k.env
	center.Stdout, center.Stderr = &out, &out
	if err := center.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		center.Process.Kill()
		center.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(k.dir + "/kdc.log")
			t.Logf("krb5kdc: %s%s", out.Bytes(), log)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the center does not answer: %v", err)
		}
	}
}

// TestRealCenterAndCurl goes the whole way of an application on a Windows
// domain: sign in, ask for a page, be challenged, answer with a ticket.
func TestRealCenterAndCurl(t *testing.T) {
	k := startKDC(t)
	a, err := Open(k.dir+"/keytab", "HTTP/localhost")
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
		return k.run(t, "", "curl", append(args, fmt.Sprintf("http://localhost:%d/", port))...)
	}

	if got := ask("--negotiate", "-u", ":"); !strings.HasSuffix(got, " 401") {
		t.Errorf("without a ticket: %q", got)
	}
	k.run(t, "wonderland\n", "kinit", "alice")
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
	k.changeServiceKey(t)
	k.run(t, "wonderland\n", "kinit", "alice")
	if got := ask("--negotiate", "-u", ":"); !strings.HasPrefix(got, "the ticket does not fit the keytab") {
		t.Errorf("after the service's key was changed: %q", got)
	}
}

// changeServiceKey gives the service a new key that the keytab lacks.
func (k *kdc) changeServiceKey(t *testing.T) {
	t.Helper()
	k.run(t, "", "kadmin.local", "-r", realm, "-q", "cpw -randkey HTTP/localhost")
}
