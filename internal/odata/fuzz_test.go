package odata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

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
// which strings are links by where they stand: values of control information,
// alone or in an array, as far as that holds nothing but strings.
func reference(t *testing.T, r *Rewriter, text string) []any {
	t.Helper()
	var found []any
	d := json.NewDecoder(strings.NewReader(text))
	var walk func(name string, listed bool) (isText bool)
	walk = func(name string, listed bool) bool {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		switch v := tok.(type) {
		case json.Delim:
			for texts := !listed; d.More(); {
				inner := ""
				switch {
				case v == '{':
					key, _ := d.Token()
					inner = key.(string)
					found = append(found, inner)
				case texts:
					inner = name
				}
				texts = walk(inner, v == '[') && texts
			}
			d.Token()
			found = append(found, v.String())
		case string:
			at := strings.LastIndexByte(name, '@')
			if at >= 0 && isControl([]byte(name[at:])) {
				v = r.ToPublic(v)
			}
			found = append(found, v)
			return true
		default:
			found = append(found, v)
		}
		return false
	}
	walk("", false)
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
		got, err := io.ReadAll(r.ResponseBody(&pieces{strings.NewReader(text.String()), random}))
		if err != nil {
			t.Fatal(err)
		}
		if back := reference(t, &Rewriter{Org: "https://nobody"}, string(got)); fmt.Sprint(back) != fmt.Sprint(want) {
			t.Errorf("from %s\n got %s\n%v\n%v", text.String(), got, back, want)
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
	for _, text := range []string{
		`{"@odata.context":"https://contoso.crm.dynamics.com/$metadata#x","value":[{"@odata.etag":"W/\"1\"","a":"https://contoso.crm.dynamics.com/"}],"@odata.nextLink":"https:\/\/contoso.api.crm.dynamics.com\/x"}`,
		`{"d":"{\"@odata.id\":\"https://contoso.crm.dynamics.com/a\"}","\u0040odata\u002eid":"\u0068ttps://contoso.crm.dynamics.com/a"}`,
		`{"a@odata.bind":["http://proxy:8080/contoso/a","$1"]`, `"https:\u00`, batchIn, answerIn,
	} {
		f.Add([]byte(text), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		r := contoso()
		for way, rewrite := range map[string]func(io.Reader) io.Reader{
			"answer": r.ResponseBody, "request": r.RequestBody, "endpoints": r.EndpointsBody, "wsdl": r.WSDL,
			"batch answer": func(src io.Reader) io.Reader { return r.BatchResponse(src, "batchresponse_1") },
			"batch": func(src io.Reader) io.Reader {
				var out bytes.Buffer
				if err := r.BatchRequest(&out, src, "b", func(*Part) error { return nil }); err != nil {
					return strings.NewReader(err.Error())
				}
				return &out
			},
		} {
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
