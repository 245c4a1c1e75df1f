package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"dynproxy/internal/callers"
	"dynproxy/internal/door"
	"dynproxy/internal/egress"
	"dynproxy/internal/emulator"
	"dynproxy/internal/limits"
	"dynproxy/internal/needs"
	"dynproxy/internal/problem"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

const (
	clientID     = "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"
	clientSecret = "a-secret-of-the-tests"
	contosoID    = "11111111-1111-4111-8111-111111111111"
	fabrikamID   = "22222222-2222-4222-8222-222222222222"
)

func TestMain(m *testing.M) {
	needs.Waiting()
	os.Exit(m.Run())
}

// testProxy is a Handler on a socket, with the emulator behind it.
type testProxy struct {
	t       *testing.T
	emu     *emulator.Emulator
	contoso *emulator.Organization
	handler *proxy.Handler
	server  *httptest.Server
	log     *lockedBuffer
	tokens  *tokens
}

// setting changes what a testProxy is built of.
type setting func(files map[string]string, p *proxy.Parts)

// tenant adds lines to a tenant's file.
func tenant(name, lines string) setting {
	return func(files map[string]string, _ *proxy.Parts) { files[name] += "\n" + lines }
}

func entrance(change func(*proxy.AccessPolicy)) setting {
	return func(_ map[string]string, p *proxy.Parts) { change(&p.Access) }
}

func newTestProxy(t *testing.T, settings ...setting) *testProxy {
	t.Helper()
	emu, err := emulator.New(emulator.Seed{
		Apps: []emulator.App{{ClientID: clientID, Secrets: []string{clientSecret}}},
		Organizations: []emulator.OrganizationSeed{
			{Name: "contoso", TenantID: contosoID, Hosts: []string{"contoso.crm.dynamics.com", "contoso.api.crm.dynamics.com"}, Consented: []string{clientID}, ApplicationUsers: []string{clientID}},
			{Name: "fabrikam", TenantID: fabrikamID, Hosts: []string{"fabrikam.crm4.dynamics.com"}, Consented: []string{clientID}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &testProxy{t: t, emu: emu, contoso: emu.Organization("contoso"), log: new(lockedBuffer)}
	way := emu.Transport()
	next := egress.New(egress.Config{
		ByTransport: needs.ByTransport(),
		Patience:    egress.Patience{AnswerWithin: 10 * time.Second, IdleWithin: 10 * time.Second},
		Dial:        way.DialContext, Roots: func() *x509.CertPool { return way.TLSClientConfig.RootCAs },
	})
	c.tokens = &tokens{client: &http.Client{Transport: emu.Transport()}, held: make(map[string]string)}
	parts := proxy.Parts{
		Tokens: c.tokens, Gate: &limits.Gate{}, Wire: next,
		Log: zerolog.New(c.log), Metrics: proxy.NewMetrics(prometheus.NewRegistry()),
	}
	files := map[string]string{
		"contoso":  "ORG_URL=https://contoso.crm.dynamics.com\nTENANT_ID=" + contosoID,
		"fabrikam": "ORG_URL=https://fabrikam.crm4.dynamics.com\nTENANT_ID=" + fabrikamID,
	}
	for _, set := range settings {
		set(files, &parts)
	}
	parts.Tenants = book(t, files)
	if parts.Callers == nil {
		parts.Callers, _ = callers.Open("")
	}
	c.handler = proxy.New(parts)
	c.server = httptest.NewUnstartedServer(c.handler)
	c.server.Config.DisableGeneralOptionsHandler = true // as serve does: OPTIONS * is for the Handler too
	c.server.Config.Protocols = new(http.Protocols)
	c.server.Config.Protocols.SetHTTP1(true)
	c.server.Config.Protocols.SetUnencryptedHTTP2(true)
	c.server.Start()
	t.Cleanup(func() {
		c.server.Close()
		next.CloseIdleConnections()
		emu.Close()
	})
	return c
}

func book(t testing.TB, files map[string]string) *tenants.Book {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name+".env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	orgs, err := tenants.OrganizationHosts([]string{"down.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	logins, _ := tenants.LoginHosts(nil)
	b, err := tenants.Open(nil, dir, &tenants.Rules{Organizations: orgs, Logins: logins})
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range b.Faults() {
		t.Logf("%s: %v", name, fault)
	}
	return b
}

// tokens asks the emulated Entra ID, and keeps what it gets until it is
// refused. It stands for the real thing, which has tests of its own.
type tokens struct {
	client *http.Client
	mu     sync.Mutex
	held   map[string]string
	fail   error // what Token answers instead
}

func (s *tokens) Token(ctx context.Context, t *tenants.Tenant) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return "", s.fail
	}
	if token := s.held[t.Name]; token != "" {
		return token, nil
	}
	resp, err := s.client.PostForm("https://login.microsoftonline.com/"+t.TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret}, "scope": {t.Org + "/.default"},
	})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Token == "" {
		return "", fmt.Errorf("status %d, %w", resp.StatusCode, err)
	}
	s.held[t.Name] = "Bearer " + got.Token
	return s.held[t.Name], nil
}

