package odata

import "testing"

func contoso() *Rewriter {
	return &Rewriter{
		Org:           "https://contoso.crm.dynamics.com",
		OrgAliases:    []string{"https://contoso.api.crm.dynamics.com"},
		Public:        "http://proxy:8080/contoso",
		PublicAliases: []string{"http://contoso.crm.lan:8080", "https://front.example/crm/contoso", "http://[::1]:8080/contoso"},
	}
}

// linkToOrg gives the organization's own form of a link to the proxy or to one of the organization's hosts. Any other text
// comes back as it is. The error is a *ForeignLink.
func (r *Rewriter) linkToOrg(link string) (string, error) {
	m := r.toOrg()
	f := find(&m, link)
	switch {
	case f.n < 0:
		return link, nil
	case f.foreign:
		return "", &ForeignLink{link[:f.n]}
	}
	return m.to + link[f.n:], nil
}

func toOrg(t *testing.T, r *Rewriter, link string) string {
	t.Helper()
	got, err := r.linkToOrg(link)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func queryToOrg(t *testing.T, r *Rewriter, query string) string {
	t.Helper()
	got, err := r.QueryToOrg(query)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLinksLeadHome(t *testing.T) {
	const org, public = "https://contoso.crm.dynamics.com", "http://proxy:8080/contoso"
	tests := []struct{ in, toPublic, toOrg string }{
		{org, public, org},
		{org + "/", public + "/", org + "/"},
		{org + "?a=b", public + "?a=b", org + "?a=b"},
		{org + "#f", public + "#f", org + "#f"},
		{org + "/api/data/v9.2/accounts(name='a%2Fb')?$skiptoken=%3Ccookie%20a=%22%252f%22%3E", public + "/api/data/v9.2/accounts(name='a%2Fb')?$skiptoken=%3Ccookie%20a=%22%252f%22%3E", org + "/api/data/v9.2/accounts(name='a%2Fb')?$skiptoken=%3Ccookie%20a=%22%252f%22%3E"},
		{"HTTPS://Contoso.CRM.dynamics.com:443/x", public + "/x", org + "/x"},
		{"http://contoso.crm.dynamics.com:80/x", public + "/x", org + "/x"},
		{"https://contoso.crm.dynamics.com:/x", public + "/x", org + "/x"},
		{"https://contoso.api.crm.dynamics.com/x", public + "/x", org + "/x"},
		{"http://proxy:8080/contoso/x", "http://proxy:8080/contoso/x", org + "/x"},
		{"HTTP://Proxy:8080/CONTOSO", "HTTP://Proxy:8080/CONTOSO", org},
		{"http://contoso.crm.lan:8080/x", "http://contoso.crm.lan:8080/x", org + "/x"},
		{"https://front.example:443/crm/Contoso?x", "https://front.example:443/crm/Contoso?x", org + "?x"},
		{"http://[::1]:8080/contoso/x", "http://[::1]:8080/contoso/x", org + "/x"},
	}
	r := contoso()
	for _, tt := range tests {
		if got := r.linkToPublic(tt.in); got != tt.toPublic {
			t.Errorf("linkToPublic(%q) = %q, want %q", tt.in, got, tt.toPublic)
		}
		if got := toOrg(t, r, tt.in); got != tt.toOrg {
			t.Errorf("linkToOrg(%q) = %q, want %q", tt.in, got, tt.toOrg)
		}
	}
}

func TestForeignLinksStay(t *testing.T) {
	tests := []string{
		"", "h", "http://", "https://", "/api/data/v9.2/accounts", "accounts(1)", "$1/name", "urn:x",
		"https://contoso.crm.dynamics.com.evil/x",
		"https://contoso.crm.dynamics.com@evil/x",
		"https://contoso.crm.dynamics.com:443@evil/x",
		"https://contoso.crm.dynamics.com:4430/x",
		"https://contoso.crm.dynamics.com:0443/x",
		"https://contoso.crm.dynamics.com:000000443/x",
		"https://contoso.crm.dynamics.com:8443/x",
		"http://contoso.crm.dynamics.com:443/x",
		"https://contoso.crm.dynamics.com\\@evil",
		"https://user@contoso.crm.dynamics.com/x",
		"https://contoso.crm4.dynamics.com/x",
		"ftp://contoso.crm.dynamics.com/x",
		" https://contoso.crm.dynamics.com/x",
		"http://proxy:8080/contoso2/x",
		"http://proxy:8080/fabrikam/x",
		"http://proxy:8080/",
		"http://proxy/contoso/x",
		"http://proxy:80800/contoso/x",
		"http://proxy:8080//contoso/x",
		"http://contoso.crm.lan/x",
	}
	r := contoso()
	for _, in := range tests {
		if got := r.linkToPublic(in); got != in {
			t.Errorf("linkToPublic(%q) = %q", in, got)
		}
		if got := toOrg(t, r, in); got != in {
			t.Errorf("linkToOrg(%q) = %q", in, got)
		}
	}
}

func TestLongestBaseWins(t *testing.T) {
	r := &Rewriter{Org: "https://contoso.crm.dynamics.com", Public: "http://contoso.lan", PublicAliases: []string{"http://contoso.lan/contoso", ""}}
	if got, want := toOrg(t, r, "http://contoso.lan/contoso/api/x"), "https://contoso.crm.dynamics.com/api/x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLinksInQueries(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"$select=name&$expand=a($select=b;$top=5)&$filter=name%20eq%20'x%'", ""},
		{"$id=http://proxy:8080/contoso/api/data/v9.2/contacts(1)", "$id=https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)"},
		{"a=b&$ID=http://proxy:8080/Contoso/c(1)&c=%zz", "a=b&$ID=https://contoso.crm.dynamics.com/c(1)&c=%zz"},
		{"%24id=http%3A%2F%2Fproxy%3A8080%2Fcontoso%2Fc(1)&&", "%24id=https%3A%2F%2Fcontoso.crm.dynamics.com%2Fc(1)&&"},
		{"%24id=http%3a%2f%2fproxy%3a8080%2fcontoso%2fc%281%29", "%24id=https%3a%2f%2fcontoso.crm.dynamics.com%2fc%281%29"},
		{"$id=http%3A/%2Fproxy%3A8080/contoso", "$id=https%3A//contoso.crm.dynamics.com"},
		{"$id=%68ttp://proxy:8080/%63ontoso/c", "$id=https://contoso.crm.dynamics.com/c"},
		{"$id=https://contoso.crm.dynamics.com%3A443%2fc", "$id=https://contoso.crm.dynamics.com%2fc"},
		{"$id=contacts(1)", ""},
		{"$id=http://evil/contoso", ""},
		{"$filter=x eq 'http://proxy:8080/contoso/c'", ""},
		{"id=http://proxy:8080/contoso/c", ""},
		{"@p={'@odata.id':'http://proxy:8080/contoso/c(1)'}", "@p={'@odata.id':'https://contoso.crm.dynamics.com/c(1)'}"},
		{"@p={%27@odata.id%27:%27http:%2F%2Fproxy:8080%2Fcontoso%2Fc(1)%27}", "@p={%27@odata.id%27:%27https:%2F%2Fcontoso.crm.dynamics.com%2Fc(1)%27}"},
		{"@p=%7B%22%40odata.id%22%20%3A%20%22http%3A%2F%2Fproxy%3A8080%2Fcontoso%2Fc%22%7D", "@p=%7B%22%40odata.id%22%20%3A%20%22https%3A%2F%2Fcontoso.crm.dynamics.com%2Fc%22%7D"},
		{"@p=[{\"@odata.id\":+\"http://proxy:8080/contoso/c\"},{\"x\":\"http://proxy:8080/contoso/c\"}]", "@p=[{\"@odata.id\":+\"https://contoso.crm.dynamics.com/c\"},{\"x\":\"http://proxy:8080/contoso/c\"}]"},
		{"@p={'x@odata.bind':['http://proxy:8080/contoso/a','http://evil/b','http://proxy:8080/contoso/c'],'z':'http://proxy:8080/contoso/c'}", "@p={'x@odata.bind':['https://contoso.crm.dynamics.com/a','http://evil/b','https://contoso.crm.dynamics.com/c'],'z':'http://proxy:8080/contoso/c'}"},
		{"@p={'@odata.id':'contacts(1)'}", ""},
		{"@p='{\"@odata.id\":\"http://proxy:8080/contoso/c\"}'", ""},
		{"@p={'note':'it''s ''@odata.id'':''http://proxy:8080/contoso/c'''}", ""},
		{"@p={'@odata.id", ""},
		{"@p={'@odata.id':'", ""},
	}
	r := contoso()
	for _, tt := range tests {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := queryToOrg(t, r, tt.in); got != want {
			t.Errorf("QueryToOrg(%q)\n got %q\nwant %q", tt.in, got, want)
		}
	}
}
