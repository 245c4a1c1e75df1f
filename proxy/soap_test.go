package proxy_test

import (
	"encoding/xml"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/problem"
	"dynproxy/proxy"
)

const soapPath = "/contoso/XRMServices/2011/Organization.svc/web"

const soapSpaces = `xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:b="http://schemas.datacontract.org/2004/07/System.Collections.Generic" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"`

// soapEnvelope is a message as .NET's clients write it.
func soapEnvelope(header, body string) string {
	return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>` + header + `</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
}

func soapExecute(parameters, name string) string {
	return `<Execute xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><request ` + soapSpaces + `><a:Parameters>` + parameters +
		`</a:Parameters><a:RequestId i:nil="true"/><a:RequestName>` + name + `</a:RequestName></request></Execute>`
}

// soap sends a message as text/xml.
func (c *testProxy) soap(envelope string, headers ...string) *answer {
	c.t.Helper()
	return c.call("POST", soapPath, envelope, append([]string{"Content-Type: text/xml; charset=utf-8"}, headers...)...)
}

// fault is what a client reads of a SOAP fault, of either version.
type fault struct {
	String   string `xml:"Body>Fault>faultstring"`
	Reason   string `xml:"Body>Fault>Reason>Text"`
	Detail11 detail `xml:"Body>Fault>detail>OrganizationServiceFault"`
	Detail12 detail `xml:"Body>Fault>Detail>OrganizationServiceFault"`
}

type detail struct {
	Code    int    `xml:"ErrorCode"`
	Message string `xml:"Message"`
	Pairs   []struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	} `xml:"ErrorDetails>KeyValuePairOfstringanyType"`
}

// faulted checks that an answer is a refusal of the proxy's own in the shape
// of the Organization Service.
func (a *answer) faulted(t *testing.T, code problem.Code, status, number int, wait bool) detail {
	t.Helper()
	var f fault
	if err := xml.Unmarshal([]byte(a.body), &f); err != nil {
		t.Fatalf("%d %s: %v in %.300q", a.StatusCode, code, err, a.body)
	}
	d, said, kind := f.Detail11, f.String, "text/xml; charset=utf-8"
	if f.Reason != "" {
		d, said, kind = f.Detail12, f.Reason, "application/soap+xml; charset=utf-8"
	}
	if a.StatusCode != status || a.Header.Get("Dynproxy-Error") != string(code) || a.Header.Get("Dynproxy-Request-Id") == "" || a.Header.Get("Content-Type") != kind {
		t.Errorf("%s: got %d, %v", code, a.StatusCode, a.Header)
	}
	if d.Code != number || said == "" || said != d.Message {
		t.Errorf("%s: %d %q %+v", code, number, said, d)
	}
	told := ""
	for _, p := range d.Pairs {
		if p.Key == "Retry-After" {
			told = p.Value
		}
	}
	if wait != (told != "") || wait != (a.Header.Get("Retry-After") != "") || wait && !strings.HasPrefix(told, "PT") {
		t.Errorf("%s: Retry-After %q in the fault, %q in the header", code, told, a.Header.Get("Retry-After"))
	}
	return d
}