func (s *tokens) Invalidate(t *tenants.Tenant, token string, _ []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[t.Name] == token {
		delete(s.held, t.Name)
	}
	return true
}

func (s *tokens) ClientID(*tenants.Tenant) string { return clientID }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is what a caller got.
type answer struct {
	*http.Response
	body string
	err  error // of reading the body
}

// call sends a request whose target goes on the wire as it is written here.
func (c *testProxy) call(method, target, body string, headers ...string) *answer {
	c.t.Helper()
	conn := c.dial()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nConnection: close\r\n", method, target)
	if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), "host:") }) {
		head += "Host: " + c.server.Listener.Addr().String() + "\r\n"
	}
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, h := range headers {
		head += h + "\r\n"
	}
	go io.WriteString(conn, head+"\r\n"+body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp, string(text), err}
}

func (c *testProxy) get(target string, headers ...string) *answer {
	c.t.Helper()
	return c.call("GET", target, "", headers...)
}

// dial opens a connection to the proxy, which the caller closes.
func (c *testProxy) dial() net.Conn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.server.Listener.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// client returns a client that speaks HTTP/1.1 or HTTP/2 alone.
func (c *testProxy) client(protocol string) *http.Client {
	way := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	way.Protocols.SetHTTP1(protocol == "HTTP/1.1")
	way.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2")
	c.t.Cleanup(way.CloseIdleConnections)
	return &http.Client{Transport: way, Timeout: time.Minute}
}

// refused checks that an answer is a refusal of the proxy's own, in the shape
// of the contract.
func (a *answer) refused(t *testing.T, code problem.Code, status int) {
	t.Helper()
	var said struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(a.body), &said); err != nil {
		t.Errorf("the body is no JSON: %v in %.200q", err, a.body)
	}
	if a.StatusCode != status || a.Header.Get("Dynproxy-Error") != string(code) || said.Error.Code == "" || said.Error.Message == "" {
		t.Errorf("got %d %s %q, want %d %s", a.StatusCode, a.Header.Get("Dynproxy-Error"), a.body, status, code)
	}
	if a.Header.Get("Content-Type") != "application/json; odata.metadata=minimal" || a.Header.Get("OData-Version") != "4.0" {
		t.Errorf("headers %v", a.Header)
	}
}

// last returns the newest request that contoso received.
func (c *testProxy) last() emulator.Request {
	c.t.Helper()
	all := c.contoso.Requests()
	if len(all) == 0 {
		c.t.Fatal("nothing reached the organization")
	}
	return all[len(all)-1]
}

// ReverseProxy alone would drop a query like these from the first parameter
// that net/url cannot parse.
func TestTargetsReachTheOrganizationAsSent(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	for _, target := range []string{
		"/api/data/v9.2/accounts?$select=name&$expand=Account_Tasks($select=subject;$orderby=subject;$top=1)&$top=5",
		"/api/data/v9.2/accounts?$filter=name%20eq%20'50%'",
		"/api/data/v9.2/accounts?$select=name&$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%2520page%253d%25221%2522%253e%22%20istracking=%22False%22%20/%3E",
		"/api/data/v9.2/accounts(accountnumber='A%2FB%2f1')",
		"/api/data/v9.2/accounts(accountnumber='x%27y')?a;b;;c&&d",
		"/api/data/v9.2//accounts///",
		"/api/data/v9.2/%24metadata?",
		"/api/data/v9.2/accounts?",
		"/API/Data/v9.2/Accounts",
		"/api/data/v9.2/accounts(name='\"<>^`{|}')?q=\"<>^`{|}",
		"/api/data/v9.2/contacts(lastname='Müller')?$filter=lastname+eq+'M\xfcller'",
		"/api/data/v9.2/accounts?$filter=contains(name,'a;b')%20and%20name%20ne%20'%25'#x",
		"/XRMServices/2011/Organization.svc/web?SDKClientVersion=9.2.1",
	} {
		c.get("/contoso" + target)
		if got := c.last().Target; got != target {
			t.Errorf("sent    %s\nreached %s", target, got)
		}
	}
}

