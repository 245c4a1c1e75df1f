package refusal

import (
	"strings"
	"testing"
)

const fault = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring xml:lang="en-US">short</faultstring><detail>` +
	`<OrganizationServiceFault xmlns="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><ErrorCode>-2147015902</ErrorCode>` +
	`<ErrorDetails xmlns:c="x"><KeyValuePairOfstringanyType><c:key>Other</c:key><c:value>7</c:value></KeyValuePairOfstringanyType><KeyValuePairOfstringanyType><c:key>Retry-After</c:key><c:value i:type="d:duration">PT1M5S</c:value></KeyValuePairOfstringanyType></ErrorDetails>` +
	`<Message>Number of requests &lt;exceeded&gt; the <!-- --> limit</Message><InnerFault><ErrorCode>1</ErrorCode><Message>inner</Message></InnerFault></OrganizationServiceFault></detail></s:Fault></s:Body></s:Envelope>`

func TestRead(t *testing.T) {
	for _, c := range []struct {
		kind, body string
		want       Refusal
	}{
		{"application/json; odata.metadata=minimal", `{"error":{"code":"0x80072560","message":"no member"}}`, Refusal{Code: "0x80072560", Message: "no member"}},
		{"", "\ufeff" + `{"error":{"code":"0X80095FFE","message":""}}`, Refusal{Code: "0x80095ffe"}},
		{"application/json", `{"error":{"code":"","message":"plain"}}`, Refusal{Message: "plain"}},
		{"application/json", `{"error":{"code":"0x80072326","message":"cut","innererror":{"trace":"xxx`, Refusal{Code: "0x80072326", Message: "cut"}},
		{"application/json", `{"error":{"code":"0x80072326","message":"cu`, Refusal{Code: "0x80072326"}},
		{"application/json", `{"id":{"a":[1]},"error":{"innererror":{"message":"inner","a":[{}]},"code":"0x80072326","message":"behind"}}`, Refusal{Code: "0x80072326", Message: "behind"}},
		{"application/json", `{"error":{"code":5,"message":{"value":"x"}}`, Refusal{}},
		{"application/json", `{"value":[]}`, Refusal{}},
		{"application/json", `{"error" {"code":"0x80072326"}}`, Refusal{}},
		{"application/json", ``, Refusal{}},
		{"text/html", `<html>503</html>`, Refusal{}},
		{"application/json", `{"error":"x"}`, Refusal{}},
		{"text/xml; charset=utf-8", fault, Refusal{Code: "0x80072322", Message: "Number of requests <exceeded> the  limit", RetryAfter: "PT1M5S"}},
		{"text/xml", fault[:strings.Index(fault, "<detail>")], Refusal{Message: "short"}},
		{"application/soap+xml", `<Envelope><Body><Fault><Reason><Text>why</Text></Reason></Fault></Body></Envelope>`, Refusal{Message: "why"}},
		{"text/xml", "no xml", Refusal{}},
		{"multipart/mixed; boundary=b", "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n\r\n{\"error\":{\"code\":\"0x80048306\",\"message\":\"no {\\\"privilege\"}}\r\n--b--\r\n", Refusal{Code: "0x80048306", Message: `no {"privilege`}},
		{"multipart/mixed; boundary=b", "--b\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n--b--\r\n", Refusal{}},
	} {
		if got := Read(c.kind, strings.NewReader(c.body)); got != c.want {
			t.Errorf("%s %.60s: %+v", c.kind, c.body, got)
		}
	}
}

func TestCode(t *testing.T) {
	for said, want := range map[string]string{
		"0x80072322": "0x80072322", "0X80072322": "0x80072322", "80072322": "0x80072322", "-2147015902": "0x80072322", "2147951394": "0x80072322", " -2147015898 ": "0x80072326",
		"-2147220960": "0x80040220", "": "", "0": "0", "InvalidArgument": "invalidargument", "99999999999999": "99999999999999", "-1": "0xffffffff",
	} {
		if got := codeOf(said); got != want {
			t.Errorf("Code(%q) = %q, want %q", said, got, want)
		}
	}
}

func TestEveryKnownRefusalHasItsNextStep(t *testing.T) {
	for code, hint := range hints {
		r := Refusal{Code: code}
		if r.Hint() != hint || r.Next("https://o", "c-1") == "" || strings.Contains(r.Next("https://o", "c-1"), "{") {
			t.Errorf("%s: %q, %q", code, hint, r.Next("https://o", "c-1"))
		}
	}
	if got := (Refusal{Code: "0x80072560"}).Next("https://contoso.crm.dynamics.com", "c-1"); !strings.Contains(got, "--environment https://contoso.crm.dynamics.com --user c-1") {
		t.Error(got)
	}
	if got := (Refusal{Code: "-2147187962", Message: "Principal user (Id=1), is missing prvReadAccount privilege."}).Next("", ""); !strings.Contains(got, "prvReadAccount.") {
		t.Error(got)
	}
	if r := (Refusal{Status: 429}); r.Hint() != Throttled || r.Next("", "") == "" {
		t.Error("a 429 without a code has no hint")
	}
	if r := (Refusal{Code: "0x80040217"}); r.Hint() != "" || r.Next("", "") != "" {
		t.Error("an unknown code has a hint")
	}
}
