package proxy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"dynproxy/internal/callers"
	"dynproxy/internal/problem"
	"dynproxy/proxy"
)

func soapPair(key, value string) string {
	return `<a:KeyValuePairOfstringanyType><b:key>` + key + `</b:key><b:value ` + value + `</b:value></a:KeyValuePairOfstringanyType>`
}

const soapQuery = `i:type="a:QueryExpression"><a:ColumnSet><a:AllColumns>true</a:AllColumns></a:ColumnSet><a:EntityName>account</a:EntityName>`

// soapMultiple is a request that holds others.
func soapMultiple(name string, inner ...string) string {
	var all strings.Builder
	for _, one := range inner {
		all.WriteString(`<a:OrganizationRequest>` + one + `</a:OrganizationRequest>`)
	}
	settings := soapPair("Settings", `i:type="a:ExecuteMultipleSettings"><a:ContinueOnError>false</a:ContinueOnError><a:ReturnResponses>true</a:ReturnResponses>`)
	if name == "ExecuteTransaction" {
		settings = soapPair("ReturnResponses", `i:type="x:boolean" xmlns:x="http://www.w3.org/2001/XMLSchema">true`)
	}
	return soapExecute(soapPair("Requests", `i:type="a:OrganizationRequestCollection">`+all.String())+settings, name)
}

func soapInner(name, parameters string) string {
	return `<a:Parameters>` + parameters + `</a:Parameters><a:RequestId i:nil="true"/><a:RequestName>` + name + `</a:RequestName>`
}

const soapCreate = `<Create xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><entity ` + soapSpaces + `><a:Attributes><a:KeyValuePairOfstringanyType><b:key>name</b:key><b:value i:type="x:string" xmlns:x="http://www.w3.org/2001/XMLSchema">by SOAP</b:value></a:KeyValuePairOfstringanyType></a:Attributes><a:LogicalName>account</a:LogicalName></entity></Create>`

const soapTarget = `i:type="a:EntityReference"><a:Id>7bd2a5f0-0000-4000-8000-000000000001</a:Id><a:LogicalName>account</a:LogicalName>`

// onlyCaller is one that is known by its address.
func onlyCaller(t *testing.T, lines string) setting {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "erp.env"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	known, err := callers.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ map[string]string, p *proxy.Parts) { p.Callers = known }
}

