package odata

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// onSite is contoso as a proxy with many names serves it to a caller who came by http://srv1:9000.
func onSite() *Rewriter {
	tenants := map[string]bool{"contoso": true, "fabrikam": true, "api": true}
	hosts := map[string]bool{"contoso.crm.lan": true, "fabrikam.crm.lan": true}
	site := NewSite([]string{"localhost", "127.0.0.1", "::1", "SRV1", "srv1.corp.lan"}, []string{"8080", "443"}, []string{"https://front.example/crm", ""},
		func(name string) bool { return tenants[strings.ToLower(name)] }, func(host string) bool { return hosts[strings.ToLower(host)] })
	return &Rewriter{
		Org: "https://contoso.crm.dynamics.com", OrgAliases: []string{"https://contoso.api.crm.dynamics.com"},
		Public: "http://10.1.2.3:9000/contoso", Hosts: []string{"contoso.crm.lan"}, Tenant: "contoso", Came: "10.1.2.3:9000", Site: site,
	}
}

// names are links by every name of the proxy, and where they lead: ours, another tenant's ("!"), or elsewhere ("").
var names = []struct{ link, rest string }{
	{"http://10.1.2.3:9000/contoso/api/x", "/api/x"},
	{"http://localhost:8080/contoso/api/x", "/api/x"},
	{"http://LocalHost:9000/CONTOSO/api/x", "/api/x"},
	{"https://127.0.0.1:8080/contoso/api/x", "/api/x"},
	{"http://[::1]:8080/contoso", "/"},
	{"http://[::1]:9000/contoso/", "/"},
	{"https://srv1/contoso/api/x", "/api/x"},
	{"https://srv1.corp.lan:443/contoso/api/x", "/api/x"},
	{"http://srv1:80/contoso/api/x", "/api/x"},
	{"https://front.example/crm/contoso/api/x", "/api/x"},
	{"HTTPS://Front.Example:443/CRM/Contoso/api/x", "/api/x"},
	{"http://contoso.crm.lan:8080/api/x", "/api/x"},
	{"http://contoso.crm.lan/api/x", "/api/x"},
	{"http://contoso.crm.lan:9000/api/x", "/api/x"},
	{"http://contoso.crm.lan.:9000/api/x", "/api/x"},
	{"http://10.1.2.3.:9000/contoso/api/x", "/api/x"},
	{"http://localhost.:8080/contoso/api/x", "/api/x"},
	{"http://localhost:8080/contoso//api/x", "/api/x"},
	{"http://localhost:8080/contoso///api//x", "/api//x"},
	{"/contoso/api/data/x", "/api/data/x"},
	{"/Contoso//api/data/x", "/api/data/x"},
	{"/contoso/XRMServices/2011/x", "/XRMServices/2011/x"},
	{"https://contoso.crm.dynamics.com/api/x", "/api/x"},

	{"http://10.1.2.3:9000/fabrikam/api/x", "!http://10.1.2.3:9000/fabrikam"},
	{"http://localhost:8080/fabrikam/api/x", "!http://localhost:8080/fabrikam"},
	{"https://[::1]:9000/Fabrikam", "!https://[::1]:9000/Fabrikam"},
	{"https://front.example/crm/fabrikam/api/x", "!https://front.example/crm/fabrikam"},
	{"http://fabrikam.crm.lan:8080/api/x", "!http://fabrikam.crm.lan:8080"},
	{"http://fabrikam.crm.lan.:8080/api/x", "!http://fabrikam.crm.lan.:8080"},
	{"/fabrikam/api/data/x", "!/fabrikam"},

	{"http://localhost:8081/contoso/api/x", ""},
	{"http://localhost:8081/fabrikam/api/x", ""},
	{"http://localhost:80800/contoso/api/x", ""},
	{"http://localhost:8080@evil/contoso/api/x", ""},
	{"http://localhost.evil:8080/contoso/api/x", ""},
	{"http://localhost..:8080/contoso/api/x", ""},
	{"http://.:8080/contoso/api/x", ""},
	{"http://localhost:8080/contosox/api/x", ""},
	{"http://localhost:8080/nobody/api/x", ""},
	{"http://localhost:8080//contoso/api/x", ""},
	{"http://localhost:8080/", ""}, {"http://localhost:8080", ""}, {"http://", ""}, {"http://[::1", ""}, {"http://[", ""},
	{"http://front.example/fabrikam/api/x", ""},
	{"https://front.example/crmx/fabrikam/api/x", ""},
	{"http://elsewhere:8080/contoso/api/x", ""},
	{"ftp://localhost:8080/contoso/api/x", ""},
	{"/accounts(1)", ""}, {"accounts(1)", ""}, {"$1", ""}, {"/", ""}, {"", ""},
	{"/contoso", ""}, {"/contoso(1)", ""}, {"/fabrikam/x", ""},
	{"/api/data/v9.2/accounts(1)", ""},
}