func TestTenantsAreFoundInAnyCaseAndByHost(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "HOSTS=crm.contoso.lan,dotted.lan."), entrance(func(e *proxy.AccessPolicy) { e.HostAllowed = door.Hosts(nil, nil, "") }))
	for _, target := range []string{"/contoso/", "/CONTOSO/", "/Contoso/"} {
		if a := c.get(target + "api/data/v9.2/WhoAmI"); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", target, a.StatusCode, a.body)
		}
	}
	for _, host := range []string{"crm.contoso.lan", "CRM.Contoso.LAN:8080", "crm.contoso.lan.", "crm.contoso.lan.:8080", "dotted.lan", "Dotted.lan."} {
		if a := c.get("/api/data/v9.2/WhoAmI", "Host: "+host); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", host, a.StatusCode, a.body)
		}
	}
	if a := c.get("http://" + c.server.Listener.Addr().String() + "/contoso/api/data/v9.2/WhoAmI"); a.StatusCode != 200 {
		t.Errorf("absolute form: %d %s", a.StatusCode, a.body)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("broken", "ORG_URL=http://x"), tenant("readonly", "ORG_URL=https://contoso.crm.dynamics.com\nREAD_ONLY=true"),
		tenant("down", "ORG_URL=https://down.example.com"),
		entrance(func(e *proxy.AccessPolicy) { e.HostAllowed = func(host string) bool { return host != "evil.example" } }))
	const whoAmI = "/contoso/api/data/v9.2/WhoAmI"
	before := c.contoso.Received()
	for name, r := range map[string]struct {
		method, target, body string
		headers              []string
		code                 problem.Code
		status               int
	}{
		"unknown tenant":          {"GET", "/nobody/api/data/v9.2/WhoAmI", "", nil, problem.TenantUnknown, 404},
		"no tenant":               {"GET", "/", "", nil, problem.TenantUnknown, 404},
		"health path":             {"GET", "/healthz", "", nil, problem.TenantUnknown, 404},
		"tenant with a fault":     {"GET", "/broken/api/data/v9.2/WhoAmI", "", nil, problem.TenantUnknown, 404},
		"encoded tenant":          {"GET", "/c%6Fntoso/api/data/v9.2/WhoAmI", "", nil, problem.TenantUnknown, 404},
		"path outside":            {"GET", "/contoso/main.aspx", "", nil, problem.PathNotAllowed, 403},
		"tenant alone":            {"GET", "/contoso", "", nil, problem.PathNotAllowed, 403},
		"path that only begins":   {"GET", "/contoso/api/database/", "", nil, problem.PathNotAllowed, 403},
		"SOAP beside the service": {"GET", "/contoso/XRMServices/2011/Organization.svcx?wsdl", "", nil, problem.PathNotAllowed, 403},
		"dot segment":             {"GET", "/contoso/api/data/../../main.aspx", "", nil, problem.BadRequest, 400},
		"encoded dot segment":     {"GET", "/contoso/api/data/%2e%2E/main.aspx", "", nil, problem.BadRequest, 400},
		"dot segment, slash %2f":  {"GET", "/contoso/api/data/v9.2/..%2f..%2f..%2fmain.aspx", "", nil, problem.BadRequest, 400},
		"dot segment, slash %5c":  {"GET", "/contoso/api/data/v9.2/..%5c..%5cmain.aspx", "", nil, problem.BadRequest, 400},
		"to another tenant":       {"GET", "/contoso/../fabrikam/api/data/v9.2/WhoAmI", "", nil, problem.BadRequest, 400},
		"backslash":               {"GET", "/contoso\\api/data/v9.2/WhoAmI", "", nil, problem.BadRequest, 400},
		"encoded slash before":    {"GET", "/contoso/api%2Fdata/v9.2/WhoAmI", "", nil, problem.BadRequest, 400},
		"encoded NUL":             {"GET", "/contoso/api/data/v9.2/a%00", "", nil, problem.BadRequest, 400},
		"asterisk":                {"OPTIONS", "*", "", nil, problem.BadRequest, 400},
		"user in absolute form":   {"GET", "http://a:b@127.0.0.1/contoso/api/data/v9.2/WhoAmI", "", nil, problem.BadRequest, 400},
		"TRACE":                   {"TRACE", whoAmI, "", nil, problem.BadRequest, 400},
		"CONNECT":                 {"CONNECT", whoAmI, "", nil, problem.BadRequest, 400},
		"foreign Host":            {"GET", whoAmI, "", []string{"Host: evil.example"}, problem.BadRequest, 400},
		"page of another site":    {"GET", whoAmI, "", []string{"Origin: https://evil.example"}, problem.Forbidden, 403},
		"cross-site fetch":        {"GET", whoAmI, "", []string{"Sec-Fetch-Site: cross-site"}, problem.Forbidden, 403},
		"same-site fetch":         {"GET", whoAmI, "", []string{"Sec-Fetch-Site: same-site"}, problem.Forbidden, 403},
		"write to a read-only":    {"POST", "/readonly/api/data/v9.2/accounts", "{}", []string{"Content-Type: application/json"}, problem.ReadOnly, 403},
		"override on a read-only": {"GET", "/readonly/api/data/v9.2/accounts", "", []string{"X-HTTP-Method-Override: DELETE"}, problem.ReadOnly, 403},
		"batch in JSON":           {"POST", "/contoso/api/data/v9.2/$batch", "{}", []string{"Content-Type: application/json"}, problem.BadRequest, 400},
		"batch without a body":    {"POST", "/contoso/api/data/v9.2/%24batch", "", []string{"Content-Type: multipart/mixed;boundary=b"}, problem.BadRequest, 400},
	} {
		a := c.call(r.method, r.target, r.body, r.headers...)
		t.Run(name, func(t *testing.T) { a.refused(t, r.code, r.status) })
	}
	if got := c.contoso.Received(); got != before {
		t.Errorf("%d refused requests reached the organization", got-before)
	}
}

