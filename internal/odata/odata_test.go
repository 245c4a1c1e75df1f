package odata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func contoso() *Rewriter {
	return &Rewriter{
		Org: "https://contoso.crm.dynamics.com", OrgAliases: []string{"https://contoso.api.crm.dynamics.com"},
		Public: "http://proxy:8080/contoso", PublicAliases: []string{"http://contoso.crm.lan", "https://crm.example.com/x/contoso"},
	}
}

func TestLinksToPublic(t *testing.T) {
	r := contoso()
	for link, want := range map[string]string{
		"https://contoso.crm.dynamics.com/api/data/v9.2/tasks(1)":      "http://proxy:8080/contoso/api/data/v9.2/tasks(1)",
		"https://contoso.api.crm.dynamics.com/api/data/v9.2/tasks(1)":  "http://proxy:8080/contoso/api/data/v9.2/tasks(1)",
		"HTTPS://Contoso.CRM.dynamics.com:443/api?a=https://contoso.x": "http://proxy:8080/contoso/api?a=https://contoso.x",
		"http://contoso.crm.dynamics.com/":                             "http://proxy:8080/contoso/",
		"https://contoso.crm.dynamics.com":                             "http://proxy:8080/contoso",
		"https://contoso.crm.dynamics.com?x":                           "http://proxy:8080/contoso?x",
		"https://contoso.crm.dynamics.com#x":                           "http://proxy:8080/contoso#x",
		"/api/data/v9.2/x":                                             "/contoso/api/data/v9.2/x",
		"https://contoso.crm.dynamics.com.evil.com/":                   "https://contoso.crm.dynamics.com.evil.com/",
		"https://contoso.crm.dynamics.com@evil.com/":                   "https://contoso.crm.dynamics.com@evil.com/",
		"https://contoso.crm.dynamics.com:444/":                        "https://contoso.crm.dynamics.com:444/",
		"https://contoso.crm.dynamics.com:4430/":                       "https://contoso.crm.dynamics.com:4430/",
		"https://contoso.crm4.dynamics.com/":                           "https://contoso.crm4.dynamics.com/",
		"https://go.microsoft.com/fwlink":                              "https://go.microsoft.com/fwlink",
		"//contoso.crm.dynamics.com/":                                  "//contoso.crm.dynamics.com/",
		"accounts(1)":                                                  "accounts(1)",
		"":                                                             "",
	} {
		if got := r.ToPublic(link); got != want {
			t.Errorf("ToPublic(%q) = %q, want %q", link, got, want)
		}
	}
}

func TestLinksToOrg(t *testing.T) {
	r := contoso()
	for link, want := range map[string]string{
		"http://proxy:8080/contoso/api/data/v9.2/tasks(1)": "https://contoso.crm.dynamics.com/api/data/v9.2/tasks(1)",
		"https://PROXY:8080/Contoso/api":                   "https://contoso.crm.dynamics.com/api",
		"http://contoso.crm.lan/api":                       "https://contoso.crm.dynamics.com/api",
		"http://contoso.crm.lan:80/api":                    "https://contoso.crm.dynamics.com/api",
		"https://crm.example.com/x/contoso/api":            "https://contoso.crm.dynamics.com/api",
		"https://contoso.api.crm.dynamics.com/api":         "https://contoso.crm.dynamics.com/api",
		"https://contoso.crm.dynamics.com:443/api":         "https://contoso.crm.dynamics.com/api",
		"http://proxy:8080/contoso":                        "https://contoso.crm.dynamics.com",
		"http://proxy:8080/contoso2/api":                   "http://proxy:8080/contoso2/api",
		"http://proxy:8080/fabrikam/api":                   "http://proxy:8080/fabrikam/api",
		"http://proxy:8080/api":                            "http://proxy:8080/api",
		"http://proxy/contoso/api":                         "http://proxy/contoso/api",
		"/contoso/api":                                     "/contoso/api",
		"accounts(1)":                                      "accounts(1)",
		"$1":                                               "$1",
	} {
		if got := r.ToOrg(link); got != want {
			t.Errorf("ToOrg(%q) = %q, want %q", link, got, want)
		}
	}
}

