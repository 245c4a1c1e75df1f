package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/kerberos/kdctest"
	"dynproxy/internal/needs"
)

// testCA is a certificate authority of a test.
type testCA struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	pem    []byte
	serial atomic.Int64 // of the newest certificate
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &testCA{t: t, key: key}
	p.serial.Store(1)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return p
}

// sign returns a certificate for name and addresses, and its key, both as PEM.
func (p *testCA) sign(name string, addresses ...net.IP) (cert, key []byte) {
	p.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	serial := p.serial.Add(1)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: append(addresses, net.IPv4(127, 0, 0, 1)), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, private.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		p.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// pair is what sign returns, ready for use.
func (p *testCA) pair(name string) tls.Certificate {
	p.t.Helper()
	pair, err := tls.X509KeyPair(p.sign(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return pair
}

func (p *testCA) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.pem)
	return pool
}

func write(t *testing.T, file string, text []byte) string {
	t.Helper()
	// By another name first, so that nobody reads half of it.
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

// overTLS adds a certificate for localhost to settings.
func overTLS(t *testing.T, p *testCA, settings map[string]string) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := p.sign("localhost")
	certFile, keyFile = write(t, filepath.Join(dir, "cert.pem"), cert), write(t, filepath.Join(dir, "key.pem"), key)
	settings[prefix+"TLS_CERT_FILE"], settings[prefix+"TLS_KEY_FILE"] = certFile, keyFile
	return certFile, keyFile
}

// secureClient trusts p and shows cert, if any. It opens a connection for each
// request, so that each shakes hands anew.
func secureClient(p *testCA, certs ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: p.roots(), Certificates: certs},
	}}
}

func TestCallersByCertificate(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	own, strange := newTestCA(t), newTestCA(t)
	overTLS(t, own, settings)
	dir := t.TempDir()
	settings[prefix+"CALLER_CA_FILE"] = write(t, filepath.Join(t.TempDir(), "ca.pem"), own.pem)
	settings[prefix+"CALLERS_DIR"] = dir
	write(t, filepath.Join(dir, "erp.env"), []byte("CERTIFICATE=erp.corp.test\nREAD_ONLY=true\n"))
	r := start(t, settings)
	url := strings.Replace(r.calls, "http://", "https://", 1) + whoAmIPath
	for name, c := range map[string]struct {
		client *http.Client
		status int
	}{
		"the caller named":        {secureClient(own, own.pair("erp.corp.test")), 200},
		"a name that no file has": {secureClient(own, own.pair("other.corp.test")), 401},
		"another authority":       {secureClient(own, strange.pair("erp.corp.test")), 0},
		"no certificate":          {secureClient(own), 0},
	} {
		resp, err := c.client.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		if c.status == 0 && err == nil || c.status != 0 && (err != nil || resp.StatusCode != c.status) {
			t.Errorf("%s: %v %v", name, resp, err)
		}
	}
	r.await("a line that names the caller", func(line string) bool { return strings.Contains(line, `"caller":"erp"`) })
}

// The certificate is replaced under load: no call fails, and new connections
// get the new one.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	own := newTestCA(t)
	certFile, keyFile := overTLS(t, own, settings)
	r := start(t, settings)
	url := strings.Replace(r.calls, "http://", "https://", 1) + whoAmIPath
	var served atomic.Int64
	var serial atomic.Int64 // of the newest certificate seen
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			client := secureClient(own)
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("status %d", resp.StatusCode)
					return
				}
				serial.Store(resp.TLS.PeerCertificates[0].SerialNumber.Int64())
				served.Add(1)
			}
		})
	}
	for range 3 {
		cert, key := own.sign("localhost")
		want := own.serial.Load()
		write(t, certFile, cert) // for a moment it does not fit the key
		write(t, keyFile, key)
		for began := time.Now(); serial.Load() != want; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("still the certificate %d, want %d", serial.Load(), want)
			}
		}
	}
	close(stop)
	load.Wait()
	t.Logf("%d calls", served.Load())
}

// An application that uses its Windows identity is let in by its ticket, goes
// by the name of its file, and acts for the person that the file names.
func TestCallersByKerberos(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t)
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "erp.env"), []byte("PRINCIPALS=alice@"+kdctest.Realm+"=5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b\n"))
	settings[prefix+"CALLERS_DIR"] = dir
	settings[prefix+"KEYTAB_FILE"], settings[prefix+"SERVICE_PRINCIPAL"] = k.Keytab, "HTTP/localhost"
	r := start(t, settings)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.calls, "http://"))
	ask := func(more ...string) string {
		args := append([]string{"-sS", "--max-time", "20", "--resolve", "localhost:" + port + ":127.0.0.1", "-w", " %{http_code}"}, more...)
		return k.Run(t, "", "curl", append(args, "http://localhost:"+port+whoAmIPath)...)
	}
	if got := ask("--negotiate", "-u", ":"); !strings.HasSuffix(got, " 401") || !strings.Contains(got, `"unauthorized"`) {
		t.Errorf("without a ticket: %q", got)
	}
	if got := ask("--ntlm", "-u", "alice:wonderland"); !strings.HasSuffix(got, " 401") {
		t.Errorf("NTLM: %q", got)
	}
	if got := ask("-H", "Authorization: NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAGAbEdAAAADw=="); !strings.HasSuffix(got, " 401") || !strings.Contains(got, "NTLM") {
		t.Errorf("a caller with NTLM is not told: %q", got)
	}
	k.Run(t, "wonderland\n", "kinit", "alice")
	// The organization has no such user, and says so: the call went through.
	if got := ask("--negotiate", "-u", ":"); !strings.Contains(got, `"0x80040217"`) || strings.Contains(got, "unauthorized") {
		t.Errorf("with a ticket: %q", got)
	}
	all := p.Organization("contoso").Requests()
	if got := all[len(all)-1].Header.Get("CallerObjectId"); got != "5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b" {
		t.Errorf("CallerObjectId %q", got)
	}
	r.await("a line that names the caller", func(line string) bool { return strings.Contains(line, `"caller":"erp"`) })
}

