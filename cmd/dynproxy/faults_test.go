package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"dynproxy/internal/check"
	"dynproxy/internal/emulator"
)

const accountsPath = "/contoso/api/data/v9.2/accounts?$select=name&$top=1"

// faults are the rows of the golden table. docs/troubleshooting.md tells of
// each.
func faults() []fault {
	var all []fault
	for _, some := range [][]fault{networkFaults(), entraFaults(), organizationFaults(), callerFaults()} {
		all = append(all, some...)
	}
	return all
}

type applied = func(t *testing.T, p *localEmulator, settings map[string]string)

func set(pairs ...string) applied {
	return func(_ *testing.T, _ *localEmulator, settings map[string]string) {
		for i := 0; i < len(pairs); i += 2 {
			settings[prefix+pairs[i]] = pairs[i+1]
		}
	}
}

func all(some ...applied) applied {
	return func(t *testing.T, p *localEmulator, settings map[string]string) {
		for _, apply := range some {
			apply(t, p, settings)
		}
	}
}

// organizationAt puts another address in the place of contoso's.
func organizationAt(hostport string) applied {
	return set("TENANTS", "contoso=https://"+hostport, "ALLOWED_ORG_HOSTS", hostport)
}

// known spares the organization the question whose it is.
func known(_ *testing.T, p *localEmulator, settings map[string]string) {
	settings[prefix+"TENANT_TENANT_ID"], settings[prefix+"TENANT_LOGIN_HOST"] = p.Organization("contoso").TenantID(), p.LoginHost()
}

func applicationUser(disabled, noRole bool) applied {
	return func(_ *testing.T, p *localEmulator, _ map[string]string) {
		p.Organization("contoso").SetApplicationUser(demoClientID, disabled, noRole)
	}
}

func networkFaults() []fault {
	const unreachable, nothingSent = "upstream_unreachable", "Nothing of the request was sent."
	return []fault{
		{name: "no such name", apply: organizationAt("contoso.invalid"), status: 502, error: unreachable, check: check.Name, next: "ORG_URL", cause: "the name cannot be resolved"},
		{name: "nobody listens", apply: organizationAt("127.0.0.1:1"), status: 502, error: unreachable, check: check.Connection, next: "on port 1,", cause: "the connection was refused"},
		{name: "a private address", apply: leadingTo("contoso.crm.dynamics.com", [4]byte{10, 0, 0, 5}), alone: true, status: 502, error: unreachable, says: []string{"DYNPROXY_ALLOWED_ORG_HOSTS"}, check: check.Connection, next: "ALLOWED_ORG_HOSTS", cause: "the name leads to a private address"},
		{name: "an unknown authority", apply: untrusted, status: 502, error: unreachable, says: []string{"DYNPROXY_TRUSTED_CA_FILE"}, check: check.TLS, next: "TRUSTED_CA_FILE", cause: "its certificate is not trusted"},
		{name: "an unknown authority, the tenant being known", apply: all(untrusted, known), status: 503, error: "token_unavailable", check: check.TLS, next: "TRUSTED_CA_FILE", cause: "its certificate is not trusted"},
		{name: "no TLS", apply: plainHTTP, status: 502, error: unreachable, check: check.TLS, next: "ORG_URL", cause: "what answers there does not speak TLS"},
		{name: "resets in the handshake", org: &emulator.Fault{Kind: emulator.Down}, status: 502, error: unreachable, check: check.TLS, next: "firewall", cause: "the connection was reset by the other side"},
		{name: "resets in the handshake, the tenant being known", org: &emulator.Fault{Kind: emulator.Down}, apply: known, status: 502, error: unreachable, says: []string{nothingSent}, check: check.TLS, next: "firewall", cause: "the connection was reset by the other side"},
		{name: "a silent organization", org: &emulator.Fault{Kind: emulator.SlowHandshake}, apply: all(known, set("UPSTREAM_TIMEOUT", "1s")), status: 504, error: "upstream_timeout", says: []string{"TLS handshake"}, check: check.TLS, next: "firewall", cause: "no answer came in time"},
		{name: "no organization", apply: func(t *testing.T, p *localEmulator, s map[string]string) { organizationAt(p.LoginHost())(t, p, s) }, status: 502, error: "tenant_misconfigured", check: check.Challenge, next: "ORG_URL"},
		{name: "a clock that is wrong", org: &emulator.Fault{Kind: emulator.Skew, Delay: -20 * time.Minute}, status: 200, check: check.Clock, next: "clock", warning: true},
	}
}

func untrusted(_ *testing.T, _ *localEmulator, settings map[string]string) {
	delete(settings, prefix+"TRUSTED_CA_FILE")
}

