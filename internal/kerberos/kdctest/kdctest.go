// Package kdctest runs a real Kerberos key distribution center, Debian's
// krb5-kdc, for tests.
package kdctest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// Realm is the name of every center's realm.
const Realm = "CORP.TEST"

// Center is a real key distribution center for one test, on loopback.
type Center struct {
	Keytab string   // file with the key of HTTP/localhost
	Env    []string // of programs that live in the realm
	dir    string
	path   map[string]string // program -> where it lies
}

// Start makes a realm with a caller alice and the service HTTP/localhost,
// and serves it. Where the programs are missing the test is skipped, or fails
// if the environment demands every test.
func Start(t *testing.T) *Center {
	t.Helper()
	k := &Center{dir: t.TempDir(), path: make(map[string]string)}
	k.Keytab = filepath.Join(k.dir, "keytab")
	needs.Tool(t, "Kerberos")
	for _, program := range []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kvno", "curl"} {
		path, err := needs.Find(program)
		if err != nil {
			t.Fatal(err)
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
`, Realm, port))
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
`, Realm, k.dir, port))
	k.Env = append(os.Environ(), "KRB5_CONFIG="+k.dir+"/krb5.conf", "KRB5_KDC_PROFILE="+k.dir+"/kdc.conf",
		"KRB5CCNAME=FILE:"+k.dir+"/cache", "KRB5RCACHETYPE=none", "LC_ALL=C")
	k.Run(t, "", "kdb5_util", "create", "-s", "-r", Realm, "-P", "master")
	for _, query := range []string{"addprinc -pw wonderland alice", "addprinc -randkey HTTP/localhost", "ktadd -k " + k.Keytab + " HTTP/localhost"} {
		k.Run(t, "", "kadmin.local", "-r", Realm, "-q", query)
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

func (k *Center) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Run runs a program in the realm to its end and returns what it printed.
func (k *Center) Run(t *testing.T, input, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.path[program], args...)
	cmd.Env = k.Env
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve runs the center until the test ends, and waits for its port.
func (k *Center) serve(t *testing.T, port int) {
	t.Helper()
	var out bytes.Buffer
	center := exec.Command(k.path["krb5kdc"], "-n", "-r", Realm)
	center.Env = k.Env
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

// ChangeServiceKey gives the service a new key that the keytab lacks.
func (k *Center) ChangeServiceKey(t *testing.T) {
	t.Helper()
	k.Run(t, "", "kadmin.local", "-r", Realm, "-q", "cpw -randkey HTTP/localhost")
}
