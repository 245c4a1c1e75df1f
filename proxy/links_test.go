package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"dynproxy/internal/emulator"
	"dynproxy/proxy"
)

// Answers lead to where the caller came in, and what it sends back may carry
// any base under which callers know the tenant.
func TestLinksLeadToWhereTheCallerCameIn(t *testing.T) {
	t.Parallel()
	public := entrance(func(e *proxy.AccessPolicy) { e.PublicURL = "https://crm.example.com/dynamics" })
	hosts := tenant("contoso", "HOSTS=contoso.crm.lan")
	for name, c := range map[string]struct {
		settings []setting
		path     string // what stands before /api
		host     string
		base     string
	}{
		"path":             {nil, "/contoso", "proxy:8080", "http://proxy:8080/contoso"},
		"path, as written": {nil, "/CONTOSO", "Proxy:8080", "http://Proxy:8080/CONTOSO"},
		"host name":        {[]setting{hosts}, "", "contoso.crm.lan", "http://contoso.crm.lan"},
		"host name, port":  {[]setting{hosts}, "", "contoso.crm.lan:8080", "http://contoso.crm.lan:8080"},
		"public URL":       {[]setting{public}, "/contoso", "proxy:8080", "https://crm.example.com/dynamics/contoso"},
		"host, public URL": {[]setting{public, hosts}, "", "contoso.crm.lan", "http://contoso.crm.lan"},
	} {
		t.Run(name, func(t *testing.T) {
			proxied := newTestProxy(t, c.settings...)
			host := "Host: " + c.host
			created := proxied.call("POST", c.path+"/api/data/v9.2/accounts", `{"name":"x"}`, jsonType, host)
			id := created.Header.Get("OData-EntityId")
			if !strings.HasPrefix(id, c.base+"/api/data/v9.2/accounts(") {
				t.Fatalf("OData-EntityId %q, Location %q", id, created.Header.Get("Location"))
			}
			page := proxied.get(c.path+"/api/data/v9.2/accounts?$select=name", host, "Prefer: odata.maxpagesize=2")
			if !strings.Contains(page.body, `"@odata.nextLink":"`+c.base+"/api/data/v9.2/accounts?$select=name&$skiptoken=") || strings.Contains(page.body, "contoso.crm.dynamics.com/api/data/v9.2/$metadata") {
				t.Errorf("page %.600s", page.body)
			}
			aliases := []string{id, strings.Replace(id, c.base, "https://contoso.crm.dynamics.com", 1), strings.Replace(id, c.base, "https://contoso.api.crm.dynamics.com", 1)}
			if len(c.settings) == 2 {
				aliases = append(aliases, strings.Replace(id, c.base, "https://crm.example.com/dynamics/contoso", 1))
			}
			for _, link := range aliases {
				a := proxied.call("POST", c.path+"/api/data/v9.2/contacts", `{"lastname":"x","parentcustomerid_account@odata.bind":"`+link+`"}`, jsonType, host)
				if a.StatusCode != 204 {
					t.Errorf("%s: %d %s", link, a.StatusCode, a.body)
				}
			}
			foreign := proxied.call("POST", c.path+"/api/data/v9.2/contacts", `{"lastname":"x","parentcustomerid_account@odata.bind":"http://elsewhere/contoso/api/data/v9.2/accounts(1)"}`, jsonType, host)
			if foreign.StatusCode != 400 {
				t.Errorf("a foreign link: %d", foreign.StatusCode)
			}
		})
	}
}

// A Location that is only a path leads back below the tenant's prefix, and so
// does one without a scheme.
func TestALocationThatIsAPathStaysWithItsTenant(t *testing.T) {
	t.Parallel()
	proxied := newTestProxy(t, tenant("contoso", "HOSTS=contoso.crm.lan"))
	proxied.inject(emulator.Fault{Kind: emulator.RootedLocation})
	for path, host := range map[string]string{"/contoso": "proxy:8080", "": "contoso.crm.lan"} {
		created := proxied.call("POST", path+"/api/data/v9.2/accounts", `{"name":"x"}`, jsonType, "Host: "+host)
		location := created.Header.Get("Location")
		if !strings.HasPrefix(location, path+"/api/data/v9.2/accounts(") || proxied.get(location, "Host: "+host).StatusCode != 200 {
			t.Errorf("by %s the Location is %q", host, location)
		}
	}
}

// A record in full metadata tells where its operations are.
func TestOperationsOfARecordAreOfferedAtTheProxy(t *testing.T) {
	t.Parallel()
	const record = `{"@odata.id":"BASE/api/data/v9.2/accounts(1)","#Microsoft.Dynamics.CRM.AddToQueue":{"target":"BASE/api/data/v9.2/accounts(1)/Microsoft.Dynamics.CRM.AddToQueue"}}`
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; odata.metadata=full")
		io.WriteString(w, strings.ReplaceAll(record, "BASE", orgBase))
	}))
	if a := c.get("/contoso/api/data/v9.2/accounts(1)", "Host: proxy:8080"); a.body != strings.ReplaceAll(record, "BASE", proxyBase) {
		t.Error(a.body)
	}
}

// HTTP/1.0 knows no Host: links lead to the address that the caller has reached.
func TestLinksForACallerWithoutHost(t *testing.T) {
	t.Parallel()
	proxied := newTestProxy(t)
	text := proxied.raw("GET /contoso/api/data/v9.2/WhoAmI HTTP/1.0\r\n\r\n")
	if !strings.Contains(text, `"@odata.context":"http://`+proxied.server.Listener.Addr().String()+"/contoso/api/") {
		t.Error(text)
	}
	public := newTestProxy(t, entrance(func(e *proxy.AccessPolicy) { e.PublicURL = "https://crm.example.com" }))
	if text := public.raw("GET /contoso/api/data/v9.2/WhoAmI HTTP/1.0\r\n\r\n"); !strings.Contains(text, `"@odata.context":"https://crm.example.com/contoso/api/`) {
		t.Error(text)
	}
}
