package proxy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"dynproxy/internal/problem"
)

// exchange is one request, written as a client of the organization would: BASE
// stands for the address under which it knows the organization, ROOT for the
// path of that.
type exchange struct {
	method, target, body string
	headers              []string
}

const (
	orgBase   = "https://contoso.crm.dynamics.com"
	proxyBase = "http://proxy:8080/contoso"
)

// Two emulators with the same seed answer alike. One is asked directly and one
// through the proxy; with base put for base the answers must be the same to the
// byte.
func TestAnswersAreTheOrganizationsOwn(t *testing.T) {
	t.Parallel()
	direct, proxied := newTestProxy(t), newTestProxy(t)
	token := bearer(t, direct)
	for i, x := range exchanges(direct) {
		want := direct.ask(x, token)
		got := proxied.call(x.method, "/contoso"+fill(x.target, proxyBase, "/contoso"), fill(x.body, proxyBase, "/contoso"),
			append(fillAll(x.headers, proxyBase, "/contoso"), "Host: proxy:8080")...)
		name := fmt.Sprintf("%d %s %s", i, x.method, x.target)
		if got.err != nil || want.err != nil {
			t.Fatalf("%s: %v, %v", name, got.err, want.err)
		}
		if got.StatusCode != want.StatusCode {
			t.Errorf("%s: status %d, directly %d\n%s", name, got.StatusCode, want.StatusCode, got.body)
			continue
		}
		mapped := want.body
		if !strings.HasSuffix(x.target, "/$value") {
			mapped = inControl(want.body)
		}
		if got.body != mapped {
			t.Errorf("%s:\n got %.1500q\nwant %.1500q", name, got.body, mapped)
		}
		compareHeaders(t, name, got.Header, want.Header)
	}
}

// bearer returns a token for contoso, got like the proxy's own.
func bearer(t *testing.T, c *testProxy) string {
	t.Helper()
	c.get("/contoso/api/data/v9.2/WhoAmI")
	return c.tokens.held["contoso"]
}

// ask sends x to the organization itself.
func (c *testProxy) ask(x exchange, token string) *answer {
	c.t.Helper()
	way := c.emu.Transport()
	defer way.CloseIdleConnections()
	way.DisableCompression = true
	r, err := http.NewRequest(x.method, orgBase+fill(x.target, orgBase, ""), strings.NewReader(fill(x.body, orgBase, "")))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", token)
	if !strings.HasSuffix(x.target, "/$value") {
		r.Header.Set("Accept-Encoding", "gzip") // as the proxy asks
	}
	for _, h := range fillAll(x.headers, orgBase, "") {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := way.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		resp.Header.Del("Content-Encoding")
		if body, err = gzip.NewReader(resp.Body); err != nil {
			c.t.Fatal(err)
		}
	}
	text, err := io.ReadAll(body)
	return &answer{resp, string(text), err}
}

func fill(s, base, root string) string {
	return strings.NewReplacer("BASE", base, "ROOT", root).Replace(s)
}

func fillAll(list []string, base, root string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fill(s, base, root)
	}
	return out
}

// inControl puts the proxy's base for the organization's where links are, by a
// rule of its own: after the names of control information, in the headers
// inside batches, and in the list of an organization's endpoints.
func inControl(body string) string {
	for _, before := range []string{
		`@odata.context":"`, `@odata.nextLink":"`, `@odata.deltaLink":"`, `@odata.id":"`, `@odata.editLink":"`, `@odata.readLink":"`,
		`@odata.mediaReadLink":"`, `@odata.mediaEditLink":"`, `@odata.navigationLink":"`, `@odata.associationLink":"`,
		"\r\nLocation: ", "\r\nOData-EntityId: ", "\nLocation: ", "\nOData-EntityId: ", `"Values":["`,
	} {
		body = strings.ReplaceAll(body, before+orgBase, before+proxyBase)
	}
	if strings.Contains(body, `"Values":["`) {
		head, list, _ := strings.Cut(body, `"Values":["`)
		list, rest, _ := strings.Cut(list, "]")
		body = head + `"Values":["` + strings.ReplaceAll(list, orgBase, proxyBase) + "]" + rest
	}
	if strings.Contains(body, "<wsdl:definitions") || strings.Contains(body, "soap:address") {
		body = strings.ReplaceAll(body, `"`+orgBase, `"`+proxyBase)
	}
	return body
}