// Clients take the addresses of an organization's services from its own answer,
// and would leave the proxy by them.
func TestEndpointsInSOAPLeadToTheProxy(t *testing.T) {
	t.Parallel()
	const answer = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><ExecuteResponse><ExecuteResult><a:Results><b:key>Detail</b:key><b:value><c:Endpoints>` +
		`<c:KeyValuePairOfEndpointTypestringztYlk6OT><d:key>OrganizationService</d:key><d:value>BASE/XRMServices/2011/Organization.svc</d:value></c:KeyValuePairOfEndpointTypestringztYlk6OT></c:Endpoints>` +
		`<c:FriendlyName>https://contoso.crm.dynamics.com</c:FriendlyName></b:value></a:Results></ExecuteResult></ExecuteResponse></s:Body></s:Envelope>`
	theirs := strings.ReplaceAll(answer, "BASE", "https://contoso.crm.dynamics.com")
	for _, file := range []string{"", "IMPERSONATION=true"} { // judged, and unread
		c := newTestProxy(t, tenant("contoso", file), organization(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/xml; charset=utf-8")
			io.WriteString(w, theirs)
		}))
		if a := c.soap(soapEnvelope("", soapExecute("", "RetrieveCurrentOrganization"))); a.body != strings.ReplaceAll(answer, "BASE", c.server.URL+"/contoso") {
			t.Errorf("%q: %d %s", file, a.StatusCode, a.body)
		}
		long := strings.Repeat("<!-- -->", 800) + strings.Repeat("R", 5000)
		for name, envelope := range map[string]string{
			"behind a long header": soapEnvelope("<x>"+long+"</x>", soapExecute("", "RetrieveCurrentOrganization")),
			"a late item":          soapEnvelope("", soapExecute("<y>"+long+"</y><z>Retrieve RetrieveRetrieveCurrentOrganization</z>", "WhoAmI")),
			"the last of much":     soapEnvelope("<x>"+strings.Repeat(long, 20)+"</x>", soapExecute("", "RetrieveCurrentOrganization")),
		} {
			if a := c.soap(envelope); a.body != strings.ReplaceAll(answer, "BASE", c.server.URL+"/contoso") {
				t.Errorf("%q, %s: %d %s", file, name, a.StatusCode, a.body)
			}
		}
		plain := soapEnvelope("", soapExecute("", "RetrieveCurrentOrganization"))
		if a := c.soap(string(packed(plain)), "Content-Encoding: gzip"); a.body != strings.ReplaceAll(answer, "BASE", c.server.URL+"/contoso") {
			t.Errorf("%q, packed: %d %s", file, a.StatusCode, a.body)
		}
		if a := c.call("POST", soapPath, strings.Join(strings.Split(plain, ""), "\x00")+"\x00", "Content-Type: text/xml; charset=utf-16"); a.body != strings.ReplaceAll(answer, "BASE", c.server.URL+"/contoso") {
			t.Errorf("%q, in UTF-16: %d %s", file, a.StatusCode, a.body)
		}
		if a := c.soap(soapEnvelope("", soapExecute("", "WhoAmI"))); a.body != theirs {
			t.Errorf("%q: another message is answered %s", file, a.body)
		}
	}
}

func TestRefusalsOfSOAPAreFaults(t *testing.T) {
	t.Parallel()
	const privilege, argument, unexpected = -2147220960, -2147220989, -2147220970
	who := soapEnvelope("", soapExecute("", "WhoAmI"))
	c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=1s"), tenant("reader", "ORG_URL=https://contoso.crm.dynamics.com\nREAD_ONLY=true\nPATHS=/api/data/"),
		tenant("down", "ORG_URL=https://down.example.com\nTENANT_ID="+contosoID),
		entrance(func(e *proxy.AccessPolicy) {
			e.HostAllowed = func(host string) bool { return host != "evil.example.com" }
		}))
	for _, version := range []string{"text/xml", "application/soap+xml"} {
		kind := "Content-Type: " + version
		for _, x := range []struct {
			path, header string
			code         problem.Code
			status       int
			number       int
		}{
			{"/nobody/XRMServices/2011/Organization.svc/web", "", problem.TenantUnknown, 500, argument},
			{"/reader/XRMServices/2011/Organization.svc", "", problem.PathNotAllowed, 403, privilege},
			{soapPath, "Origin: http://elsewhere.example", problem.Forbidden, 403, privilege},
			{soapPath, "Host: evil.example.com", problem.BadRequest, 500, argument},
			{"/down/xrmservices/2011/organization.SVC/web", "", problem.UpstreamUnreachable, 500, unexpected},
		} {
			headers := []string{kind}
			if x.header != "" {
				headers = append(headers, x.header)
			}
			a := c.call("POST", x.path, who, headers...)
			a.faulted(t, x.code, x.status, x.number, false)
			if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, version+";") {
				t.Errorf("%s is answered in %s", version, got)
			}
		}
	}
	// Whoever fetches a description reads plain errors.
	c.get("/nobody/XRMServices/2011/Organization.svc?wsdl").refused(t, problem.TenantUnknown, 404)

	for code, number := range map[string]int{"0x80072322": -2147015902, "0x80072321": -2147015903, "0x80072326": -2147015898} {
		c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=1s"))
		c.inject(emulator.Fault{Kind: emulator.Throttle, Code: code, RetryAfter: 65 * time.Second, Times: 1})
		for range 2 {
			c.soap(who).faulted(t, problem.LimitWaitExceeded, 500, number, true)
		}
		if n, _ := c.received("POST"); n != 1 {
			t.Errorf("%s: the organization was asked %d times", code, n)
		}
	}
	c.handler.Drain()
	c.soap(who).faulted(t, problem.Draining, 500, unexpected, true)
}