func TestQueries(t *testing.T) {
	r := contoso()
	for query, want := range map[string]string{
		"$id=http://proxy:8080/contoso/api/data/v9.2/contacts(1)":                                      "$id=https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)",
		"$id=http%3A%2F%2Fproxy%3A8080%2Fcontoso%2Fapi%2Fdata%2Fv9.2%2Fcontacts(1)&x=%zz":              "$id=https%3A%2F%2Fcontoso.crm.dynamics.com%2Fapi%2Fdata%2Fv9.2%2Fcontacts(1)&x=%zz",
		"%24id=http://proxy:8080/contoso/api/data/v9.2/contacts(1)":                                    "%24id=https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)",
		"@t={'@odata.id':'http://proxy:8080/contoso/api/data/v9.2/contacts(1)'}":                       "@t={'@odata.id':'https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)'}",
		"@t=%7B%22%40odata.id%22%3A%20%22http%3A%2F%2Fproxy%3A8080%2Fcontoso%2Fapi%2Fx%22%7D":          "@t=%7B%22%40odata.id%22%3A%20%22https%3A%2F%2Fcontoso.crm.dynamics.com%2Fapi%2Fx%22%7D",
		"@t=[{'@odata.id':'http://proxy:8080/contoso/a'},{'@odata.id':'http://proxy:8080/contoso/b'}]": "@t=[{'@odata.id':'https://contoso.crm.dynamics.com/a'},{'@odata.id':'https://contoso.crm.dynamics.com/b'}]",
		"@t={'@odata.id':'contacts(1)'}":                                                               "@t={'@odata.id':'contacts(1)'}",
		"@t='http://proxy:8080/contoso/'":                                                              "@t='http://proxy:8080/contoso/'",
		"$filter=url eq 'http://proxy:8080/contoso/api'&$expand=a($select=b;$top=1)":                   "$filter=url eq 'http://proxy:8080/contoso/api'&$expand=a($select=b;$top=1)",
		"$id=http://other/contoso/api":                                                                 "$id=http://other/contoso/api",
		"$filter=contains(name,'$id=http://proxy:8080/contoso/')":                                      "$filter=contains(name,'$id=http://proxy:8080/contoso/')",
		"$skiptoken=%3Ccookie%20a=%22%253c%22/%3E&&;":                                                  "$skiptoken=%3Ccookie%20a=%22%253c%22/%3E&&;",
	} {
		if got := r.QueryToOrg(query); got != want {
			t.Errorf("QueryToOrg(%q)\n got %q\nwant %q", query, got, want)
		}
	}
}