// compareHeaders checks that nothing but what the contract names differs.
func compareHeaders(t *testing.T, name string, got, want http.Header) {
	t.Helper()
	ours := []string{"Dynproxy-Request-Id", "Dynproxy-Hint"}
	// These differ from answer to answer, or are of the connection.
	ignored := []string{"Date", "X-Ms-Service-Request-Id", "Req_id", "Authactivityid", "X-Source", "Content-Length", "Connection", "Transfer-Encoding", "X-Ms-Client-Request-Id"}
	gone := []string{"Set-Cookie", "Strict-Transport-Security", "Www-Authenticate"}
	for header, values := range want {
		switch {
		case slices.Contains(ignored, header):
		case slices.Contains(gone, header):
			if got[header] != nil {
				t.Errorf("%s: %s reached the caller", name, header)
			}
		default:
			mapped := strings.ReplaceAll(strings.Join(values, "|"), orgBase, proxyBase)
			if header != "Location" && header != "Odata-Entityid" {
				mapped = strings.Join(values, "|")
			}
			if strings.Join(got[header], "|") != mapped {
				t.Errorf("%s: %s is %q, directly %q", name, header, got[header], values)
			}
		}
	}
	for header := range got {
		if want[header] == nil && !slices.Contains(ours, header) && !slices.Contains(ignored, header) {
			t.Errorf("%s: the header %s was added", name, header)
		}
	}
	if length := got.Get("Content-Length"); length == "" && got.Get("Transfer-Encoding") != "" {
		t.Errorf("%s: no length and no coding", name)
	}
}

// exchanges are some hundred requests of every kind.
func exchanges(c *testProxy) []exchange {
	const data = "/api/data/v9.2/"
	account := strings.Trim(firstID(c.t, c), `"`)
	other := strings.Trim(nthID(c.t, c, 3), `"`)
	var all []exchange
	get := func(target string, headers ...string) {
		all = append(all, exchange{"GET", data + target, "", headers})
	}
	send := func(method, target, body string, headers ...string) {
		all = append(all, exchange{method, data + target, body, append([]string{jsonType}, headers...)})
	}
	queries := []string{
		"", "?$top=3", "?$select=name,description,sample_richtext", "?$select=name&$orderby=name%20desc&$top=4", "?$count=true&$top=1", "?$filter=contains(name,'o')",
		"?$filter=name%20eq%20'none%20such'", "?$expand=primarycontactid($select=fullname)&$top=2", "?$expand=Account_Tasks($select=subject;$orderby=subject;$top=2)&$top=3",
		"?$expand=contact_customer_accounts($select=fullname;$filter=contains(fullname,'a'))&$top=2", "?$expand=primarycontactid/$ref&$top=2", "?$nosuch=1", "?$filter=nosuch%20eq%201",
		"?$select=name&$filter=revenue%20gt%201000%20and%20not%20contains(name,'x')",
	}
	annotations := []string{"", "Prefer: odata.include-annotations=\"*\"", "Prefer: odata.maxpagesize=2", "Prefer: odata.include-annotations=\"*\",odata.maxpagesize=3", "Accept: application/json; odata.metadata=full"}
	for _, query := range queries {
		for _, prefer := range annotations {
			if prefer == "" {
				get("accounts" + query)
			} else {
				get("accounts"+query, prefer)
			}
		}
	}
	one := "accounts(" + account + ")"
	for _, target := range []string{
		one, one + "?$select=name", one + "/name", one + "/name/$value", one + "/description/$value", one + "/primarycontactid", one + "/primarycontactid/$ref",
		one + "/Account_Tasks", one + "/Account_Tasks/$ref", one + "/Account_Tasks?$top=1", "accounts/$count", "accounts(accountnumber='A%2F1')", "accounts(accountnumber='no')",
		"accounts(00000000-0000-0000-0000-000000000000)", "contacts?$top=5", "opportunities?$top=5&$expand=customerid_account", "tasks?$top=5", "systemusers", "WhoAmI", "WhoAmI()",
		"RetrieveVersion()", "RetrieveCurrentOrganization(AccessType=@p)?@p=Microsoft.Dynamics.CRM.EndpointAccessType'Default'", "$metadata", "", "nosuch", "accounts?fetchXml=%3Cfetch%20count='3'%3E%3Centity%20name='account'%3E%3Cattribute%20name='name'/%3E%3C/entity%3E%3C/fetch%3E",
	} {
		get(target)
		get(target, "Prefer: odata.include-annotations=\"*\"")
	}
	get("accounts", "Prefer: odata.track-changes,odata.maxpagesize=500")
	get(one, "If-None-Match: null")
	get("accounts?$select=name", "Prefer: odata.maxpagesize=5")
	all = append(all, exchange{"GET", "/api/data/v7.1/accounts", "", nil}, exchange{"GET", "/XRMServices/2011/Organization.svc/web?wsdl", "", nil})

	send("POST", "accounts", `{"name":"made","primarycontactid@odata.bind":"BASE/api/data/v9.2/contacts(`+strings.Trim(firstContact(c.t, c), `"`)+`)"}`)
	send("POST", "accounts", `{"name":"made too","description":"`+orgBase+` and `+proxyBase+` are data here"}`, "Prefer: return=representation")
	send("POST", "accounts", `{"name":"foreign","primarycontactid@odata.bind":"https://elsewhere.example/api/data/v9.2/contacts(1)"}`)
	send("POST", "accounts", `{"name":"broken"`)
	send("PATCH", one, `{"telephone1":"1"}`)
	send("PATCH", one, `{"telephone1":"2"}`, "Prefer: return=representation")
	send("PATCH", one, `{"telephone1":"3"}`, `If-Match: W/"0"`)
	send("PATCH", "accounts(0d1e2f30-1111-4222-8333-444455556666)", `{"name":"upserted"}`)
	send("PUT", one+"/name", `{"value":"renamed"}`)
	send("POST", one+"/contact_customer_accounts/$ref", `{"@odata.id":"BASE/api/data/v9.2/contacts(`+strings.Trim(firstContact(c.t, c), `"`)+`)"}`)
	send("PUT", one+"/parentaccountid/$ref", `{"@odata.id":"BASE/api/data/v9.2/accounts(`+other+`)"}`)
	send("PUT", one+"/parentaccountid/$ref", `{"@odata.id":"accounts(`+other+`)"}`)
	all = append(all, exchange{"DELETE", data + one + "/contact_customer_accounts/$ref?$id=BASE/api/data/v9.2/contacts(" + strings.Trim(firstContact(c.t, c), `"`) + ")", "", nil})
	for _, end := range []string{"\n", "\r\n"} {
		all = append(all, batches(end, other)...)
	}
	all = append(all, exchange{"DELETE", data + "accounts(" + other + ")", "", nil}, exchange{"GET", data + "accounts(" + other + ")", "", nil})
	return all
}