func plainHTTP(t *testing.T, p *localEmulator, settings map[string]string) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	organizationAt(strings.TrimPrefix(server.URL, "http://"))(t, p, settings)
}

// leadingTo lets a name that no setting names lead to an address, by another
// resolver for the whole process.
func leadingTo(name string, address [4]byte) applied {
	return func(t *testing.T, _ *localEmulator, settings map[string]string) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		usual := net.DefaultResolver
		net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
		}}
		t.Cleanup(func() {
			net.DefaultResolver = usual
			conn.Close()
		})
		go func() { // ends with conn
			for buf := make([]byte, 1<<10); ; {
				n, from, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				var m dnsmessage.Message
				if m.Unpack(buf[:n]) != nil {
					continue
				}
				m.Response, m.Additionals = true, nil
				if q := m.Questions[0]; q.Type == dnsmessage.TypeA && strings.EqualFold(q.Name.String(), name+".") {
					m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: address}}}
				}
				text, _ := m.Pack()
				conn.WriteTo(text, from)
			}
		}()
		settings[prefix+"TENANTS"] = "contoso=https://" + name
	}
}

func entraFaults() []fault {
	aadsts := func(number int) *emulator.Fault { return &emulator.Fault{Kind: emulator.AADSTS, Number: number} }
	const unavailable, rejected, consent, misconfigured = "token_unavailable", "credential_rejected", "consent_required", "tenant_misconfigured"
	return []fault{
		{name: "Entra ID is down", entra: &emulator.Fault{Kind: emulator.Down}, check: check.Login, next: "on port", status: 503, error: unavailable},
		{name: "Entra ID answers 503", entra: &emulator.Fault{Kind: emulator.Status, Status: 503}, check: check.Login, next: "try again", status: 503, error: unavailable},
		{name: "a page in place of a token", entra: &emulator.Fault{Kind: emulator.HTML}, check: check.Token, next: "try again", status: 503, error: unavailable},
		{name: "a wrong secret", apply: set("CLIENT_SECRET", "another-secret~of-this-app"), check: check.Credential, next: "Set the value of a secret", status: 502, error: rejected, says: []string{"AADSTS7000215", "the secret's id was pasted"}, reason: "AADSTS7000215"},
		{name: "a secret that has ended", entra: aadsts(7000222), check: check.Credential, next: "Make a new one", status: 502, error: rejected, says: []string{"the secret has expired"}, reason: "AADSTS7000222"},
		{name: "a certificate that is not registered", entra: aadsts(700027), check: check.Credential, next: "certificate", status: 502, error: rejected, reason: "AADSTS700027"},
		{name: "an assertion out of time", entra: aadsts(700024), check: check.Credential, next: "clock", status: 502, error: rejected, reason: "AADSTS700024"},
		{name: "a federated credential that is not set up", entra: aadsts(700236), check: check.Credential, next: "federated", status: 502, error: rejected, reason: "AADSTS700236"},
		{name: "a federated token's file that is empty", apply: federatedByNothing, check: check.Credential, next: "the platform writes", status: 502, error: rejected, says: []string{"FEDERATED_TOKEN_FILE cannot be used: it is empty"}, reason: "FEDERATED_TOKEN_FILE"},
		{name: "no managed identity", alone: true, apply: withoutIdentity, check: check.Token, next: "Give this machine the managed identity", status: 503, error: unavailable, says: []string{"gives out no managed identity"}, reason: "managed identity"},
		{name: "no service principal", entra: aadsts(700016), check: check.Consent, next: "adminconsent", status: 502, error: consent, reason: "AADSTS700016"},
		{name: "no service principal, newer", entra: aadsts(7000229), check: check.Consent, next: "adminconsent", status: 502, error: consent, reason: "AADSTS7000229"},
		{name: "no consent", entra: aadsts(65001), check: check.Consent, next: "adminconsent", status: 502, error: consent, reason: "AADSTS65001"},
		{name: "no such tenant", entra: aadsts(90002), check: check.Token, next: "tenant", status: 502, error: misconfigured, reason: "AADSTS90002"},
		{name: "the organization is not the tenant's", entra: aadsts(500011), check: check.Token, next: "ORG_URL", status: 502, error: misconfigured, reason: "AADSTS500011"},
		{name: "no Dataverse in the tenant", entra: aadsts(650052), check: check.Token, next: "Dataverse", status: 502, error: misconfigured, reason: "AADSTS650052"},
		{name: "another cloud", entra: aadsts(900382), check: check.Token, next: "cloud", status: 502, error: misconfigured, reason: "AADSTS900382"},
		{name: "conditional access", entra: aadsts(53003), check: check.Token, next: "exclude the app", status: 502, error: misconfigured, says: []string{"a conditional access policy blocks the app (AADSTS53003)"}, reason: "AADSTS53003"},
		{name: "the app is switched off in the tenant", entra: aadsts(7000112), check: check.Token, next: "enable it", status: 502, error: misconfigured, says: []string{"the app is disabled in the tenant (AADSTS7000112)"}, reason: "AADSTS7000112"},
		{name: "a loop", entra: aadsts(50196), check: check.Token, next: "try again", status: 503, error: unavailable, reason: "AADSTS50196"},
		{name: "the tenant is throttled", entra: aadsts(90055), check: check.Token, next: "try again", status: 503, error: unavailable, reason: "AADSTS90055"},
	}
}