func TestLinksByEveryNameOfTheProxy(t *testing.T) {
	r := onSite()
	for _, tt := range names {
		want, foreign := tt.link, strings.HasPrefix(tt.rest, "!")
		if tt.rest != "" && !foreign {
			want = r.Org + strings.TrimSuffix(tt.rest, "/")
			if strings.HasSuffix(tt.link, "/") {
				want += "/"
			}
		}
		check := func(where, got string, err error, want string) {
			t.Helper()
			link := (*ForeignLink)(nil)
			if errors.As(err, &link) != foreign || foreign && link.base != tt.rest[1:] && "!"+link.base != tt.rest || !foreign && got != want {
				t.Errorf("%s of %q gives %q (%v), want %q %q", where, tt.link, got, err, want, tt.rest)
			}
		}
		got, err := r.linkToOrg(tt.link)
		check("linkToOrg", got, err, want)
		for _, form := range []string{`{"a@odata.bind":"%"}`, `{"a@odata.bind":["$1","%"],"b":"%"}`, `{ "\u0040odata.id" : "%" , "x":1}`} {
			in := strings.Replace(form, "%", tt.link, 1)
			body, err := readInPieces(r.RequestBody, in)
			check("a body", body, err, strings.Replace(form, "%", want, 1))
		}
		escaped := strings.ReplaceAll(tt.link, "/", `\/`)
		body, err := readInPieces(r.RequestBody, `{"@odata.id":"`+escaped+`"}`)
		check("an escaped body", body, err, `{"@odata.id":"`+strings.ReplaceAll(want, "/", `\/`)+`"}`)
		for _, name := range []string{"$id=", "%24id="} {
			query, err := r.QueryToOrg(name + url.QueryEscape(tt.link))
			check("a query", query, err, name+url.QueryEscape(want))
		}
		query, err := r.QueryToOrg(`@p={'@odata.id':'` + tt.link + `'}`)
		check("a parameter", query, err, `@p={'@odata.id':'`+want+`'}`)
	}
}

// readInPieces gives what f makes of in, having seen that pieces change nothing.
func readInPieces(f func(io.Reader) io.Reader, in string) (string, error) {
	whole, err := io.ReadAll(f(strings.NewReader(in)))
	for step := range 13 {
		if got, e := io.ReadAll(f(&pieces{rest: in, step: step})); string(got) != string(whole) || (e == nil) != (err == nil) {
			return "in pieces " + string(got), e
		}
	}
	return string(whole), err
}

func TestAddressesOfPartsByEveryName(t *testing.T) {
	for _, tt := range names {
		if tt.link == "" || strings.HasPrefix(tt.link, "$") {
			continue
		}
		foreign, elsewhere := strings.HasPrefix(tt.rest, "!"), tt.rest == "" && hasScheme(tt.link)
		in := part("GET " + tt.link + "?a=b HTTP/1.1\n")
		var dst bytes.Buffer
		var target string
		err := onSite().BatchRequest(&dst, strings.NewReader(in), "b", func(p *Part) error { target = p.Target; return nil })
		link := (*ForeignLink)(nil)
		if errors.As(err, &link) != foreign || errors.Is(err, errForeign) != (foreign || elsewhere) {
			t.Errorf("GET %s: %v", tt.link, err)
		}
		if err == nil && tt.rest != "" && target != tt.rest+"?a=b" && target != tt.rest[:len(tt.rest)-1]+"/?a=b" {
			t.Errorf("GET %s asks for %s", tt.link, target)
		}
	}
	for _, tt := range []string{
		part("POST /x HTTP/1.1\nContent-Type: application/json\n\n{\"a@odata.bind\":\"http://localhost:8080/fabrikam/a(1)\"}\n"),
		part("POST /x HTTP/1.1\nContent-Length: 56\n\n{\"a@odata.bind\":\"http://localhost:8080/fabrikam/a(1)22\"}\n"),
		part("DELETE x/$ref?$id=http://localhost:8080/fabrikam/a(1) HTTP/1.1\n"),
		part("GET F(p=@p)?@p={'@odata.id':'/fabrikam/api/data/a'} HTTP/1.1\n"),
	} {
		if err := onSite().BatchRequest(io.Discard, strings.NewReader(tt), "b", func(*Part) error { return nil }); !errors.Is(err, errForeign) {
			t.Errorf("%q: %v", tt, err)
		}
	}
}