// answers are bodies of an organization and what callers get.
var answers = map[string][2]string{
	"page": {
		`{"@odata.context":"https://contoso.crm.dynamics.com/api/data/v9.2/$metadata#contacts(fullname)","value":[{"@odata.etag":"W/\"72201545\"","fullname":"x"}],"@odata.nextLink":"https://contoso.crm.dynamics.com/api/data/v9.2/contacts?$select=fullname&$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%22%20/%3E"}`,
		`{"@odata.context":"http://proxy:8080/contoso/api/data/v9.2/$metadata#contacts(fullname)","value":[{"@odata.etag":"W/\"72201545\"","fullname":"x"}],"@odata.nextLink":"http://proxy:8080/contoso/api/data/v9.2/contacts?$select=fullname&$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%22%20/%3E"}`,
	},
	"nested": {
		`{"value":[{"@odata.context":"https://contoso.crm.dynamics.com/api/data/v9.0/$metadata#accounts/$deletedEntity","id":"2e45","reason":"deleted"},{"a@odata.nextLink":"https://contoso.api.crm.dynamics.com/n","b@odata.navigationLink":"https://contoso.crm.dynamics.com/b"}]}`,
		`{"value":[{"@odata.context":"http://proxy:8080/contoso/api/data/v9.0/$metadata#accounts/$deletedEntity","id":"2e45","reason":"deleted"},{"a@odata.nextLink":"http://proxy:8080/contoso/n","b@odata.navigationLink":"http://proxy:8080/contoso/b"}]}`,
	},
	"white space": {
		"{ \"@odata.id\" \r\n:\t \"https://contoso.crm.dynamics.com/a\" ,\"@odata.editLink\":\n\"https://contoso.crm.dynamics.com\"}",
		"{ \"@odata.id\" \r\n:\t \"http://proxy:8080/contoso/a\" ,\"@odata.editLink\":\n\"http://proxy:8080/contoso\"}",
	},
	"a lot of white space": {
		`{"@odata.id"` + strings.Repeat(" ", 100_000) + `:` + strings.Repeat("\n", 70_000) + `"https://contoso.crm.dynamics.com/a"}`,
		`{"@odata.id"` + strings.Repeat(" ", 100_000) + `:` + strings.Repeat("\n", 70_000) + `"http://proxy:8080/contoso/a"}`,
	},
	"escapes": {
		`{"@odata.id":"https:\/\/contoso.crm.dynamics.com\/a","\u0040odata\u002eeditLink":"https:\u002f\u002fcontoso\u002ecrm.dynamics.com\u002fa","@odata.readLink":"\u0068ttps://contoso.crm.dynamics.com/a"}`,
		`{"@odata.id":"http:\/\/proxy:8080\/contoso\/a","\u0040odata\u002eeditLink":"http:\u002f\u002fproxy:8080\u002fcontoso\u002fa","@odata.readLink":"http://proxy:8080/contoso/a"}`,
	},
}

// untouched are bodies of an organization that callers get as they are.
var untouched = map[string]string{
	"data with a link":     `{"description":"https://contoso.crm.dynamics.com/api/data/v9.0/msdyn_richtextfiles(1)/msdyn_imageblob/$value?size=full"}`,
	"data with control":    `{"description":"{\"@odata.id\":\"https://contoso.crm.dynamics.com/a\"}"}`,
	"data that ends so":    `{"description":"\\\"@odata.id\":\"https://contoso.crm.dynamics.com/a"}`,
	"almost control":       `{"@odata.idx":"https://contoso.crm.dynamics.com/a","odata.id":"https://contoso.crm.dynamics.com/a","@odata.etag":"https://contoso.crm.dynamics.com/a"}`,
	"foreign links":        `{"@odata.id":"https://contoso.crm.dynamics.com.evil/a","@odata.context":"https://fabrikam.crm.dynamics.com/","@odata.nextLink":"https://contoso.crm.dynamics.com:444/"}`,
	"a link inside a link": `{"@odata.id":"https://other/?u=https://contoso.crm.dynamics.com/a"}`,
	"an array":             `{"value":["https://contoso.crm.dynamics.com/a","@odata.id","https://contoso.crm.dynamics.com/a"]}`,
	"a value like a name":  `["@odata.id","https://contoso.crm.dynamics.com/a"]`,
	"no JSON":              "https://contoso.crm.dynamics.com/a \"@odata.id\" \"https://contoso.crm.dynamics.com/a\"",
	"cut off":              `{"@odata.id":"https://contoso.crm.dynam`,
	"cut off in an escape": `{"@odata.id":"https:\u00`,
	"invalid UTF-8":        "{\"name\":\"\xff\xfe\xc3(\"}",
	"deep":                 strings.Repeat(`[{"a":`, 10_000) + `"https://contoso.crm.dynamics.com/a"` + strings.Repeat("}]", 10_000),
	"empty":                "",
	"paging cookie":        `{"@Microsoft.Dynamics.CRM.fetchxmlpagingcookie":"<cookie pagenumber=\"2\" pagingcookie=\"%253ccookie\" />"}`,
}