// batches are batches of every form of address, with lines that end in end.
func batches(end, account string) []exchange {
	part := func(request string) string {
		return "--b_1\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n" + request + "\n"
	}
	lines := func(s string) string { return strings.ReplaceAll(s, "\n", end) }
	reads := part("GET BASE/api/data/v9.2/accounts?$select=name&$top=2 HTTP/1.1\nAccept: application/json\n") +
		part("GET ROOT/api/data/v9.2/contacts?$select=fullname&$top=1 HTTP/1.1\n") + part("GET accounts("+account+")?$select=name HTTP/1.1\n") + "--b_1--\n"
	changes := "--b_1\nContent-Type: multipart/mixed;boundary=c_1\n\n" +
		"--c_1\nContent-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: 1\n\nPOST BASE/api/data/v9.2/accounts HTTP/1.1\nContent-Type: application/json\n\n{\"name\":\"in a batch\"}\n" +
		"--c_1\nContent-Type: application/http\nContent-Transfer-Encoding: binary\nContent-ID: 2\n\nPOST ROOT/api/data/v9.2/tasks HTTP/1.1\nContent-Type: application/json\n\n{\"subject\":\"t\",\"regardingobjectid_account_task@odata.bind\":\"$1\"}\n" +
		"--c_1--\n\n--b_1--\n"
	failing := part("GET BASE/api/data/v9.2/nosuch HTTP/1.1\n") + part("GET BASE/api/data/v9.2/WhoAmI HTTP/1.1\n") + "--b_1--\n"
	const target = "/api/data/v9.2/$batch"
	return []exchange{
		{"POST", target, lines(reads), []string{"Content-Type: multipart/mixed; boundary=b_1"}},
		{"POST", target, lines(changes), []string{`Content-Type: multipart/mixed; boundary="b_1"`}},
		{"POST", target, lines(failing), []string{"Content-Type: multipart/mixed;boundary=b_1"}},
		{"POST", target, lines(failing), []string{"Content-Type: multipart/mixed;boundary=b_1", "Prefer: odata.continue-on-error"}},
	}
}