// FuzzSite holds that a link is read the same wherever it stands, and that no text makes a reader go wrong.
func FuzzSite(f *testing.F) {
	for _, tt := range names {
		f.Add(tt.link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		r := onSite()
		want, err := r.linkToOrg(link)
		query, queryErr := r.QueryToOrg("$id=" + url.QueryEscape(link))
		if (queryErr == nil) != (err == nil) || err == nil && query != "$id="+url.QueryEscape(want) {
			t.Errorf("%q becomes %q (%v), and in a query %q (%v)", link, want, err, query, queryErr)
		}
		if strings.ContainsFunc(link, func(c rune) bool { return c < ' ' || c == '"' || c == '\\' || c > '~' }) || len(link) > 300 {
			return
		}
		body, bodyErr := readInPieces(r.RequestBody, `{"@odata.id":"`+link+`"}`)
		if (bodyErr == nil) != (err == nil) || err == nil && body != `{"@odata.id":"`+want+`"}` {
			t.Errorf("%q becomes %q (%v), and in a body %q (%v)", link, want, err, body, bodyErr)
		}
		if err == nil {
			if again, err := r.linkToOrg(want); err != nil || again != want {
				t.Errorf("%q becomes %q, and that %q (%v)", link, want, again, err)
			}
		}
	})
}

func TestLinkHeadersOfAnswers(t *testing.T) {
	const org = "https://contoso.crm.dynamics.com"
	tests := []struct{ name, in, public, byHost string }{
		{"Location", org + "/api/x", "http://proxy:8080/contoso/api/x", "http://contoso.crm.lan/api/x"},
		{"Location", "/api/x?a=b", "/contoso/api/x?a=b", "/api/x?a=b"},
		{"Location", "/", "/contoso/", "/"},
		{"Odata-Entityid", "//contoso.crm.dynamics.com/api/x", "//proxy:8080/contoso/api/x", "//contoso.crm.lan/api/x"},
		{"Content-Location", "//CONTOSO.crm.dynamics.com:443/api/x", "//proxy:8080/contoso/api/x", "//contoso.crm.lan/api/x"},
		{"Location", "//elsewhere.example/api/x", "//elsewhere.example/api/x", "//elsewhere.example/api/x"},
		{"Location", "https://login.microsoftonline.com/x", "https://login.microsoftonline.com/x", "https://login.microsoftonline.com/x"},
		{"Location", "accounts(1)", "accounts(1)", "accounts(1)"},
		{"Location", "", "", ""},
		{"Link", "<" + org + "/api/x>; rel=\"next\", </api/y>;rel=prev, <z>", "<http://proxy:8080/contoso/api/x>; rel=\"next\", </contoso/api/y>;rel=prev, <z>", "<http://contoso.crm.lan/api/x>; rel=\"next\", </api/y>;rel=prev, <z>"},
		{"Link", "<x", "<x", "<x"},
		{"Etag", "/api/x", "/api/x", "/api/x"},
	}
	for _, tt := range tests {
		for public, want := range map[string]string{"http://proxy:8080/contoso": tt.public, "http://contoso.crm.lan": tt.byHost} {
			header := http.Header{tt.name: {tt.in, "x"}}
			(&Rewriter{Org: org, Public: public}).HeaderToPublic(header)
			if got := header[tt.name]; len(got) != 2 || got[0] != want || got[1] != "x" {
				t.Errorf("%s: %q becomes %q, want %q", tt.name, tt.in, got, want)
			}
		}
	}
}

// BenchmarkRequestBody maps a body of 1,000 references by a name that is not the first, as a bulk operation holds.
func BenchmarkRequestBody(b *testing.B) {
	body := []byte(`{"Targets":[` + strings.Repeat(`{"name":"Account of some name","a@odata.bind":"http://[::1]:9000/contoso/api/data/v9.2/accounts(1)"},`, 1000) + `{}]}`)
	src := bytes.NewReader(body)
	p := make([]byte, window)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(body)
		s := onSite().RequestBody(src)
		for {
			if _, err := s.Read(p); err != nil {
				if err != io.EOF {
					b.Fatal(err)
				}
				break
			}
		}
	}
}