// each hands out every way of rewriting answers, all of which must agree.
func each(r *Rewriter) map[string]func(io.Reader) io.Reader {
	return map[string]func(io.Reader) io.Reader{
		"search": r.ResponseBody,
		"tokens": func(src io.Reader) io.Reader { return newTokenReader(src, r.toPublicTokens()) },
	}
}

func TestAnswers(t *testing.T) {
	cases := make(map[string][2]string)
	for name, c := range answers {
		cases[name] = c
	}
	for name, text := range untouched {
		cases[name] = [2]string{text, text}
	}
	for name, c := range cases {
		for way, rewrite := range each(contoso()) {
			got, err := io.ReadAll(rewrite(strings.NewReader(c[0])))
			if err != nil || string(got) != c[1] {
				t.Errorf("%s, %s: %v\n got %.600q\nwant %.600q", name, way, err, got, c[1])
			}
			if len(c[0]) > 10_000 {
				continue
			}
			got, _ = io.ReadAll(rewrite(iotest.OneByteReader(strings.NewReader(c[0]))))
			if string(got) != c[1] {
				t.Errorf("%s, %s, byte by byte:\n got %.600q\nwant %.600q", name, way, got, c[1])
			}
			for i := range len(c[0]) {
				got, _ = io.ReadAll(rewrite(io.MultiReader(strings.NewReader(c[0][:i]), strings.NewReader(c[0][i:]))))
				if string(got) != c[1] {
					t.Fatalf("%s, %s, split at %d:\n got %.600q\nwant %.600q", name, way, i, got, c[1])
				}
			}
		}
	}
}

func TestALargeStringNeedsNoMemory(t *testing.T) {
	const size = 64 << 20
	for way, rewrite := range each(contoso()) {
		src := io.MultiReader(strings.NewReader(`{"@odata.id":"`), io.LimitReader(repeating('x'), size), strings.NewReader(`","@odata.context":"https://contoso.crm.dynamics.com/"}`))
		var tail bytes.Buffer
		n, err := io.Copy(&keepTail{&tail}, rewrite(src))
		if err != nil || n < size || !strings.HasSuffix(tail.String(), `xx","@odata.context":"http://proxy:8080/contoso/"}`) {
			t.Errorf("%s: %d bytes, %v, ends with %q", way, n, err, tail.String())
		}
	}
}

type repeating byte