func federatedByNothing(t *testing.T, _ *localEmulator, settings map[string]string) {
	settings[prefix+"CLIENT_SECRET"] = ""
	settings[prefix+"FEDERATED_TOKEN_FILE"] = write(t, filepath.Join(t.TempDir(), "token"), nil)
}

// withoutIdentity is a platform that gives out managed identities, and is gone.
func withoutIdentity(t *testing.T, _ *localEmulator, settings map[string]string) {
	settings[prefix+"CLIENT_SECRET"], settings[prefix+"MANAGED_IDENTITY"] = "", "system"
	t.Setenv("IDENTITY_ENDPOINT", "http://"+unused(t))
	t.Setenv("IDENTITY_HEADER", "x")
}

func organizationFaults() []fault {
	throttled := &emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: 40 * time.Second}
	return []fault{
		{name: "no application user", apply: func(_ *testing.T, p *localEmulator, _ map[string]string) {
			p.Organization("contoso").RemoveApplicationUser(demoClientID)
		}, status: 403, code: "0x80072560", says: []string{"pac admin assign-user"}, check: check.ApplicationUser, next: "pac admin assign-user"},
		{name: "a disabled application user", apply: applicationUser(true, false), status: 403, code: "0x80040225", says: []string{"Enable the application user"}, check: check.ApplicationUser, next: "Enable the application user"},
		{name: "no role", apply: applicationUser(false, true), status: 403, code: "0x80048306", says: []string{"security role with the privilege prvReadAccount"}, check: check.Role, next: "security role"},
		{name: "the IP firewall", org: &emulator.Fault{Kind: emulator.Firewall}, status: 403, code: "0x80095ffe", says: []string{"IP firewall"}, check: check.Firewall, next: "IP firewall"},
		{name: "app access control", org: &emulator.Fault{Kind: emulator.AccessControl}, status: 403, code: "0x80095ffc", says: []string{"app access control"}, check: check.AppAccess, next: "access control"},
		{name: "the organization closes its gate", org: throttled, apply: set("TENANT_QUEUE_WAIT", "1s"), status: 429, error: "limit_wait_exceeded", code: "0x80072322", says: []string{"the organization refused a call for its limit of requests and asked to be left alone"}, check: check.Answer, next: "try again"},
		{name: "the organization is down", org: &emulator.Fault{Kind: emulator.Status, Status: 503}, apply: known, status: 503, code: "status 503", check: check.Answer, next: "admin center"},
		{name: "a redirect to a sign-in page", org: &emulator.Fault{Kind: emulator.SignInRedirect}, apply: known, status: 502, error: "token_refused", says: []string{"ORG_URL and TENANT_ID belong together"}, check: check.Challenge, next: "ORG_URL"},
		{name: "a web page for an answer", org: &emulator.Fault{Kind: emulator.SignInPage}, apply: known, status: 502, error: "not_an_answer", says: []string{"A web page came in place"}, check: check.Challenge, next: "ORG_URL"},
	}
}