// switchboard is an HTTPS_PROXY that connects every name to one address.
type switchboard struct {
	net.Listener
	mu    sync.Mutex // guards asked
	asked map[string]int
}

func newSwitchboard(t *testing.T, to string) *switchboard {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &switchboard{Listener: l, asked: map[string]int{}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		s.mu.Lock()
		s.asked[r.Host]++
		s.mu.Unlock()
		out, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, "unreachable", http.StatusBadGateway)
			return
		}
		in, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { io.Copy(out, in); out.Close() }()
		io.Copy(in, out)
		in.Close()
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return s
}

func (s *switchboard) names() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	for name := range s.asked {
		names[name] = true
	}
	return names
}

// Where the way out leads through a company's proxy, organizations and the
// login host are reached by it, and NO_PROXY is heeded. The certificate of
// the far end is verified all the same.
func TestTheWayOutThroughAProxy(t *testing.T) {
	t.Parallel()
	seed := demoSeed()
	seed.Organizations = []emulator.OrganizationSeed{{
		Name: "contoso", TenantID: "11111111-1111-4111-8111-111111111111", Hosts: []string{"contoso.crm.dynamics.com"},
		Consented: []string{demoClientID}, ApplicationUsers: []string{demoClientID},
	}}
	p := startEmulator(t, seed)
	s := newSwitchboard(t, p.LoginHost())
	settings := map[string]string{
		prefix + "CLIENT_ID": demoClientID, prefix + "CLIENT_SECRET": demoSecret,
		prefix + "TENANTS": "contoso=https://contoso.crm.dynamics.com", prefix + "TRUSTED_CA_FILE": p.caFile(),
		"HTTPS_PROXY": "http://" + s.Addr().String(),
	}
	if resp, body := start(t, settings).get(whoAmIPath); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if names := s.names(); !names["contoso.crm.dynamics.com:443"] || !names["login.microsoftonline.com:443"] || len(names) != 2 {
		t.Errorf("asked for %v", names)
	}

	delete(settings, prefix+"TRUSTED_CA_FILE")
	if resp, _ := start(t, settings).get(whoAmIPath); resp.StatusCode != 502 || resp.Header.Get("Dynproxy-Error") != "upstream_unreachable" {
		t.Errorf("an authority that nobody trusts: %d %s", resp.StatusCode, resp.Header.Get("Dynproxy-Error"))
	}

	unused := newSwitchboard(t, p.LoginHost())
	settings[prefix+"TRUSTED_CA_FILE"], settings["HTTPS_PROXY"] = p.caFile(), "http://"+unused.Addr().String()
	settings["NO_PROXY"] = ".dynamics.com"
	if resp, _ := start(t, settings).get(whoAmIPath); resp.StatusCode != 502 {
		t.Errorf("with NO_PROXY, where no name leads anywhere: %d", resp.StatusCode)
	}
	if unused.names()["contoso.crm.dynamics.com:443"] {
		t.Error("NO_PROXY was not heeded")
	}
}

// h2spec's strict cases. Those that fail are net/http's own, by name.
func TestH2Spec(t *testing.T) {
	t.Parallel()
	needs.Long(t)
	needs.Tool(t, "h2spec")
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	own := newTestCA(t)
	overTLS(t, own, settings)
	r := start(t, settings)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.calls, "http://"))
	// The first call of a tenant takes its time.
	resp, err := secureClient(own).Get("https://127.0.0.1:" + port + whoAmIPath)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	out, err := exec.CommandContext(t.Context(), "h2spec", "--strict", "-t", "-k", "-o", "5", "-h", "127.0.0.1", "-p", port, "-P", whoAmIPath).CombinedOutput()
	sum := regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`).FindStringSubmatch(string(out))
	if sum == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed, _ := strconv.Atoi(sum[2])
	gos := []string{
		"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
		"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
		"Sends a HEADERS frame that contains the connection-specific header field",
		`Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`,
	}
	for _, failure := range regexp.MustCompile(`(?m)× \d+: (.*)$`).FindAllStringSubmatch(string(out), -1) {
		if !slices.Contains(gos, failure[1]) {
			t.Errorf("fails: %s", failure[1])
		}
	}
	if passed < 142 {
		t.Errorf("%s, want 142 passed:\n%.6000s", sum[0], out)
	}
}