func (r repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// keepTail keeps the last bytes written.
type keepTail struct{ *bytes.Buffer }

func (k *keepTail) Write(p []byte) (int, error) {
	k.Buffer.Write(p)
	if over := k.Len() - 200; over > 0 {
		k.Next(over)
	}
	return len(p), nil
}

func TestEndpoints(t *testing.T) {
	const from = `{"Detail":{"Endpoints":{"Count":2,"Keys":["WebApplication","x"],"Values":["https://contoso.crm.dynamics.com/","https://contoso.api.crm.dynamics.com/XRMServices/2011/Organization.svc"]},"Name":"https://contoso.crm.dynamics.com/"}}`
	const want = `{"Detail":{"Endpoints":{"Count":2,"Keys":["WebApplication","x"],"Values":["http://proxy:8080/contoso/","http://proxy:8080/contoso/XRMServices/2011/Organization.svc"]},"Name":"https://contoso.crm.dynamics.com/"}}`
	got, _ := io.ReadAll(contoso().EndpointsBody(iotest.OneByteReader(strings.NewReader(from))))
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestRequests(t *testing.T) {
	for from, want := range map[string]string{
		`{"@odata.id":"http://proxy:8080/contoso/api/data/v9.2/contacts(1)"}`:                                                                                                `{"@odata.id":"https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)"}`,
		`{"a@odata.bind":"http:\/\/proxy:8080\/contoso\/c(1)","b":{"c@odata.bind":"http://contoso.crm.lan/c(1)"}}`:                                                           `{"a@odata.bind":"https:\/\/contoso.crm.dynamics.com\/c(1)","b":{"c@odata.bind":"https://contoso.crm.dynamics.com/c(1)"}}`,
		`{"a@odata.bind": [ "http://proxy:8080/contoso/c(1)" , "contacts(2)","/contacts(3)", "https://contoso.api.crm.dynamics.com/c(4)"],"d":"http://proxy:8080/contoso/"}`: `{"a@odata.bind": [ "https://contoso.crm.dynamics.com/c(1)" , "contacts(2)","/contacts(3)", "https://contoso.crm.dynamics.com/c(4)"],"d":"http://proxy:8080/contoso/"}`,
		`{"a@odata.bind":"$1","@odata.id":"$2","b@odata.bind":null,"c@odata.bind":[],"d":["http://proxy:8080/contoso/"]}`:                                                    `{"a@odata.bind":"$1","@odata.id":"$2","b@odata.bind":null,"c@odata.bind":[],"d":["http://proxy:8080/contoso/"]}`,
		`{"text":"{\"@odata.id\":\"http://proxy:8080/contoso/\"}"}`:                                                                                                          `{"text":"{\"@odata.id\":\"http://proxy:8080/contoso/\"}"}`,
		`{"@odata.id":"http://proxy:8080/fabrikam/x"}`:                                                                                                                       `{"@odata.id":"http://proxy:8080/fabrikam/x"}`,
	} {
		for i := range len(from) {
			got, _ := io.ReadAll(contoso().RequestBody(io.MultiReader(strings.NewReader(from[:i]), strings.NewReader(from[i:]))))
			if string(got) != want {
				t.Fatalf("split at %d:\n got %s\nwant %s", i, got, want)
			}
		}
	}
}

func TestAnErrorOfTheSourceIsPassedOn(t *testing.T) {
	for way, rewrite := range each(contoso()) {
		got, err := io.ReadAll(rewrite(io.MultiReader(strings.NewReader(`{"a":1`), iotest.ErrReader(io.ErrUnexpectedEOF))))
		if string(got) != `{"a":1` || err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %q, %v", way, got, err)
		}
	}
}

// values are strings that are somewhere in generated texts.
var values = []string{
	"https://contoso.crm.dynamics.com/a", "https://contoso.api.crm.dynamics.com", "https://contoso.crm.dynamics.com.evil/", "http://proxy:8080/contoso/a",
	"@odata.id", "@odata.context", "x@odata.nextLink", "name", "description", `{"@odata.id":"https://contoso.crm.dynamics.com/a"}`, "\\", `\"`, "é\u2028", "", "Values",
	"https://contoso.crm.dynamics.com:443/a", "HTTPS://CONTOSO.crm.dynamics.com/", "https:", "https://contoso",
}

// generate writes a random JSON text, with random escapes and white space.
func generate(r *rand.Rand, depth int, b *strings.Builder) {
	space := func() {
		for range r.IntN(3) {
			b.WriteByte(" \n\t\r"[r.IntN(4)])
		}
	}
	text := func() {
		s, _ := json.Marshal(values[r.IntN(len(values))])
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '/' && r.IntN(4) == 0:
				b.WriteString(`\/`)
			case i > 0 && i < len(s)-1 && s[i] != '\\' && s[i] != '"' && s[i-1] != '\\' && s[i] < 0x80 && r.IntN(40) == 0 && !strings.Contains(string(s), `\u`):
				fmt.Fprintf(b, `\u%04x`, s[i])
			default:
				b.WriteByte(s[i])
			}
		}
	}
	space()
	switch k := r.IntN(6); {
	case depth > 4 || k < 2:
		text()
	case k == 2:
		b.WriteString([]string{"1", "null", "-1.5e3", "true"}[r.IntN(4)])
	case k == 3:
		b.WriteByte('[')
		for i := range r.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			generate(r, depth+1, b)
		}
		b.WriteByte(']')
	default:
		b.WriteByte('{')
		for i := range r.IntN(5) {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			text()
			space()
			b.WriteByte(':')
			generate(r, depth+1, b)
		}
		b.WriteByte('}')
	}
	space()
}