// callerFaults are those of callers and of this machine, which check cannot
// see: to it all is well.
func callerFaults() []fault {
	twice := func(t *testing.T, r *running) (*http.Response, string) {
		r.get(accountsPath)
		return request("GET", accountsPath, "", nil)(t, r)
	}
	batch := "--b\r\nContent-Type: application/http\r\n\r\nPOST /contoso/api/data/v9.2/accounts HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"name\":\"" + strings.Repeat("x", 3<<20) + "\"}\r\n--b--\r\n"
	const closing = "\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	return []fault{
		{name: "the tenant is left out", ask: request("GET", "/api/data/v9.2/accounts", "", nil), status: 404, error: "tenant_unknown", says: []string{"The path lacks the tenant", "dynproxy tenant list"}},
		{name: "no such tenant here", ask: request("GET", "/wingtip/api/data/v9.2/accounts", "", nil), status: 404, error: "tenant_unknown", says: []string{`There is no tenant "wingtip"`, "dynproxy tenant list"}},
		{name: "a caller that is not for this tenant", apply: withCaller, ask: request("GET", accountsPath, "", []string{"X-Api-Key: " + webformKey}), status: 403, error: "forbidden", says: []string{"webform", "contoso", "callers directory"}},
		{name: "a caller that leaves the tenant out", apply: withCaller, ask: request("GET", "/api/data/v9.2/accounts", "", []string{"X-Api-Key: " + webformKey}), status: 403, error: "forbidden", says: []string{"The path lacks the tenant"}},
		{name: "a wrong key", apply: withCaller, ask: request("GET", accountsPath, "", []string{"X-Api-Key: wrong"}), status: 401, error: "unauthorized", says: []string{"X-Api-Key"}, reason: "unknown key"},
		{name: "NTLM without a keytab", apply: withCaller, ask: request("GET", accountsPath, "", []string{"Authorization: NTLM TlRMTVNTUAAB"}), status: 401, error: "unauthorized", says: []string{"NTLM is not supported: use Basic with the caller's name and key"}, reason: "NTLM"},
		{name: "a write where only reading is allowed", apply: set("TENANT_READ_ONLY", "true"), ask: request("POST", "/contoso/api/data/v9.2/accounts", `{"name":"x"}`, []string{"Content-Type: application/json"}), status: 403, error: "read_only", says: []string{"READ_ONLY"}},
		{name: "a path that is not allowed", ask: request("GET", "/contoso/main.aspx", "", nil), status: 403, error: "path_not_allowed", says: []string{"PATHS"}},
		{name: "the budget is used up", apply: set("TENANT_REQUESTS", "1", "TENANT_QUEUE_WAIT", "1s"), ask: twice, status: 429, error: "limit_wait_exceeded", code: "0x80072322", says: []string{"the budget of requests is used up", "Try again in"}},
		{name: "no room for a body", apply: func(t *testing.T, _ *localEmulator, s map[string]string) {
			s[prefix+"SPOOL_DIR"] = filepath.Join(t.TempDir(), "missing")
		}, ask: request("POST", "/contoso/api/data/v9.2/$batch", batch, []string{"Content-Type: multipart/mixed; boundary=b"}), status: 507, error: "out_of_space", says: []string{"no room for the request's body", "/readyz", "nothing was sent on"}},
		{name: "a space that is not escaped", ask: rawRequest("GET /contoso/api/data/v9.2/accounts?$filter=name eq 'x' HTTP/1.1" + closing), status: 400, error: "bad_request", says: []string{"write %20"}},
		{name: "the proxy set as a forward proxy", ask: rawRequest("GET http://contoso.crm.dynamics.com/api/data/v9.2/accounts HTTP/1.1\r\nHost: contoso.crm.dynamics.com\r\nConnection: close\r\n\r\n"), status: 400, error: "bad_request", says: []string{"This is no forward proxy", "http://<proxy>/<tenant>/"}},
		{name: "a page of another site, a file or an extension", ask: request("GET", accountsPath, "", []string{"Origin: chrome-extension://abcdefghijklmnop"}), status: 403, error: "forbidden", says: []string{"the header Origin", "extensions", "leave it out"}},
		{name: "a header that acts as somebody else", ask: request("GET", accountsPath, "", []string{"CallerObjectId: 1"}), status: 403, error: "forbidden", says: []string{"The header CallerObjectId", "IMPERSONATION=true"}},
		{name: "HTTPS spoken to the port of HTTP", ask: rawRequest("\x16\x03\x01\x02\x00\x01\x00"), status: 400, error: "bad_request", says: []string{"plain HTTP", "http://"}},
		{name: "a URL that is too long", ask: rawRequest("GET /contoso/api/data/v9.2/accounts?$filter=" + strings.Repeat("x", 70<<10) + " HTTP/1.1" + closing), status: 414, error: "bad_request", says: []string{"The URL is too long", "$batch", "DYNPROXY_MAX_URL_BYTES"}},
	}
}

const webformKey = "the-key-of-webform-the-key-of-webform-12345"

// withCaller makes the caller webform known, which is for another tenant.
func withCaller(t *testing.T, _ *localEmulator, settings map[string]string) {
	dir := t.TempDir()
	settings[prefix+"CALLERS_DIR"] = dir
	write(t, filepath.Join(dir, "webform.env"), fmt.Appendf(nil, "KEY_SHA256=%x\nTENANTS=northwind\n", sha256.Sum256([]byte(webformKey))))
}