func TestSOAPWhereOnlyReadingIs(t *testing.T) {
	t.Parallel()
	for about, c := range map[string]struct {
		proxied *testProxy
		code    problem.Code
	}{
		"a read-only tenant":                   {newTestProxy(t, tenant("contoso", "READ_ONLY=true")), problem.ReadOnly},
		"a read-only caller":                   {newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\nREAD_ONLY=true")), problem.Forbidden},
		"one that may act as others":           {newTestProxy(t, tenant("contoso", "READ_ONLY=true\nIMPERSONATION=true")), problem.ReadOnly},
		"a caller of one, itself one that may": {newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\nREAD_ONLY=true\nIMPERSONATION=true")), problem.Forbidden},
	} {
		for name, body := range map[string]string{
			"WhoAmI":                  soapExecute("", "WhoAmI"),
			"RetrieveVersion":         soapExecute("", "RetrieveVersion"),
			"RetrieveMultiple":        `<RetrieveMultiple xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><query ` + soapSpaces + ` ` + soapQuery + `</query></RetrieveMultiple>`,
			"RetrieveMultiple inside": soapMultiple("ExecuteMultiple", soapInner("RetrieveMultiple", soapPair("Query", soapQuery)), soapInner("WhoAmI", "")),
		} {
			if a := c.proxied.soap(soapEnvelope("", body)); a.StatusCode != 200 {
				t.Errorf("%s, %s: %d %.400s", about, name, a.StatusCode, a.body)
			}
		}
		before := len(c.proxied.contoso.Requests())
		for name, body := range map[string]string{
			"Create":                       soapCreate,
			"Delete as a message":          soapExecute(soapPair("Target", soapTarget), "Delete"),
			"Delete behind a comment":      soapExecute(soapPair("Target", soapTarget), "Del<!-- -->ete"),
			"a message nobody knows":       soapExecute("", "new_Frobnicate"),
			"a write inside":               soapMultiple("ExecuteMultiple", soapInner("WhoAmI", ""), soapInner("Delete", soapPair("Target", soapTarget))),
			"a write inside a transaction": soapMultiple("ExecuteTransaction", soapInner("Delete", soapPair("Target", soapTarget))),
		} {
			for _, path := range []string{soapPath, strings.TrimSuffix(soapPath, "/web"), strings.ToUpper(soapPath)} {
				path = strings.Replace(path, "/CONTOSO", "/contoso", 1)
				a := c.proxied.call("POST", path, soapEnvelope("", body), "Content-Type: text/xml; charset=utf-8")
				if d := a.faulted(t, c.code, 403, -2147220960, false); !strings.Contains(d.Message, "READ_ONLY") {
					t.Errorf("%s, %s: %q", about, name, d.Message)
				}
			}
		}
		for name, text := range map[string]string{
			"no envelope": "hello", "JSON": `{}`, "a document type": `<!DOCTYPE x>` + soapEnvelope("", soapExecute("", "WhoAmI")),
			"two names": soapEnvelope("", strings.Replace(soapExecute("", "WhoAmI"), "<a:RequestName>", "<a:RequestName>Delete</a:RequestName><a:RequestName>", 1)),
		} {
			if d := c.proxied.soap(text).faulted(t, problem.BadRequest, 500, -2147220989, false); !strings.Contains(d.Message, "cannot be judged") {
				t.Errorf("%s, %s: %q", about, name, d.Message)
			}
		}
		c.proxied.call("POST", soapPath, "--b\r\n\r\n"+soapEnvelope("", soapCreate)+"\r\n--b--", "Content-Type: multipart/related; boundary=b").faulted(t, problem.BadRequest, 500, -2147220989, false)
		if n := len(c.proxied.contoso.Requests()); n != before {
			t.Errorf("%s: %d refused messages reached the organization", about, n-before)
		}
	}
}

// What METHODS withholds, an envelope does not give.
func TestSOAPIsHeldToMETHODS(t *testing.T) {
	t.Parallel()
	inner := func(name string) string {
		return soapMultiple("ExecuteMultiple", soapInner("WhoAmI", ""), soapInner(name, soapPair("Target", soapTarget)))
	}
	for _, rights := range []string{"", "IMPERSONATION=true"} {
		c := newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\nMETHODS=GET,POST\n"+rights))
		for _, body := range []string{soapExecute("", "WhoAmI"), soapCreate} {
			if a := c.soap(soapEnvelope("", body)); a.StatusCode != 200 {
				t.Errorf("%d %.400s", a.StatusCode, a.body)
			}
		}
		before := len(c.contoso.Requests())
		for _, body := range []string{inner("Delete"), inner("Update"), soapExecute("", "Upsert"), `<Delete/>`, `<Update/>`, `<Disassociate/>`} {
			if d := c.soap(soapEnvelope("", body)).faulted(t, problem.Forbidden, 403, -2147220960, false); !strings.Contains(d.Message, "METHODS") {
				t.Errorf("%s: %q", body, d.Message)
			}
		}
		if n := len(c.contoso.Requests()); n != before {
			t.Errorf("%d refused messages reached the organization", n-before)
		}
	}
	c := newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\nMETHODS=GET,POST,DELETE"))
	c.soap(soapEnvelope("", inner("Update"))).faulted(t, problem.Forbidden, 403, -2147220960, false)
	if a := c.soap(soapEnvelope("", inner("Delete"))); a.StatusCode != 200 {
		t.Errorf("%d %.400s", a.StatusCode, a.body)
	}
}

func TestSOAPThatActsAsAnotherOrRoundPlugins(t *testing.T) {
	t.Parallel()
	const other = `<a:CallerId xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts">7bd2a5f0-0000-4000-8000-000000000001</a:CallerId>`
	key := func(name string) string {
		return soapPair(name, `i:type="x:boolean" xmlns:x="http://www.w3.org/2001/XMLSchema">true`)
	}
	c := newTestProxy(t)
	for name, text := range map[string]string{
		"CallerId":                                soapEnvelope(other, soapExecute("", "WhoAmI")),
		"CallerObjectId":                          soapEnvelope(strings.ReplaceAll(other, "CallerId", "CallerObjectId"), soapCreate),
		"BypassCustomPluginExecution":             soapEnvelope("", soapExecute(key("BypassCustomPluginExecution"), "Create")),
		"BypassBusinessLogicExecution":            soapEnvelope("", soapExecute(key("BypassBusinessLogicExecution"), "Update")),
		"SuppressCallbackRegistrationExpanderJob": soapEnvelope("", soapMultiple("ExecuteMultiple", soapInner("Create", key("SuppressCallbackRegistrationExpanderJob")))),
	} {
		if d := c.soap(text).faulted(t, problem.Forbidden, 403, -2147220960, false); !strings.Contains(d.Message, "IMPERSONATION") || !strings.Contains(d.Message, name) {
			t.Errorf("%s: %q", name, d.Message)
		}
	}
	if n := len(c.contoso.Requests()); n != 0 {
		t.Errorf("%d refused messages reached the organization", n)
	}
	for _, text := range []string{
		soapEnvelope(strings.Replace(other, "7bd2a5f0-0000-4000-8000-000000000001", "00000000-0000-0000-0000-000000000000", 1), soapExecute("", "WhoAmI")),
		soapEnvelope("", soapExecute(key("SuppressDuplicateDetection"), "WhoAmI")), soapEnvelope("", soapCreate),
	} {
		if a := c.soap(text); a.StatusCode != 200 || string(c.last().Body) != text {
			t.Errorf("%d %.300s", a.StatusCode, a.body)
		}
	}
	allowed := newTestProxy(t, tenant("contoso", "IMPERSONATION=true"))
	text := soapEnvelope(other, soapExecute(key("BypassCustomPluginExecution"), "WhoAmI"))
	if allowed.soap(text); string(allowed.last().Body) != text {
		t.Error("what is allowed did not pass as it was")
	}
}

func batchWith(part string) string {
	return "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + part + "\r\n--b--\r\n"
}

const batchKind = "Content-Type: multipart/mixed; boundary=b"

func TestQueriesThatActAsAnotherOrRoundPlugins(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	for _, query := range []string{
		"CallerObjectId=7", "callerobjectid=7", "MSCRMCallerID=7", "mscrm_callerid=7", "CallerAADObjectId=7", "$top=1&%43allerObjectId=7",
		"BypassCustomPluginExecution=true", "MSCRM.BypassCustomPluginExecution=true", "$select=name&bypass-business-logic-execution=CustomSync", "MSCRM.BypassBusinessLogicExecutionStepIds=7",
		"SuppressCallbackRegistrationExpanderJob=true", "tag=x&MSCRM.SuppressCallbackRegistrationExpanderJob", "BypassCustomPluginExecution", "x=1;BypassCustomPluginExecution=true", "+CallerObjectId=7", "%20$CallerObjectId%09=7",
	} {
		c.get("/contoso/api/data/v9.2/accounts?"+query).refused(t, problem.Forbidden, 403)
		c.call("POST", "/contoso/api/data/v9.2/$batch", batchWith("GET /api/data/v9.2/accounts?"+query+" HTTP/1.1\r\n\r\n"), batchKind).refused(t, problem.Forbidden, 403)
	}
	if n := len(c.contoso.Requests()); n != 0 {
		t.Errorf("%d refused requests reached the organization", n)
	}
	for _, query := range []string{"tag=bypass", "partitionId=7", "$filter=name%20eq%20'BypassCustomPluginExecution'", "SuppressDuplicateDetection=false", "MSCRM.SuppressDuplicateDetection=true", "@bypass=1", "$select=name&$top=1"} {
		if a := c.get("/contoso/api/data/v9.2/accounts?" + query); a.StatusCode == 403 {
			t.Errorf("%s: %.300s", query, a.body)
		}
	}
	allowed := newTestProxy(t, tenant("contoso", "IMPERSONATION=true"))
	if a := allowed.get("/contoso/api/data/v9.2/WhoAmI?CallerObjectId=7"); a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("what is allowed was refused: %.300s", a.body)
	}
}

func TestASearchAskedByPOSTIsARead(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "READ_ONLY=true"))
	for _, name := range []string{"searchquery", "searchsuggest", "searchautocomplete", "SearchQuery"} {
		if a := c.call("POST", "/contoso/api/data/v9.2/"+name, `{"search":"a"}`, "Content-Type: application/json"); a.Header.Get("Dynproxy-Error") != "" {
			t.Errorf("%s: %.300s", name, a.body)
		}
		part := "POST /api/data/v9.2/" + name + " HTTP/1.1\r\nContent-Type: application/json\r\n\r\n" + `{"search":"a"}`
		if a := c.call("POST", "/contoso/api/data/v9.2/$batch", batchWith(part), batchKind); a.Header.Get("Dynproxy-Error") != "" {
			t.Errorf("%s in a batch: %.300s", name, a.body)
		}
	}
	for _, path := range []string{"accounts", "searchquery/accounts", "xsearchquery", "accounts(searchquery)", "accounts(7bd2a5f0-0000-4000-8000-000000000001)/searchquery", "accounts/searchquery/"} {
		c.call("POST", "/contoso/api/data/v9.2/"+path, `{"name":"a"}`, "Content-Type: application/json").refused(t, problem.ReadOnly, 403)
	}
}

