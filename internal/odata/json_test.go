package odata

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	orgBase    = "https://contoso.crm.dynamics.com"
	publicBase = "http://proxy:8080/contoso"
)

// rewritten runs a body through f in one piece, byte by byte, and split at every position, and gives the result, which
// must be the same each time.
func rewritten(t *testing.T, f func(io.Reader) io.Reader, in string) string {
	t.Helper()
	read := func(how string, src io.Reader) string {
		out, err := io.ReadAll(f(src))
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		return string(out)
	}
	want := read("whole", strings.NewReader(in))
	if got := read("bytes", iotest.OneByteReader(strings.NewReader(in))); got != want {
		t.Fatalf("byte by byte\n got %q\nwant %q", got, want)
	}
	if got := read("err with data", iotest.DataErrReader(strings.NewReader(in))); got != want {
		t.Fatalf("data with EOF\n got %q\nwant %q", got, want)
	}
	for i := range len(in) {
		src := io.MultiReader(strings.NewReader(in[:i]), strings.NewReader(in[i:]))
		if got := read("split", src); got != want {
			t.Fatalf("split at %d\n got %q\nwant %q", i, got, want)
		}
	}
	return want
}

func TestControlLinksOfAnswers(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"@odata.context":"O/api/data/v9.2/$metadata#contacts(fullname)","value":[{"@odata.etag":"W/\"1\"","n":"x"}],"@odata.nextLink":"O/c?$skiptoken=%3Ccookie%22%253c"}`,
			`{"@odata.context":"P/api/data/v9.2/$metadata#contacts(fullname)","value":[{"@odata.etag":"W/\"1\"","n":"x"}],"@odata.nextLink":"P/c?$skiptoken=%3Ccookie%22%253c"}`},
		{`{"x@odata.navigationLink":"O/a","x@odata.associationLink":"O/a/$ref","@odata.editLink":"O/a","@odata.readLink":"O/b","@odata.mediaReadLink":"O/c","@odata.mediaEditLink":"O/d","@odata.deltaLink":"O/e","@odata.id":"O/f"}`,
			`{"x@odata.navigationLink":"P/a","x@odata.associationLink":"P/a/$ref","@odata.editLink":"P/a","@odata.readLink":"P/b","@odata.mediaReadLink":"P/c","@odata.mediaEditLink":"P/d","@odata.deltaLink":"P/e","@odata.id":"P/f"}`},
		{"{\"@odata.id\" \r\n\t : \n\n \"O/a\"}", "{\"@odata.id\" \r\n\t : \n\n \"P/a\"}"},
		{`{"\u0040odata.id":"O/a","@\u006fdata\u002eid":"O/b","x\\\u0040odata.id":"O/c"}`, `{"\u0040odata.id":"P/a","@\u006fdata\u002eid":"P/b","x\\\u0040odata.id":"P/c"}`},
		{`{"@odata.id":"https:\/\/contoso.crm.dynamics.com\/api"}`, `{"@odata.id":"http:\/\/proxy:8080\/contoso\/api"}`},
		{`{"@odata.id":"https:\u002f\u002fcontoso.crm.dynamics.com\u002fapi"}`, `{"@odata.id":"http:\u002f\u002fproxy:8080\u002fcontoso\u002fapi"}`},
		{`{"@odata.id":"https:\u002F\u002Fcontoso.crm.dynamics.com"}`, `{"@odata.id":"http:\u002F\u002Fproxy:8080\u002Fcontoso"}`},
		{`{"@odata.id":"\u0068ttps://contos\u006f.crm.dynamics.com/x"}`, `{"@odata.id":"P/x"}`},
		{`{"@odata.id":"HTTPS://contoso.API.crm.dynamics.com:443"}`, `{"@odata.id":"P"}`},
		{`{"a@odata.id":["O/a", "x","O/b" , "O\/c"],"b":"O/a"}`, `{"a@odata.id":["P/a", "x","P/b" , "P\/c"],"b":"O/a"}`},
		{`{"a@odata.id":[{"@odata.id":"O/a","x":"O/b"},"O/c"]}`, `{"a@odata.id":[{"@odata.id":"P/a","x":"O/b"},"O/c"]}`},
		{`{"@odata.id":{"@odata.id":"O/a"}}`, `{"@odata.id":{"@odata.id":"P/a"}}`},
		{`[[[{"@odata.id":"O"}]]]`, `[[[{"@odata.id":"P"}]]]`},
	}
	for _, tt := range tests {
		in, want := based(tt.in), based(tt.want)
		if got := rewritten(t, contoso().ResponseBody, in); got != want {
			t.Errorf("ResponseBody(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}

// based writes out the bases that the tables abbreviate.
func based(s string) string {
	return strings.NewReplacer(`"O`, `"`+orgBase, `"P`, `"`+publicBase).Replace(s)
}

func TestDataStays(t *testing.T) {
	tests := []string{
		`{"name":"O/a","id":"O/b","@id":"O/c","odata.id":"O/d","notes@odata.idx":"O/e","@odata.etag":"O/f","@Odata.id":"O/g"}`,
		`{"text":"{\"@odata.id\":\"https://contoso.crm.dynamics.com/a\"}"}`,
		`{"text":"@odata.id","next":"O/a"}`,
		`{"text":"x@odata.id" , "@odata.etag":"O/a"}`,
		`["@odata.id","O/a"]`,
		`{"\\u0040odata.id":"O/a","\\\\u0040odata.id":"O/b"}`,
		`{"@odata.id\\":"O/a","@odata.id\"":"O/b"}`,
		`{"@odata.id":null,"x":"O/a"}`,
		`{"@odata.id":12,"x":"O/a"}`,
		`{"@odata.id":"https://contoso.crm.dynamics.com.evil/"}`,
		`{"@odata.id":"https://contoso.crm.dynamics.com\\@evil"}`,
		`{"@odata.id":"https://contoso.crm.dynamics.com\"x"}`,
		`{"@odata.id":" https://contoso.crm.dynamics.com/"}`,
		`{"@odata.id":"https://contoso.crm.dynamics.com`,
		`{"@odata.id`, `{"@odata.id"`, `{"@odata.id":`, `{"@odata.id":"`, `{"\u0040odata.i`, `{"\u004`, `\\\\\`, "\xff\xfe@odata", "",
		`{"a":"http://proxy:8080/contoso/x","@odata.id":"http://proxy:8080/contoso/x"}`,
	}
	for _, tt := range tests {
		in := based(tt)
		if got := rewritten(t, contoso().ResponseBody, in); got != in {
			t.Errorf("ResponseBody changed %s\nto %s", in, got)
		}
	}
}

func TestControlLinksOfRequests(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"@odata.id":"P/api/data/v9.2/contacts(1)"}`, `{"@odata.id":"O/api/data/v9.2/contacts(1)"}`},
		{`{"@odata.id":"https://contoso.api.crm.dynamics.com/a"}`, `{"@odata.id":"O/a"}`},
		{`{"@odata.id":"http:\/\/contoso.crm.lan:8080\/a"}`, `{"@odata.id":"https:\/\/contoso.crm.dynamics.com\/a"}`},
		{`{"a@odata.bind":"P/a","b@odata.bind":["/b(1)","P/b","$1"],"c":[{"d@odata.bind":"P/d"}],"e":"P/e"}`, `{"a@odata.bind":"O/a","b@odata.bind":["/b(1)","O/b","$1"],"c":[{"d@odata.bind":"O/d"}],"e":"P/e"}`},
		{`{"a@odata.bind":"http://proxy:8080/contoso2/a","@odata.id":"$2"}`, `{"a@odata.bind":"http://proxy:8080/contoso2/a","@odata.id":"$2"}`},
	}
	for _, tt := range tests {
		in, want := based(tt.in), based(tt.want)
		if got := rewritten(t, contoso().RequestBody, in); got != want {
			t.Errorf("RequestBody(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestEndpointsOfAnOrganization(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"@odata.context":"O/$metadata#x","Detail":{"FriendlyName":"O/a","Endpoints":{"Count":3,"Keys":["WebApplication","O/k"],"Values":["O/","O/XRMServices/2011/Organization.svc","https:\/\/contoso.crm.dynamics.com\/x","https://other/"]},"Values":["O/"]}}`,
			`{"@odata.context":"P/$metadata#x","Detail":{"FriendlyName":"O/a","Endpoints":{"Count":3,"Keys":["WebApplication","O/k"],"Values":["P/","P/XRMServices/2011/Organization.svc","http:\/\/proxy:8080\/contoso\/x","https://other/"]},"Values":["O/"]}}`},
		{`{"D\u0065tail" : { "Endpoints": {"Values" : [ "O/" , {"x":"O/"} , ["O/"], "O/a" ]}}}`, `{"D\u0065tail" : { "Endpoints": {"Values" : [ "P/" , {"x":"O/"} , ["O/"], "P/a" ]}}}`},
		{`{"Endpoints":{"Values":["O/"]},"Detail":"Endpoints","x":{"Endpoints":{"Values":["O/"]}}}`, ""},
		{`{"Detail":[{"Endpoints":{"Values":["O/"]}}]}`, ""},
		{`{"Detail":{"Endpoints":{"Values":{"a":"O/"}}}}`, ""},
		{`{"a":{"Detail":{"Endpoints":{"Values":["O/"]}}}}`, ""},
		{`{"Detail":{"x":"Endpoints","y":{"Values":["O/"]}}}`, ""},
		{`]]]{"Detail":`, ""},
	}
	for _, tt := range tests {
		in, want := based(tt.in), based(tt.want)
		if want == "" {
			want = in
		}
		if got := rewritten(t, contoso().EndpointsBody, in); got != want {
			t.Errorf("EndpointsBody(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}
