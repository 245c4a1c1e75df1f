package proxy_test

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/problem"
)

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

const create = "/contoso/api/data/v9.2/accounts"

// raw sends text and returns all that comes back, byte for byte.
func (c *testProxy) raw(text string) string {
	c.t.Helper()
	conn := c.dial()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, text)
	got, _ := io.ReadAll(conn)
	return string(got)
}

func TestHeaderNamesHaveDataversesSpelling(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	got := c.raw("POST " + create + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOData-Version: 4.0\r\nOData-MaxVersion: 4.0\r\n" +
		"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"name\":\"x\"}")
	for _, want := range []string{"\r\nOData-EntityId: ", "\r\nOData-Version: 4.0", "\r\nREQ_ID: ", "\r\nx-ms-service-request-id: "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	for _, gone := range []string{"Odata", "Req_id", "Set-Cookie", "Strict-Transport-Security", "Www-Authenticate", "WWW-Authenticate"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is in\n%s", gone, got)
		}
	}
}

func TestCallerCannotForge(t *testing.T) {
	t.Parallel()
	always := []string{
		"Authorization: Bearer forged", "Authorization: NTLM TlRMTVNTUAAB", "Cookie: ARRAffinity=1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil",
		"X-Forwarded-Proto: http", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4", "Via: 1.1 x", "Proxy-Authorization: Basic eA==", "X-Api-Key: k",
		"X-Original-URL: /main.aspx", "X-Rewrite-URL: /main.aspx", "Upgrade: websocket", "TE: trailers", "Sec-Fetch-Mode: cors", "Referer: http://intranet/",
		"X-MS-Original-Url: /main.aspx", "X-Original-Host: evil", "X-Host: evil", "X-Client-IP: 1.2.3.4", "True-Client-IP: 1.2.3.4", "Client-IP: 1.2.3.4",
		"X_Forwarded_Host: evil", "X.Original.URL: /main.aspx", "X_Real_IP: 1.2.3.4", "Cookie2: $Version=1", "Proxy-Connection: close", "Keep-Alive: timeout=5",
	}
	unlessAllowed := []string{
		"CallerObjectId: 1", "MSCRMCallerID: 1", "mscrmcallerid: 1", "MSCRM.BypassCustomPluginExecution: true",
		"MSCRM.BypassBusinessLogicExecution: CustomSync,CustomAsync", "MSCRM.BypassBusinessLogicExecutionStepIds: 1",
		"MSCRM.SuppressCallbackRegistrationExpanderJob: true", "CallerAADObjectId: 1", "MSCRM_CallerID: 1", "MSCRM.CallerID: 1", "MSCRMCallerObjectId: 1", "CallerId: 1", "Caller-Object-Id: 1", "MSCRM_BypassCustomPluginExecution: true",
	}
	kept := []string{
		"Prefer: odata.maxpagesize=3", "If-None-Match: null", "OData-Version: 4.0", "Consistency: Strong", "MSCRM.SolutionUniqueName: s",
		"MSCRM.SuppressDuplicateDetection: false", "x-ms-client-session-id: 7", "User-Agent: old/1", "Accept-Language: de", "X-Custom: yes",
	}
	c := newTestProxy(t)
	check := func(header string, want bool) {
		t.Helper()
		if a := c.get("/contoso/api/data/v9.2/WhoAmI", header); a.Header.Get("Dynproxy-Error") != "" {
			t.Errorf("%q: %d %s", header, a.StatusCode, a.body)
		}
		name, value, _ := strings.Cut(header, ": ")
		if got := slices.Contains(c.last().Header.Values(name), value); got != want {
			t.Errorf("%q arrived: %v", header, got)
		}
	}
	for _, header := range always {
		check(header, false)
	}
	for _, header := range unlessAllowed {
		before := c.contoso.Received()
		a := c.get("/contoso/api/data/v9.2/WhoAmI", header)
		a.refused(t, problem.Forbidden, 403)
		if name, _, _ := strings.Cut(header, ":"); !strings.Contains(strings.ToLower(a.body), strings.ToLower(name)) || !strings.Contains(a.body, "IMPERSONATION") {
			t.Errorf("%s: the refusal names neither header nor setting: %s", header, a.body)
		}
		if c.contoso.Received() != before {
			t.Errorf("%s: sent all the same", header)
		}
	}
	for _, header := range kept {
		check(header, true)
	}
	c = newTestProxy(t, tenant("contoso", "IMPERSONATION=true"))
	for _, header := range unlessAllowed {
		check(header, true)
	}
	for _, header := range always {
		check(header, false)
	}
}