func nthID(t *testing.T, c *testProxy, n int) string {
	t.Helper()
	parts := strings.Split(c.get(create+"?$select=name&$orderby=name").body, `"accountid":`)
	if len(parts) < n+1 {
		t.Fatal("too few accounts")
	}
	return parts[n][:38]
}

func firstContact(t *testing.T, c *testProxy) string {
	t.Helper()
	_, rest, ok := strings.Cut(c.get("/contoso/api/data/v9.2/contacts?$select=fullname&$top=1").body, `"contactid":`)
	if !ok {
		t.Fatal("no contact")
	}
	return rest[:38]
}

// A part that may not be in a batch keeps the whole batch back.
func TestBatchesAreJudgedWhole(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("readonly", "ORG_URL=https://contoso.crm.dynamics.com\nTENANT_ID="+contosoID+"\nREAD_ONLY=true"))
	c.get("/contoso/api/data/v9.2/WhoAmI")
	c.get("/readonly/api/data/v9.2/WhoAmI")
	batch := func(tenant string, requests ...string) *answer {
		var body bytes.Buffer
		for _, r := range requests {
			fmt.Fprintf(&body, "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n%s\r\n", r)
		}
		body.WriteString("--b--\r\n")
		return c.call("POST", "/"+tenant+"/api/data/v9.2/$batch", body.String(), "Content-Type: multipart/mixed;boundary=b", "Prefer: odata.continue-on-error")
	}
	const fine = "GET /contoso/api/data/v9.2/WhoAmI HTTP/1.1\r\n"
	before := c.contoso.Received()
	for name, x := range map[string]struct {
		tenant, request string
		code            problem.Code
		status          int
	}{
		"a path outside":        {"contoso", "GET /contoso/main.aspx HTTP/1.1\r\n", problem.PathNotAllowed, 403},
		"dot segments":          {"contoso", "GET /contoso/api/data/v9.2/../../../main.aspx HTTP/1.1\r\n", problem.BadRequest, 400},
		"relative dot segments": {"contoso", "GET ../../../main.aspx HTTP/1.1\r\n", problem.BadRequest, 400},
		"another organization":  {"contoso", "GET https://fabrikam.crm4.dynamics.com/api/data/v9.2/WhoAmI HTTP/1.1\r\n", problem.BadRequest, 400},
		"a batch":               {"contoso", "POST /contoso/api/data/v9.2/%24batch HTTP/1.1\r\n", problem.BadRequest, 400},
		"a write":               {"readonly", "POST accounts HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{}", problem.ReadOnly, 403},
		"a hidden write":        {"readonly", "GET accounts HTTP/1.1\r\nX-HTTP-Method: DELETE\r\n", problem.ReadOnly, 403},
		"an impersonation":      {"contoso", "GET accounts HTTP/1.1\r\nMSCRMCallerID: 1\r\n", problem.Forbidden, 403},
		"a bypass of plug-ins":  {"contoso", "GET accounts HTTP/1.1\r\nMSCRM.BypassCustomPluginExecution: true\r\n", problem.Forbidden, 403},
		"a length that lies":    {"contoso", "POST accounts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{}", problem.BadRequest, 400},
	} {
		a := batch(x.tenant, strings.Replace(fine, "contoso", x.tenant, 1), x.request)
		t.Run(name, func(t *testing.T) { a.refused(t, x.code, x.status) })
	}
	if n := c.contoso.Received() - before; n > 0 {
		t.Errorf("%d refused batches reached the organization", n)
	}
	if a := batch("readonly", "GET accounts?$top=1 HTTP/1.1\r\n"); a.StatusCode != 200 {
		t.Errorf("a batch that only reads: %d %s", a.StatusCode, a.body)
	}
	batch("contoso", "GET accounts?$top=1 HTTP/1.1\r\nAuthorization: Bearer forged\r\nX-Original-Url: /main.aspx\r\nHost: proxy\r\nOData-Version: 4.0\r\n")
	arrived := string(c.last().Body)
	for _, gone := range []string{"forged", "main.aspx", "Host: proxy\r\n"} {
		if strings.Contains(arrived, gone) {
			t.Errorf("%q arrived inside a batch:\n%s", gone, arrived)
		}
	}
	if !strings.Contains(arrived, "OData-Version: 4.0\r\n") || !strings.Contains(arrived, "Host: contoso.crm.dynamics.com\r\n") {
		t.Errorf("arrived:\n%s", arrived)
	}
}