// A throttle that is not waited out is the organization's own, byte for byte,
// with what is known of it beside it.
func TestAnOrganizationsOwnFaultPasses(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "LIMITS=off"))
	c.inject(emulator.Fault{Kind: emulator.Throttle, Code: "0x80072326", RetryAfter: 7 * time.Second, Times: 1})
	a := c.soap(soapEnvelope("", soapExecute("", "WhoAmI")))
	if a.StatusCode != 500 || !strings.Contains(a.body, "<ErrorCode>-2147015898</ErrorCode>") || !strings.Contains(a.body, "PT7S") || a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	if a.Header.Get("Dynproxy-Hint") != "throttled" || a.Header.Get("Dynproxy-Next") == "" {
		t.Errorf("%v", a.Header)
	}
}

func TestKnownRefusalsCarryTheirNextStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault emulator.Fault
		hint  string
		next  string
	}{
		{emulator.Fault{Kind: emulator.Firewall, Times: 1}, "ip_firewall", "firewall"},
		{emulator.Fault{Kind: emulator.AccessControl, Times: 1}, "app_access_denied", "access control"},
	} {
		proxied := newTestProxy(t)
		proxied.inject(c.fault)
		a := proxied.get("/contoso/api/data/v9.2/WhoAmI")
		if a.StatusCode != 403 || a.Header.Get("Dynproxy-Hint") != c.hint || !strings.Contains(a.Header.Get("Dynproxy-Next"), c.next) {
			t.Errorf("%s: %d %v", c.hint, a.StatusCode, a.Header)
		}
	}
	c := newTestProxy(t)
	a := c.get("/fabrikam/api/data/v9.2/WhoAmI")
	if a.Header.Get("Dynproxy-Hint") != "application_user_missing" || !strings.Contains(a.Header.Get("Dynproxy-Next"), "--environment https://fabrikam.crm4.dynamics.com --user "+clientID) {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := c.get("/contoso/api/data/v9.2/nothing"); a.StatusCode != 404 || a.Header.Get("Dynproxy-Hint") != "" || a.Header.Get("Dynproxy-Next") != "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// Of an error that is long, with what its plug-ins say, the cause is known too.
func TestALongRefusalCarriesItsNextStep(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("at Plugin.Execute() ", 1<<10)
	const head = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>`
	for _, x := range []struct {
		status             int
		kind, body, answer string // what stands in the caller's answer
	}{
		{403, "application/json", `{"error":{"code":"0x80072560","message":"no member","innererror":{"stacktrace":"` + long + `"}}}`, "application_user_missing"},
		{403, "application/json", `{"error":{"code":"0x80072560","message":"` + long + `"}}`, "application_user_missing"},
		{403, "application/json", `{"error":{"innererror":{"stacktrace":"` + long + `"},"code":"0x80072560","message":"no member"}}`, "application_user_missing"},
		{403, "application/json", `{"error":{"code":"0x80072560","message":"no member","innererror":{"stacktrace":"` + strings.Repeat(long, 100) + `"}}}`, "application_user_missing"},
		{429, "application/json", `{"error":{"code":"0x80072326","message":"x","innererror":{"stacktrace":"` + long + `"}}}`, `"0x80072326"`},
		{429, "text/xml", head + `<faultstring>` + long + `</faultstring><detail><OrganizationServiceFault><ErrorCode>-2147015898</ErrorCode><Message>` + long + `</Message></OrganizationServiceFault></detail></s:Fault></s:Body></s:Envelope>`, `"0x80072326"`},
	} {
		c := newTestProxy(t, tenant("contoso", "QUEUE_WAIT=0s"), organization(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", x.kind)
			w.WriteHeader(x.status)
			io.WriteString(w, x.body)
		}))
		a := c.get("/contoso/api/data/v9.2/WhoAmI")
		if a.StatusCode != x.status || !strings.Contains(a.Header.Get("Dynproxy-Hint")+a.body, x.answer) || x.status == 403 && (a.body != x.body || a.Header.Get("Dynproxy-Next") == "") {
			t.Errorf("%.100s: %d %v %.300s", x.body, a.StatusCode, a.Header, a.body)
		}
	}
}

func TestTheServicesDescriptionIsServedByDefault(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	for _, query := range []string{"wsdl", "WSDL", "singleWsdl", "wsdl&sdkversion=9.2"} {
		a := c.get("/contoso/XRMServices/2011/Organization.svc?" + query)
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, c.server.URL+"/contoso/XRMServices/2011/Organization.svc") || strings.Contains(a.body, "contoso.crm.dynamics.com") {
			t.Errorf("%s: %d %.300s", query, a.StatusCode, a.body)
		}
	}
}