// However the bytes come, what they say is judged.
func TestCompressedAndLargeMessagesAreJudged(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "READ_ONLY=true"))
	read, write := soapEnvelope("", soapExecute("", "WhoAmI")), soapEnvelope("", soapCreate)
	if a := c.soap(string(packed(read)), "Content-Encoding: gzip"); a.StatusCode != 200 {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
	c.soap(string(packed(write)), "Content-Encoding: gzip").faulted(t, problem.ReadOnly, 403, -2147220960, false)
	c.soap(read, "Content-Encoding: br").faulted(t, problem.BadRequest, 500, -2147220989, false)
	c.soap(read, "Content-Encoding: gzip").faulted(t, problem.BadRequest, 500, -2147220989, false)
	large := strings.Replace(write, "by SOAP", strings.Repeat("by SOAP ", 1<<18), 1)
	c.soap(large).faulted(t, problem.ReadOnly, 403, -2147220960, false)
	if c.soap("\ufeff" + write); len(c.contoso.Requests()) != 1 {
		t.Errorf("%d messages reached the organization", len(c.contoso.Requests()))
	}
	free := newTestProxy(t)
	if free.soap(large); free.last().Size != int64(len(large)) {
		t.Errorf("%d of %d bytes arrived", free.last().Size, len(large))
	}
}

