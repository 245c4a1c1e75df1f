package main

import (
	"fmt"
	"regexp"
	"strings"
)

// hostileRequest is bytes on a socket, and what the proxy answers to them.
type hostileRequest struct {
	name string
	raw  string
	// status and code are the answer's; code is its Dynproxy-Error.
	status int
	code   string
}

// The parts of which hostile requests are made. Whatever begins with smuggled
// must reach no organization, unless whoever stands in front took it for a
// request as well.
const (
	whoAmIPath = "/contoso/api/data/v9.2/WhoAmI"
	smuggled   = "GET /contoso/api/data/v9.2/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
	hostLine   = "Host: localhost\r\n"
	getHead    = "GET " + whoAmIPath + " HTTP/1.1\r\n" + hostLine
	postHead   = "POST /contoso/api/data/v9.2/accounts HTTP/1.1\r\n" + hostLine + "Content-Type: application/json\r\n"
	chunked    = postHead + "Transfer-Encoding: chunked\r\n\r\n"
)

// hostileRequests come from strangers who know how servers disagree.
func hostileRequests() []hostileRequest {
	list := []hostileRequest{
		{"both framings, CL first", postHead + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"both framings, TE first", postHead + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"both framings in odd letters", postHead + "cOnTeNt-LeNgTh: 0\r\ntRaNsFeR-eNcOdInG: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"length twice, equal", postHead + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length twice, different", postHead + "Content-Length: 2\r\nContent-Length: 70\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length as a list", postHead + "Content-Length: 2, 2\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length with a plus", postHead + "Content-Length: +2\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length below zero", postHead + "Content-Length: -1\r\n\r\n" + smuggled, 400, "bad_request"},
		{"length in hex", postHead + "Content-Length: 0x2\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length in octal", postHead + "Content-Length: 02\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length beyond all numbers", postHead + "Content-Length: 18446744073709551618\r\n\r\n{}" + smuggled, 400, "bad_request"},
		{"length of nothing", postHead + "Content-Length: \r\n\r\n" + smuggled, 400, "bad_request"},
		{"length by underscore", postHead + "Content_Length: 2\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding by underscore", postHead + "Transfer_Encoding: chunked\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding twice", postHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding unknown", postHead + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding list", postHead + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding behind a tab", postHead + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding behind a vertical tab", postHead + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding with a space before the colon", postHead + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding in HTTP/1.0", "POST /contoso/api/data/v9.2/accounts HTTP/1.0\r\n" + hostLine + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"coding folded", postHead + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},

		{"chunk size with a plus", chunked + "+2\r\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk size with 0x", chunked + "0x2\r\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk size with a space", chunked + "2 \r\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk size that overflows", chunked + "10000000000000002\r\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk size that is no number", chunked + "two\r\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk size before a bare LF", chunked + "2\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk longer than said", chunked + "2\r\n{ }\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk extension with a bare LF", chunked + "2;a\nb\r\n{}\r\n0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"chunk data before a bare CR", chunked + "2\r\n{}\rx0\r\n\r\n" + smuggled, 400, "bad_request"},
		{"trailer that frames", chunked + "2\r\n{}\r\n0\r\nContent-Length: 70\r\n\r\n" + smuggled, 400, "bad_request"},
		{"trailer that is a request", chunked + "2\r\n{}\r\n0\r\n" + smuggled, 400, "bad_request"},

		{"fold with a space", getHead + "X-A: 1\r\n 2\r\n\r\n", 400, "bad_request"},
		{"fold with a tab", getHead + "X-A: 1\r\n\t2\r\n\r\n", 400, "bad_request"},
		{"fold before the first header", "GET " + whoAmIPath + " HTTP/1.1\r\n Host: localhost\r\n\r\n", 400, "bad_request"},
		{"bare LF throughout", "GET " + whoAmIPath + " HTTP/1.1\nHost: localhost\n\n", 400, "bad_request"},
		{"bare LF in a header", getHead + "X-A: 1\nX-B: 2\r\n\r\n", 400, "bad_request"},
		{"bare CR in a header", getHead + "X-A: 1\rX-B: 2\r\n\r\n", 400, "bad_request"},
		{"NUL in a header", getHead + "X-A: 1\x002\r\n\r\n", 400, "bad_request"},
		{"NUL in the target", "GET " + whoAmIPath + "\x00 HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"control byte in a header", getHead + "X-A: \x01\r\n\r\n", 400, "bad_request"},
		{"header without a colon", getHead + "X-A\r\n\r\n", 400, "bad_request"},
		{"header without a name", getHead + ": 1\r\n\r\n", 400, "bad_request"},
		{"header name with a space", getHead + "X A: 1\r\n\r\n", 400, "bad_request"},

		{"no Host", "GET " + whoAmIPath + " HTTP/1.1\r\n\r\n", 400, "bad_request"},
		{"two Hosts", getHead + "Host: evil.example\r\n\r\n", 400, "bad_request"},
		{"Host with a user", "GET " + whoAmIPath + " HTTP/1.1\r\nHost: a@localhost\r\n\r\n", 400, "bad_request"},
		{"Host with a path", "GET " + whoAmIPath + " HTTP/1.1\r\nHost: localhost/x\r\n\r\n", 400, "bad_request"},
		{"Host without its bracket", "GET " + whoAmIPath + " HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "bad_request"},
		{"Host with two ports", "GET " + whoAmIPath + " HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n", 400, "bad_request"},
		{"Host with a port beyond all", "GET " + whoAmIPath + " HTTP/1.1\r\nHost: localhost:99999\r\n\r\n", 400, "bad_request"},
		{"Host of a stranger", "GET " + whoAmIPath + " HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400, "bad_request"},
		{"absolute target of another host", "GET http://evil.example" + whoAmIPath + " HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"absolute target with a user", "GET http://a:b@localhost" + whoAmIPath + " HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"absolute target of another scheme", "GET ftp://localhost" + whoAmIPath + " HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},

		{"target without a slash", "GET contoso/api/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"target with a space", "GET /contoso/api/data/v9.2/Who AmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"target with a fragment", "GET " + whoAmIPath + "#x HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"target with half an escape", "GET /contoso/api/data/v9.2/WhoAmI%2 HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"target with a false escape", "GET /contoso/api/data/v9.2/%zz HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"dot segments", "GET /contoso/api/data/../../../fabrikam/api/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"dot segments encoded", "GET /contoso/api/data/%2e%2e/%2e%2e/%2e%2e/fabrikam/api/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"dot segments behind encoded slashes", "GET /contoso/api/data/..%2f..%2f..%2ffabrikam/api/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"dot segments with half-encoded dots", "GET /contoso/api/data/.%2e/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"encoded slash behind the tenant", "GET /contoso%2fapi/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"encoded slash before the OData path", "GET /contoso/api%2Fdata/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"backslashes", "GET /contoso\\api\\data\\v9.2\\WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"encoded backslash before the OData path", "GET /contoso/api%5cdata/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"encoded NUL", "GET /contoso/api/data/v9.2/WhoAmI%00 HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"another path of the organization", "GET /contoso/main.aspx HTTP/1.1\r\n" + hostLine + "\r\n", 403, "path_not_allowed"},
		{"no tenant", "GET / HTTP/1.1\r\n" + hostLine + "\r\n", 404, "tenant_unknown"},
		{"another tenant", "GET /nosuch/api/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 404, "tenant_unknown"},
		{"a tenant with a doubled slash", "GET //contoso/api/data/v9.2/WhoAmI HTTP/1.1\r\n" + hostLine + "\r\n", 404, "tenant_unknown"},

		{"TRACE", "TRACE " + whoAmIPath + " HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 400, "bad_request"},
		{"a method with a bracket", "GE(T " + whoAmIPath + " HTTP/1.1\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"HTTP/0.9", "GET " + whoAmIPath + "\r\n\r\n", 400, "bad_request"},
		{"HTTP/1.2", "GET " + whoAmIPath + " HTTP/1.2\r\n" + hostLine + "\r\n", 400, "bad_request"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"},
		{"an upgrade to HTTP/2", getHead + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + smuggled, 200, ""},
		{"a page of another site", getHead + "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403, "forbidden"},
		{"a page of another site, old browser", postHead + "Origin: https://evil.example\r\nContent-Length: 2\r\n\r\n{}", 403, "forbidden"},
		{"a request line without end", "GET /contoso/" + strings.Repeat("x", 100<<10), 414, "bad_request"},
		{"a head without end", getHead + "X-A: " + strings.Repeat("x", 100<<10), 431, "bad_request"},
		{"a thousand headers", getHead + strings.Repeat("X-A: "+strings.Repeat("x", 120)+"\r\n", 1000) + "\r\n", 431, "bad_request"},
		{"a forged mark of refusal", getHead + "Dynproxy-Refused: x\r\n\r\n", 400, "bad_request"},
	}
	// Where the connection may go on behind the answer it is asked to end, since
	// whoever sends waits for that. What smuggles is left as it is.
	for i, h := range list {
		head, more, _ := strings.Cut(h.raw, "\r\n\r\n")
		switch {
		case h.status != 400:
			list[i].raw = strings.Replace(h.raw, hostLine, hostLine+"Connection: close\r\n", 1)
		case more == "" && len(head) < len(h.raw):
			list[i].raw = head + "\r\nConnection: close\r\n\r\n"
		}
	}
	return list
}

// firstAnswer reads the head of what came back.
var firstAnswer = regexp.MustCompile(`^HTTP/1\.[01] (\d{3}) (?s:.*?)\r\n\r\n`)

// judge says what is wrong with an answer, "" if nothing.
func (h hostileRequest) judge(got string) string {
	head := firstAnswer.FindStringSubmatch(got)
	if head == nil {
		return fmt.Sprintf("no answer but %.200q", got)
	}
	if head[1] != fmt.Sprint(h.status) {
		return fmt.Sprintf("status %s, want %d: %.300q", head[1], h.status, got)
	}
	if h.code == "" {
		return ""
	}
	for _, want := range []string{"\r\nDynproxy-Error: " + h.code + "\r\n", "\r\nOdata-Version: 4.0\r\n", "\r\nContent-Type: application/json; odata.metadata=minimal\r\n"} {
		if !strings.Contains(strings.ToLower(head[0]), strings.ToLower(want)) {
			return fmt.Sprintf("no %q in %q", want, head[0])
		}
	}
	if body := got[len(head[0]):]; !strings.Contains(body, `{"error":{"code":"`+h.code+`","message":"`) {
		return fmt.Sprintf("body %.300q", body)
	}
	return ""
}