// A call that asks to be taken for another method is a write, by whatever name
// and in whichever value of it some server would see that.
func TestAnotherMethodIsAWriteByAnyName(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("readonly", "ORG_URL=https://contoso.crm.dynamics.com\nTENANT_ID="+contosoID+"\nREAD_ONLY=true"))
	before := c.contoso.Received()
	for _, headers := range [][]string{
		{"X-HTTP-Method: DELETE"}, {"X-HTTP-Method-Override: PATCH"}, {"X-Method-Override: DELETE"}, {"X-Method: DELETE"},
		{"X_HTTP_Method: DELETE"}, {"x.http.method: DELETE"}, {"XHTTPMethodOverride: DELETE"}, {"X-HTTP-Method: GET"}, {"HTTP-Method: DELETE"}, {"Method_Override: DELETE"},
		{"X-HTTP-Method:", "X-HTTP-Method: DELETE"}, {"X-HTTP-Method: DELETE", "X-HTTP-Method:"}, {"X-Method:", "x_method:", "X-METHOD: DELETE"},
	} {
		t.Run(strings.Join(headers, ", "), func(t *testing.T) {
			c.get("/readonly/api/data/v9.2/accounts", headers...).refused(t, problem.ReadOnly, 403)
			part := "--b\r\nContent-Type: application/http\r\n\r\nGET accounts HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n\r\n--b--\r\n"
			c.call("POST", "/readonly/api/data/v9.2/$batch", part, "Content-Type: multipart/mixed;boundary=b").refused(t, problem.ReadOnly, 403)
		})
	}
	if got := c.contoso.Received(); got != before {
		t.Errorf("%d of them reached the organization", got-before)
	}
	for _, rights := range []string{"READ_ONLY=true", "METHODS=GET,POST"} {
		of := newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\n"+rights))
		a := of.get("/contoso/api/data/v9.2/WhoAmI", "X-HTTP-Method: DELETE")
		a.refused(t, problem.Forbidden, 403)
		if !strings.Contains(a.body, "X-Http-Method asks for another method than GET") {
			t.Errorf("%s: the refusal does not say what it is about: %s", rights, a.body)
		}
	}
	if a := c.get("/readonly/api/data/v9.2/WhoAmI", "X-HTTP-Method:"); a.StatusCode != 200 {
		t.Errorf("an empty one: %d %s", a.StatusCode, a.body)
	}
}

func TestRequestIDTravels(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	a := c.get("/contoso/api/data/v9.2/WhoAmI", "x-ms-client-request-id: my-own-id")
	if a.Header.Get("Dynproxy-Request-Id") != "my-own-id" || c.last().Header.Get("x-ms-client-request-id") != "my-own-id" {
		t.Errorf("the caller's id was not kept: %v", a.Header)
	}
	a = c.get("/contoso/api/data/v9.2/WhoAmI", "x-ms-client-request-id: <script>")
	if id := a.Header.Get("Dynproxy-Request-Id"); len(id) != 36 || c.last().Header.Get("x-ms-client-request-id") != id {
		t.Errorf("id %q", id)
	}
}

func TestTheLogTellsNoSecrets(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.call("POST", create+"?$filter=name%20eq%20'query-canary'", `{"name":"body-canary"}`, "Content-Type: application/json",
		"Authorization: Bearer header-canary", "Cookie: cookie-canary", "X-Api-Key: key-canary")
	c.get("http://user-canary:pass@127.0.0.1/contoso/api/data/v9.2/WhoAmI?query-canary")
	c.get("/nobody?query-canary")
	token := c.tokens.held["contoso"]
	log := c.log.String()
	for _, canary := range []string{"query-canary", "body-canary", "header-canary", "cookie-canary", "key-canary", "user-canary", clientSecret, strings.TrimPrefix(token, "Bearer ")} {
		if strings.Contains(log, canary) {
			t.Errorf("%s is in the log:\n%s", canary, log)
		}
	}
	for _, want := range []string{`"path":"/contoso/api/data/v9.2/accounts"`, `"tenant":"contoso"`, `"method":"POST"`, `"status":400`, `"in":22`, `"attempts":1`, `"service_request_id":"`, `"error":"tenant_unknown"`} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the log:\n%s", want, log)
		}
	}
}
