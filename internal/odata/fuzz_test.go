package odata

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// pieces is a source that gives few bytes at a time, in lengths that differ.
type pieces struct {
	rest string
	step int
}

func (p *pieces) Read(buf []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	p.step = p.step*7%13 + 1
	n := copy(buf[:min(len(buf), p.step)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// sameInPieces gives what f makes of a body, having seen that pieces change nothing.
func sameInPieces(t *testing.T, f func(io.Reader) io.Reader, in string) string {
	t.Helper()
	whole, err := io.ReadAll(f(strings.NewReader(in)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f(&pieces{rest: in, step: len(in)}))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, whole) {
		t.Fatalf("in pieces\n got %q\nwant %q", got, whole)
	}
	return string(whole)
}

var jsonSeeds = []string{
	`{"@odata.context":"O/$metadata#c","value":[{"@odata.etag":"W/\"1\"","x@odata.nextLink":"O/c?$skiptoken=%3C"}],"@odata.nextLink" : "O"}`,
	`{"\u0040odata.id":"https:\/\/contoso.crm.dynamics.com\/a","\\u0040odata.id":"O/"}`,
	`{"a@odata.bind":["P/a","\/b",null,"P/c"],"b@odata.bind":[["P/a"],"P/b"],"c@odata.bind":{"d@odata.bind":"P/e"}}`,
	`{"text":"{\"@odata.id\":\"O/\"}","@odata.id":"HTTP:\u002F\u002fcontoso.crm.dynamics.com:80?"}`,
	`["@odata.id","O/a",{"x":"@odata.id"}]`,
	`{"Detail":{"Endpoints":{"Values":["O/","P/"]}}}`,
	`{"a@odata.bind":["P//a","P\/\/\/a","P///","O//a"],"@odata.id":"P//?x"}`,
	`{"@odata.bind":"P/\/"}                                                                                                    `,
	"1" + strings.Repeat("0", 400),
	`{"text":"` + strings.Repeat(`a \"quote\"; \u00e4 `, 60) + `","\u0040odata.id":"O/a","t":"` + strings.Repeat(`\\\\u0040`, 40) + `","x\u0040odata.bind":"P/b","y":"` + strings.Repeat(`\"4`, 40) + `"}`,
}

func FuzzAgainstReference(f *testing.F) {
	for _, seed := range jsonSeeds {
		f.Add(based(seed))
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := contoso()
		answer := sameInPieces(t, r.ResponseBody, in)
		request := sameInPieces(t, r.RequestBody, in)
		sameInPieces(t, r.EndpointsBody, in)
		if !json.Valid([]byte(in)) {
			return
		}
		if want := newReference(in, r.Public, append(r.OrgAliases, r.Org)...).rewrite(); answer != want {
			t.Errorf("answer of %q\n got %q\nwant %q", in, answer, want)
		}
		bases := append(append(r.OrgAliases, r.Org, r.Public), r.PublicAliases...)
		if want := newReference(in, r.Org, bases...).joining(append(r.PublicAliases, r.Public)...).rewrite(); request != want {
			t.Errorf("request of %q\n got %q\nwant %q", in, request, want)
		}
		back := sameInPieces(t, r.RequestBody, answer)
		if want := newReference(in, r.Org, bases...).joining(bases...).rewrite(); back != want {
			t.Errorf("there and back of %q\n got %q\nwant %q", in, back, want)
		}
	})
}

func FuzzThereAndBack(f *testing.F) {
	f.Add("/api/data/v9.2/accounts(name='a%2Fb')?$skiptoken=%3Ccookie")
	f.Add("?x")
	f.Add(".evil/")
	f.Add("//api")
	f.Fuzz(func(t *testing.T, rest string) {
		r := contoso()
		link := r.Org + rest
		// Slashes doubled behind the tenant are joined.
		want := link
		if strings.HasPrefix(rest, "//") {
			want = r.Org + "/" + strings.TrimLeft(rest, "/")
		}
		if back := toOrg(t, r, r.linkToPublic(link)); back != want && !strings.HasPrefix(rest, ":") {
			t.Errorf("%q came back as %q, want %q", link, back, want)
		}
		if leads := strings.HasPrefix(r.linkToPublic(link), r.Public); leads != (rest == "" || strings.ContainsAny(rest[:1], "/?#")) && rest[0] != ':' {
			t.Errorf("%q leads to %q", link, r.linkToPublic(link))
		}
		query := "$id=" + strings.ReplaceAll(r.linkToPublic(link), "&", "%26") + "&$filter=x"
		if got, want := queryToOrg(t, r, query), "$id="+strings.ReplaceAll(want, "&", "%26")+"&$filter=x"; got != want && !strings.ContainsAny(rest, ":%") {
			t.Errorf("QueryToOrg(%q) = %q, want %q", query, got, want)
		}
	})
}

func FuzzDataColumns(f *testing.F) {
	f.Add("notes", "https://contoso.crm.dynamics.com/api/data/v9.0/msdyn_richtextfiles(1)")
	f.Add("@odata.etag", `{"@odata.id":"https://contoso.crm.dynamics.com/"}`)
	f.Add("notes@odata.idx", `\u0040odata.id":"http://proxy:8080/contoso/`)
	f.Fuzz(func(t *testing.T, name, value string) {
		body, err := json.Marshal(map[string]any{name: value, "a": []string{name, value}, "b": map[string]string{"c": value}})
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatal(err)
		}
		for member := range members {
			if controlMember.MatchString(member) {
				return
			}
		}
		r := contoso()
		for _, rewrite := range []func(io.Reader) io.Reader{r.ResponseBody, r.RequestBody, r.EndpointsBody} {
			if got := sameInPieces(t, rewrite, string(body)); got != string(body) {
				t.Errorf("%s became %s", body, got)
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(`@p={'@odata.id':'http://proxy:8080/contoso/c(1)'}&$id=http%3A%2F%2Fproxy%3A8080%2Fcontoso`)
	f.Add(`%40p=%5B%7B%22%40odata.id%22:[`)
	f.Fuzz(func(t *testing.T, query string) {
		r := contoso()
		once := queryToOrg(t, r, query)
		if twice := queryToOrg(t, r, once); twice != once {
			t.Errorf("QueryToOrg(%q) = %q, and of that %q", query, once, twice)
		}
		if once != query && !strings.Contains(query, "$") && !strings.Contains(query, "@") && !strings.Contains(query, "%") {
			t.Errorf("QueryToOrg(%q) = %q", query, once)
		}
	})
}

func FuzzWSDL(f *testing.F) {
	f.Add(`<?xml?><!-- - --><a:b location = "https://contoso.crm.dynamics.com/"><x:Address> https://contoso.crm.dynamics.com</x:Address></a>`)
	f.Fuzz(func(t *testing.T, in string) {
		got := sameInPieces(t, contoso().WSDL, in)
		if got != in && !strings.Contains(in, "ocation") && !strings.Contains(in, "Address") {
			t.Errorf("%q became %q", in, got)
		}
	})
}

func FuzzBatchRequest(f *testing.F) {
	f.Add(batchIn)
	f.Add(crlf(batchIn))
	f.Add(part("POST /x HTTP/1.1\nContent-Length: 2\n\n{}"))
	f.Fuzz(func(t *testing.T, in string) {
		run := func(src io.Reader) (string, []string, error) {
			var dst bytes.Buffer
			var seen []string
			err := contoso().BatchRequest(&dst, src, "b", func(p *Part) error {
				seen = append(seen, p.Method+" "+p.Target)
				return nil
			})
			return dst.String(), seen, err
		}
		out, seen, err := run(strings.NewReader(in))
		inPieces, seenInPieces, errInPieces := run(&pieces{rest: in})
		if (err == nil) != (errInPieces == nil) || err == nil && out != inPieces || len(seen) != len(seenInPieces) {
			t.Fatalf("in pieces %q %q %v, whole %q %q %v", inPieces, seenInPieces, errInPieces, out, seen, err)
		}
		if err != nil {
			return
		}
		again, seenAgain, err := run(strings.NewReader(out))
		if err != nil || again != out || strings.Join(seen, "\n") != strings.Join(seenAgain, "\n") {
			t.Errorf("%q is read again as %q %q: %v", out, again, seenAgain, err)
		}
		if parts := leniently(out); !strings.Contains(strings.ToLower(out), "multipart") && parts != len(seen) {
			t.Errorf("%d requests were judged, and another reader finds %d parts in %q", len(seen), parts, out)
		}
	})
}

// leniently counts the parts of a batch as a reader does for whom every carriage return ends a line.
func leniently(batch string) int {
	parts := 0
	for line := range strings.SplitSeq(strings.ReplaceAll(batch, "\r", "\n"), "\n") {
		switch strings.TrimRight(line, " \t") {
		case "--b":
			parts++
		case "--b--":
			return parts
		}
	}
	return parts
}

func FuzzBatchResponse(f *testing.F) {
	in := strings.ReplaceAll(answerIn, "O/", orgBase+"/")
	f.Add(in)
	f.Add(crlf(in))
	f.Add("--batchresponse_1\nContent-Type: application/http\n\nHTTP/1.1 200 OK\nContent-Length: 1\n\n{")
	f.Add("--batchresponse_1\nContent-Type: application/http\n\nHTTP/1.1 201\nLoCAtion:/0\n\n")
	f.Fuzz(func(t *testing.T, in string) {
		answer := func(src io.Reader) io.Reader { return contoso().BatchResponse(src, "batchresponse_1") }
		if got := sameInPieces(t, answer, in); got != in && !mayHoldLink(in) {
			t.Errorf("%q became %q", in, got)
		}
	})
}

// mayHoldLink reports whether something in an answer to a batch may be to be rewritten: the organization's name, an
// escape, a header whose value is a link (which may be rooted) or a length.
func mayHoldLink(in string) bool {
	in = strings.ToLower(in)
	for _, name := range append([]string{"Content-Length"}, linkHeaders[:]...) {
		if strings.Contains(in, strings.ToLower(name)) {
			return true
		}
	}
	return strings.Contains(in, "dynamics") || strings.Contains(in, `\u`)
}
