package proxy_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"dynproxy/proxy"
	"dynproxy/tenants"
)

// faulty is a part of ours with a fault in it.
type faulty struct{ proxy.TokenSource }

func (faulty) Token(context.Context, *tenants.Tenant) (string, error) { panic("a-canary") }

// A fault of the proxy itself is told in the log with its stack, and answered in
// the shape that the client reads; the next call is served.
func TestAFaultOfOurOwnIsToldAndAnswered(t *testing.T) {
	c := newCorridor(t, func(_ map[string]string, parts *proxy.Parts) { parts.Tokens = faulty{parts.Tokens} })
	for _, kind := range []string{"/contoso/api/data/v9.2/WhoAmI", "/contoso/XRMServices/2011/Organization.svc/web"} {
		method, body := http.MethodGet, ""
		if strings.Contains(kind, "svc") {
			method, body = http.MethodPost, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Execute xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><request xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts"><a:Parameters/><a:RequestName>WhoAmI</a:RequestName></request></Execute></s:Body></s:Envelope>`
		}
		r, err := http.NewRequest(method, c.server.URL+kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "text/xml; charset=utf-8")
			r.Header.Set("SOAPAction", "http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/Execute")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Dynproxy-Error") != "internal_error" {
			t.Errorf("%s: %d %v", kind, resp.StatusCode, resp.Header)
		}
	}
	text := c.log.String()
	if strings.Count(text, `"panic":"string"`) != 2 || !strings.Contains(text, "survive_test.go") || !strings.Contains(text, `"error":"internal_error"`) || strings.Contains(text, "a-canary") {
		t.Errorf("the log: %.2000s", text)
	}
}
