package proxy_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"dynproxy/proxy"
)

// Whatever name of the proxy a caller writes, and wherever, it means the
// organization; and another tenant's name is refused wherever it stands.
func TestLinksByEveryNameOfTheProxyReachTheOrganization(t *testing.T) {
	t.Parallel()
	proxied := newTestProxy(t, tenant("contoso", "HOSTS=contoso.crm.lan"), tenant("fabrikam", "HOSTS=fabrikam.crm.lan"), entrance(func(e *proxy.AccessPolicy) {
		e.PublicURL, e.Names, e.Ports = "https://crm.example.com/dynamics", []string{"localhost", "127.0.0.1", "::1", "srv1"}, []string{"8080"}
	}))
	const host = "Host: srv1.corp.lan:9000"
	created := proxied.call("POST", "/contoso/api/data/v9.2/accounts", `{"name":"x"}`, jsonType, host)
	account := regexp.MustCompile(`\((.*)\)`).FindString(created.Header.Get("OData-EntityId"))
	bases := []string{
		"https://crm.example.com/dynamics/%s", "http://srv1.corp.lan:9000/%s", "http://localhost:8080/%s", "http://LOCALHOST:9000/%s",
		"http://127.0.0.1:8080/%s", "https://[::1]:8080/%s", "http://srv1:8080/%s", "http://%s.crm.lan:8080", "http://%s.crm.lan", "/%s", "http://localhost:8080/%s/",
	}
	send := func(base string) map[string]*answer {
		link := base + "/api/data/v9.2/accounts" + account
		bind := `{"lastname":"x","parentcustomerid_account@odata.bind":"` + link + `"}`
		batch := "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n%s\r\n--b--\r\n"
		multipart := "Content-Type: multipart/mixed; boundary=b"
		const contacts = "/contoso/api/data/v9.2/contacts"
		one := proxied.call("POST", contacts, `{"lastname":"y"}`, jsonType, host).Header.Get("OData-EntityId")
		key := one[strings.IndexByte(one, '('):]
		return map[string]*answer{
			"a body":                proxied.call("POST", contacts, bind, jsonType, host),
			"a body of text/json":   proxied.call("POST", contacts, bind, "Content-Type: text/json", host),
			"a type given twice":    proxied.call("POST", contacts, bind, "Content-Type: application/json; charset=utf-8; Charset=UTF-8", host),
			"a part's body":         proxied.call("POST", "/contoso/api/data/v9.2/$batch", fmt.Sprintf(batch, "POST contacts HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"+bind), multipart, host),
			"a part's request line": proxied.call("POST", "/contoso/api/data/v9.2/$batch", fmt.Sprintf(batch, "GET "+link+" HTTP/1.1\r\n"), multipart, host),
			"a query":               proxied.call("DELETE", "/contoso/api/data/v9.2/accounts"+account+"/contact_customer_accounts/$ref?$id="+url.QueryEscape(base+"/api/data/v9.2/contacts"+key), "", host),
		}
	}
	for _, base := range bases {
		for where, a := range send(fmt.Sprintf(base, "contoso")) {
			if a.StatusCode >= 300 && !(where == "a query" && a.StatusCode == 404) || strings.Contains(a.body, "HTTP/1.1 4") {
				t.Errorf("%s in %s: %d %s", base, where, a.StatusCode, a.body)
			}
		}
		for where, a := range send(fmt.Sprintf(base, "fabrikam")) {
			if a.StatusCode != 400 || a.Header.Get("Dynproxy-Error") != "bad_request" || !strings.Contains(a.body, "another tenant") {
				t.Errorf("another tenant by %s in %s: %d %s", base, where, a.StatusCode, a.body)
			}
		}
	}
}

func TestSlashesBehindTheTenantAreJoined(t *testing.T) {
	t.Parallel()
	proxied := newTestProxy(t, tenant("contoso", "HOSTS=contoso.crm.lan"))
	for _, x := range []struct{ target, host string }{
		{"/contoso//api/data/v9.2/accounts?$top=1", "proxy:8080"}, {"/contoso///api/data/v9.2/accounts?$top=1", "proxy:8080"}, {"//api/data/v9.2/accounts?$top=1", "contoso.crm.lan"},
	} {
		if a := proxied.get(x.target, "Host: "+x.host); a.StatusCode != 200 || proxied.last().Target != "/api/data/v9.2/accounts?$top=1" {
			t.Errorf("%s: %d %s, arrived %s", x.target, a.StatusCode, a.body, proxied.last().Target)
		}
	}
	batch := "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET %s/api/data/v9.2/accounts?$top=1 HTTP/1.1\r\n\r\n\r\n--b--\r\n"
	for _, base := range []string{"/contoso/", "/contoso//", "http://proxy:8080/contoso/", "http://PROXY:8080/contoso//"} {
		a := proxied.call("POST", "/contoso//api/data/v9.2/$batch", fmt.Sprintf(batch, base), "Content-Type: multipart/mixed; boundary=b", "Host: proxy:8080")
		if a.StatusCode != 200 || !strings.Contains(a.body, "HTTP/1.1 200") {
			t.Errorf("%s in a batch: %d %s", base, a.StatusCode, a.body)
		}
	}
}