func TestABatchHoldsNoSOAP(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "READ_ONLY=true"))
	for batch, target := range map[string]string{
		"/contoso/api/data/v9.2/$batch":                           "/XRMServices/2011/Organization.svc/web",
		"/contoso/XRMServices/2011/Organization.svc/$batch":       "web",
		"/contoso/XRMServices/2011/Organization.svc/web%2f$batch": "web",
	} {
		part := "POST " + target + " HTTP/1.1\r\nContent-Type: text/xml\r\n\r\n" + soapEnvelope("", soapCreate)
		a := c.call("POST", batch, batchWith(part), batchKind)
		if a.Header.Get("Dynproxy-Error") != string(problem.BadRequest) || !strings.Contains(a.body, "must not hold a SOAP message") {
			t.Errorf("%s in %s: %d %s", target, batch, a.StatusCode, a.body)
		}
	}
	if n := len(c.contoso.Requests()); n != 0 {
		t.Errorf("%d refused batches reached the organization", n)
	}
}

// A message is one by whatever method it comes, and whatever stands behind its
// service.
func TestAnEnvelopeIsOneHoweverItIsAsked(t *testing.T) {
	t.Parallel()
	write := soapEnvelope(`<a:CallerId xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts">7bd2a5f0-0000-4000-8000-000000000001</a:CallerId>`, soapCreate)
	getter := newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\nMETHODS=GET\nIMPERSONATION=true"))
	getter.call("GET", soapPath, soapEnvelope("", soapCreate), "Content-Type: text/xml").refused(t, problem.BadRequest, 400)
	for _, c := range []*testProxy{newTestProxy(t, tenant("contoso", "READ_ONLY=true")), newTestProxy(t)} {
		for _, method := range []string{"GET", "OPTIONS", "PUT", "PATCH", "MERGE", "post"} {
			a := c.call(method, soapPath, write, "Content-Type: text/xml; charset=utf-8")
			if code := a.Header.Get("Dynproxy-Error"); code != string(problem.BadRequest) && code != string(problem.ReadOnly) {
				t.Errorf("%s: %d %s", method, a.StatusCode, a.body)
			}
		}
		for _, end := range []string{"/organizationdata.svc", "%2Forganizationdata.svc"} {
			a := c.call("POST", soapPath+end, write, "Content-Type: text/xml; charset=utf-8")
			a.faulted(t, problem.Forbidden, 403, -2147220960, false)
		}
		if n := len(c.contoso.Requests()); n != 0 {
			t.Errorf("%d refused messages reached the organization", n)
		}
		if a := c.get(soapPath + "?wsdl"); a.StatusCode != 200 {
			t.Errorf("a description that is fetched: %d %.200s", a.StatusCode, a.body)
		}
	}
}