// reference rewrites a whole JSON text the slow way: it decodes it, and tells
// which strings are links by where they stand.
func reference(t *testing.T, r *Rewriter, text string) []any {
	t.Helper()
	var found []any
	d := json.NewDecoder(strings.NewReader(text))
	var walk func(name string)
	walk = func(name string) {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		switch v := tok.(type) {
		case json.Delim:
			for d.More() {
				inner := ""
				if v == '{' {
					key, _ := d.Token()
					inner = key.(string)
					found = append(found, inner)
				}
				walk(inner)
			}
			d.Token()
			found = append(found, v.String())
		case string:
			at := strings.LastIndexByte(name, '@')
			if at >= 0 && isLink(name[at+1:]) {
				if n := r.orgBase(v); n > 0 {
					v = r.Public + v[n:]
				}
			}
			found = append(found, v)
		default:
			found = append(found, v)
		}
	}
	walk("")
	return found
}

func FuzzAnswers(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, seed*7, 5)
	}
	f.Fuzz(func(t *testing.T, a, b uint64, piece int) {
		random := rand.New(rand.NewPCG(a, b))
		var text strings.Builder
		generate(random, 0, &text)
		r := contoso()
		want := reference(t, r, text.String())
		results := make(map[string]string)
		for way, rewrite := range each(r) {
			got, err := io.ReadAll(rewrite(&pieces{strings.NewReader(text.String()), random}))
			if err != nil {
				t.Fatal(err)
			}
			results[way] = string(got)
			if back := reference(t, &Rewriter{Org: "https://nobody"}, string(got)); fmt.Sprint(back) != fmt.Sprint(want) {
				t.Errorf("%s:\n from %s\n  got %s\n%v\n%v", way, text.String(), got, back, want)
			}
		}
		if results["search"] != results["tokens"] {
			t.Errorf("from   %s\nsearch %s\ntokens %s", text.String(), results["search"], results["tokens"])
		}
	})
}

// pieces reads in pieces of random size.
type pieces struct {
	io.Reader
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	return p.Reader.Read(b[:min(len(b), 1+p.random.IntN(40))])
}

// Whatever the bytes are, nothing panics and no way of cutting them matters.
func FuzzAnyBytes(f *testing.F) {
	for _, c := range answers {
		if len(c[0]) < 1000 {
			f.Add([]byte(c[0]), uint64(1))
		}
	}
	for _, text := range untouched {
		if len(text) < 1000 {
			f.Add([]byte(text), uint64(2))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		r := contoso()
		for way, rewrite := range map[string]func(io.Reader) io.Reader{"search": r.ResponseBody, "tokens": each(r)["tokens"], "request": r.RequestBody, "endpoints": r.EndpointsBody} {
			whole, _ := io.ReadAll(rewrite(bytes.NewReader(text)))
			cut, _ := io.ReadAll(rewrite(&pieces{bytes.NewReader(text), rand.New(rand.NewPCG(seed, 1))}))
			if !bytes.Equal(whole, cut) {
				t.Errorf("%s:\nwhole %q\n  cut %q", way, whole, cut)
			}
		}
		r.QueryToOrg(string(text))
	})
}

// There and back is the identity: what callers get leads to what the
// organization gave.
func FuzzThereAndBack(f *testing.F) {
	f.Add("/api/data/v9.2/accounts(1)?$select=a#x")
	f.Add("")
	f.Add(":443/x")
	f.Fuzz(func(t *testing.T, rest string) {
		r := contoso()
		if rest != "" && !strings.ContainsAny(rest[:1], "/?#") {
			rest = "/" + rest
		}
		link := r.Org + rest
		public := r.ToPublic(link)
		if !strings.HasPrefix(public, r.Public) || r.ToOrg(public) != link {
			t.Errorf("%q became %q became %q", link, public, r.ToOrg(public))
		}
	})
}