func TestAddressesOutsideAreForbidden(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, entrance(func(e *proxy.AccessPolicy) { e.Addresses = prefixes("10.0.0.0/8") }))
	c.get("/contoso/api/data/v9.2/WhoAmI").refused(t, problem.Forbidden, 403)
}

func TestDraining(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.handler.Drain()
	a := c.get("/contoso/api/data/v9.2/WhoAmI")
	a.refused(t, problem.Draining, 503)
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestErrorsOfTheTokenSourceReachTheCaller(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.tokens.fail = &problem.Error{Code: problem.ConsentRequired, Message: "Open https://login.example/.", Err: io.EOF}
	a := c.get("/contoso/api/data/v9.2/WhoAmI")
	a.refused(t, problem.ConsentRequired, 502)
	if strings.Contains(a.body, "EOF") || !strings.Contains(c.log.String(), "EOF") {
		t.Error("the back of an error goes to the log and not to the caller")
	}
	c.tokens.fail = &problem.Error{Code: problem.TokenUnavailable, Message: "Later.", RetryAfter: 1500 * time.Millisecond}
	if a := c.get("/contoso/api/data/v9.2/WhoAmI"); a.StatusCode != 503 || a.Header.Get("Retry-After") != "2" {
		t.Errorf("%d, Retry-After %q", a.StatusCode, a.Header.Get("Retry-After"))
	}
}

func TestApplicationUserMissing(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	for _, coding := range []string{"Accept-Encoding: identity", "Accept-Encoding: gzip"} {
		a := c.get("/fabrikam/api/data/v9.2/WhoAmI", coding)
		if a.StatusCode != 403 || a.Header.Get("Dynproxy-Hint") != "application_user_missing" || a.Header.Get("Dynproxy-Error") != "" {
			t.Errorf("%d %v", a.StatusCode, a.Header)
		}
	}
	if a := c.get("/contoso/api/data/v9.2/WhoAmI"); a.Header.Get("Dynproxy-Hint") != "" {
		t.Error("a hint where none is due")
	}
}