// Wherever a server looks for the method that a request asks to be taken for,
// it counts as a write and is sent once.
func TestAnotherMethodInTheQuery(t *testing.T) {
	t.Parallel()
	readOnly, fewMethods := newTestProxy(t, tenant("contoso", "READ_ONLY=true")), newTestProxy(t, onlyCaller(t, "CIDRS=127.0.0.0/8\nMETHODS=GET,POST"))
	for _, query := range []string{"X-HTTP-Method-Override=DELETE", "x_http_method=DELETE", "$top=1&%58-HTTP-Method=DELETE", "a;X-Method-Override=PATCH", "HTTP-Method=PUT"} {
		for c, code := range map[*testProxy]problem.Code{readOnly: problem.ReadOnly, fewMethods: problem.Forbidden} {
			c.call("POST", "/contoso/api/search/v1.0/query?"+query, `{"search":"a"}`, "Content-Type: application/json").refused(t, code, 403)
			c.get("/contoso/api/data/v9.2/accounts?"+query).refused(t, code, 403)
			c.call("POST", "/contoso/api/data/v9.2/$batch", batchWith("GET /api/data/v9.2/accounts?"+query+" HTTP/1.1\r\n\r\n"), batchKind).refused(t, code, 403)
		}
	}
	if n := len(readOnly.contoso.Requests()) + len(fewMethods.contoso.Requests()); n != 0 {
		t.Errorf("%d refused requests reached the organization", n)
	}
	if a := readOnly.get("/contoso/api/data/v9.2/accounts?X-HTTP-Method-Override=&$top=1"); a.Header.Get("Dynproxy-Error") == string(problem.ReadOnly) {
		t.Error("an empty one was refused")
	}
	var received atomic.Int32
	losing := newTestProxy(t, organization(t, func(http.ResponseWriter, *http.Request) {
		received.Add(1)
		panic(http.ErrAbortHandler) // carried out; the answer is lost
	}))
	for n, target := range []string{"/contoso/api/data/v9.2/accounts?X-HTTP-Method=DELETE", "/contoso/api/data/v9.2/accounts"} {
		a := losing.get(target, "X-HTTP-Method: DELETE")
		a.refused(t, problem.UpstreamUnreachable, 502)
		if got := int(received.Load()); got != n+1 || !strings.Contains(a.body, "may have been carried out") {
			t.Errorf("sent %d times: %s", got-n, a.body)
		}
	}
}

// A caller that is tied to a person acts as nobody else, whatever its tenant
// allows.
func TestACallerThatIsAPersonActsAsNobodyElse(t *testing.T) {
	t.Parallel()
	const person = "5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"
	c := newTestProxy(t, tenant("contoso", "IMPERSONATION=true"), onlyCaller(t, "CIDRS=127.0.0.0/8\nCALLER_OBJECT_ID="+person))
	const who = "/contoso/api/data/v9.2/WhoAmI"
	for _, asked := range []string{"CallerObjectId", "MSCRMCallerID", "MSCRM.BypassCustomPluginExecution"} {
		for _, a := range []*answer{
			c.get(who, asked+": 7"), c.get(who + "?" + asked + "=7"),
			c.call("POST", "/contoso/api/data/v9.2/$batch", batchWith("GET WhoAmI HTTP/1.1\r\n"+asked+": 7\r\n\r\n"), batchKind),
		} {
			a.refused(t, problem.Forbidden, 403)
			if !strings.Contains(a.body, "always acts as the person") {
				t.Errorf("%s: %s", asked, a.body)
			}
		}
	}
	other := `<a:CallerId xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts">7bd2a5f0-0000-4000-8000-000000000001</a:CallerId>`
	c.soap(soapEnvelope(other, soapExecute("", "WhoAmI"))).faulted(t, problem.Forbidden, 403, -2147220960, false)
	if n := len(c.contoso.Requests()); n != 0 {
		t.Errorf("%d refused requests reached the organization", n)
	}
	c.get(who)
	if got := c.last().Header.Get("CallerObjectId"); got != person {
		t.Errorf("acts as %q", got)
	}
}
