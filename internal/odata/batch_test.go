package odata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// crlf gives a text the ends of lines of the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// sent runs a batch through BatchRequest, whole and byte by byte, and gives what goes out and what was judged.
func sent(t *testing.T, boundary, in string) (out string, judged []string, err error) {
	t.Helper()
	run := func(src io.Reader) (string, []string, error) {
		var dst bytes.Buffer
		var seen []string
		err := contoso().BatchRequest(&dst, src, boundary, func(p *Part) error {
			seen = append(seen, p.Method+" "+p.Target)
			p.Header.Del("MSCRMCallerID")
			return nil
		})
		return dst.String(), seen, err
	}
	out, judged, err = run(strings.NewReader(in))
	slow, slowJudged, slowErr := run(iotest.OneByteReader(strings.NewReader(in)))
	if slow != out && err == nil || fmt.Sprint(slowJudged) != fmt.Sprint(judged) || fmt.Sprint(slowErr) != fmt.Sprint(err) {
		t.Fatalf("byte by byte:\n got %q %v %v\nwant %q %v %v", slow, slowJudged, slowErr, out, judged, err)
	}
	return out, judged, err
}

const batchIn = `
--b
Content-Type: application/http
Content-Transfer-Encoding: binary

GET http://proxy:8080/contoso/api/data/v9.2/accounts?$select=name&$top=5 HTTP/1.1
Accept: application/json
Host: proxy:8080
Authorization: Basic eA==
mscrmcallerid: 1

--b
Content-Type: multipart/mixed;boundary="c s"

--c s
Content-Type: application/http
Content-ID: 1

POST /CONTOSO/api/data/v9.2/tasks HTTP/1.1
Content-Type: application/json; charset=utf-8
Content-Length:  76

{"a@odata.bind":"http://proxy:8080/contoso/a","b":"http://proxy:8080/contoso"}
--c s
content-type: application/http; msgtype=request

PUT $1/lastname HTTP/1.1
Content-Length: 31

{"@odata.id":"$1","x":"123456"}

--c s--

--b
Content-Type: application/http

DELETE accounts(1)/x/$ref?$id=http%3A%2F%2Fproxy%3A8080%2Fcontoso%2Fc HTTP/1.1

--b
Content-Type: application/http

GET /api/data/v9.2/accounts?$filter=name eq 'x' HTTP/1.1
--b--
`

const batchOut = `
--b
Content-Type: application/http
Content-Transfer-Encoding: binary

GET https://contoso.crm.dynamics.com/api/data/v9.2/accounts?$select=name&$top=5 HTTP/1.1
Accept: application/json
Host: contoso.crm.dynamics.com

--b
Content-Type: multipart/mixed;boundary="c s"

--c s
Content-Type: application/http
Content-ID: 1

POST /api/data/v9.2/tasks HTTP/1.1
Content-Type: application/json; charset=utf-8
Content-Length:  82

{"a@odata.bind":"https://contoso.crm.dynamics.com/a","b":"http://proxy:8080/contoso"}
--c s
content-type: application/http; msgtype=request

PUT $1/lastname HTTP/1.1
Content-Length: 31

{"@odata.id":"$1","x":"123456"}

--c s--

--b
Content-Type: application/http

DELETE accounts(1)/x/$ref?$id=https%3A%2F%2Fcontoso.crm.dynamics.com%2Fc HTTP/1.1

--b
Content-Type: application/http

GET /api/data/v9.2/accounts?$filter=name eq 'x' HTTP/1.1
--b--
`

func TestBatchGoesToTheOrganization(t *testing.T) {
	judgedWant := []string{
		"GET /api/data/v9.2/accounts?$select=name&$top=5",
		"POST /api/data/v9.2/tasks",
		"PUT $1/lastname",
		"DELETE accounts(1)/x/$ref?$id=https%3A%2F%2Fcontoso.crm.dynamics.com%2Fc",
		"GET /api/data/v9.2/accounts?$filter=name eq 'x'",
	}
	// The first body is 78 bytes long; 6 more in the organization's form.
	in := strings.Replace(batchIn, "Content-Length:  76", "Content-Length:  78", 1)
	want := strings.Replace(batchOut, "Content-Length:  82", "Content-Length:  85", 1)
	for name, ends := range map[string]func(string) string{"LF": func(s string) string { return s }, "CRLF": crlf} {
		t.Run(name, func(t *testing.T) {
			got, judged, err := sent(t, "b", ends(in))
			if err != nil {
				t.Fatal(err)
			}
			if got != ends(want) {
				t.Errorf("got %s\nwant %s", got, ends(want))
			}
			if fmt.Sprint(judged) != fmt.Sprint(judgedWant) {
				t.Errorf("judged %q\nwant %q", judged, judgedWant)
			}
		})
	}
}

// part wraps a message into a batch of one.
func part(message string) string {
	return crlf("--b\nContent-Type: application/http\n\n" + message + "\n--b--\n")
}

func TestBatchThatIsRefused(t *testing.T) {
	tests := map[string]string{
		"foreign address":             part("GET https://evil.example/contoso HTTP/1.1\n"),
		"foreign tenant":              part("GET http://proxy:8080/fabrikam/x HTTP/1.1\n"),
		"foreign scheme":              part("GET ftp://proxy:8080/contoso/x HTTP/1.1\n"),
		"network path":                part("GET //evil.example/x HTTP/1.1\n"),
		"direction of writing":        part("GET /api/data/v9.2/.\u200e./x HTTP/1.1\n"),
		"compressed JSON":             part("POST /x HTTP/1.1\nContent-Encoding: gzip\nContent-Type: application/json\n\nx\n"),
		"compressed without a type":   part("POST /x HTTP/1.1\nContent-Encoding: gzip\n\nx\n"),
		"compressed part":             "--b\nContent-Type: application/http\nContent-Encoding: deflate\n\nGET /x HTTP/1.1\n\n--b--",
		"encoded body":                part("POST /x HTTP/1.1\nContent-Transfer-Encoding: quoted-printable\n\nx\n"),
		"JSON in UTF-16 by its mark":  part("POST /x HTTP/1.1\nContent-Type: application/json\n\n\xff\xfe{\x00}\x00\n"),
		"JSON in UTF-16 by its bytes": part("POST /x HTTP/1.1\n\n\n\x00{\x00}\x00\n"),
		"part in UTF-16":              "--b\nContent-Type: application/http; charset=utf-16\n\nGET /x HTTP/1.1\n\n--b--",
		"JSON in UTF-16":              part("POST /x HTTP/1.1\nContent-Type: application/json; charset=utf-16\n\nx\n"),
		"blank line of three":         part("GET /x HTTP/1.1\nA: b\n\r\nX: y\n"),
		"type twice":                  part("POST /x HTTP/1.1\nContent-Type: text/plain\nCONTENT-TYPE: application/json\n\n{}\n"),
		"network path in the tenant":  part("GET /contoso/\\evil.example/x HTTP/1.1\n"),
		"backslash network path":      part("GET /\\evil.example/x HTTP/1.1\n"),
		"address in blanks":           part("GET  https://evil.example/x HTTP/1.1\n"),
		"no version":                  part("GET /x\n"),
		"no target":                   part("GET  HTTP/1.1\n"),
		"no request":                  part("\n"),
		"method":                      part("G(T /x HTTP/1.1\n"),
		"batch in a batch":            part("POST /api/data/v9.2/%24Batch/?x HTTP/1.1\n"),
		"folded header":               part("GET /x HTTP/1.1\nA: b\n Authorization: c\n"),
		"blank before colon":          part("GET /x HTTP/1.1\nAuthorization : c\n"),
		"no header":                   part("GET /x HTTP/1.1\nAuthorization\n"),
		"lone CR in a header":         part("GET /x HTTP/1.1\nA: b\rAuthorization: c\n"),
		"lone CR in the request line": part("GET /x HTTP/1.1\rA: HTTP/1.1\n"),
		"transfer encoding":           part("POST /x HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n"),
		"long length":                 part("POST /x HTTP/1.1\nContent-Length: 9\n\n{}\n"),
		"short length":                part("POST /x HTTP/1.1\nContent-Length: 1\n\n{}\n"),
		"short length of no JSON":     part("POST /x HTTP/1.1\nContent-Type: text/plain\nContent-Length: 1\n\n{}\n"),
		"length that is no number":    part("POST /x HTTP/1.1\nContent-Length: -2\n\n{}\n"),
		"two lengths":                 part("POST /x HTTP/1.1\nContent-Length: 2\nContent-Length: 2\n\n{}\n"),
		"delimiter behind a lone CR":  part("POST /x HTTP/1.1\n\n{}\r--b\rContent-Type: application/http\r\rDELETE /x HTTP/1.1\r\r"),
		"almost a delimiter":          part("POST /x HTTP/1.1\n\n--b x\n"),
		"no part":                     "x\n",
		"nothing":                     "",
		"head breaks off":             "--b\nContent-Type: application/http",
		"head without an end":         "--b\nContent-Type: application/http\n--b--",
		"request breaks off":          "--b\nContent-Type: application/http\n\nGET /x HTT",
		"no content type":             "--b\n\nGET /x HTTP/1.1\n\n--b--",
		"two content types":           "--b\nContent-Type: application/http\nContent-Type: text/plain\n\nGET /x HTTP/1.1\n\n--b--",
		"encoded":                     "--b\nContent-Type: application/http\nContent-Transfer-Encoding: base64\n\nR0VU\n--b--",
		"other content":               "--b\nContent-Type: text/plain\n\nx\n--b--",
		"other multipart":             "--b\nContent-Type: multipart/related; boundary=c\n\n--c--\n--b--",
		"change set without boundary": "--b\nContent-Type: multipart/mixed\n\n--b--",
		"change set like the batch":   "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b--",
		"change set like the end":     "--b\nContent-Type: multipart/mixed; boundary=b--\n\n--b--",
		"too deep":                    "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: multipart/mixed; boundary=d\n\n--d--\n--c--\n--b--",
		"part after the end":          part("GET /x HTTP/1.1\n") + part("DELETE /x HTTP/1.1\n"),
		"long head":                   part("GET /x HTTP/1.1\n" + strings.Repeat("A: 12345678\n", longestHeader/8)),
		"long line":                   part("GET /x HTTP/1.1\nA: " + strings.Repeat("x", longestHeader) + "\n"),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			out, judged, err := sent(t, "b", in)
			var refused *batchError
			if !errors.As(err, &refused) {
				t.Fatalf("err = %v, judged %q, sent %q", err, judged, out)
			}
			foreign := strings.HasPrefix(name, "foreign") || strings.Contains(name, "network path")
			if errors.Is(err, errForeign) != foreign {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestJudgeEndsTheBatch(t *testing.T) {
	refused := errors.New("read only")
	var dst bytes.Buffer
	err := contoso().BatchRequest(&dst, strings.NewReader(batchIn), "b", func(p *Part) error {
		if p.Method != "GET" {
			return refused
		}
		return nil
	})
	if err != refused {
		t.Errorf("err = %v", err)
	}
}

func TestJudgeSeesTheHeadersOfAPart(t *testing.T) {
	in := part("GET /x HTTP/1.1\ncallerobjectid: 7\nHost: h\nAUTHORIZATION: s\nX: 1\nx: 2\n")
	var dst bytes.Buffer
	err := contoso().BatchRequest(&dst, strings.NewReader(in), "b", func(p *Part) error {
		if got, want := fmt.Sprint(p.Header), "map[Callerobjectid:[7] X:[1 2]]"; got != want {
			t.Errorf("header = %s, want %s", got, want)
		}
		p.Header.Del("CallerObjectId")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := dst.String(), part("GET /x HTTP/1.1\nHost: contoso.crm.dynamics.com\nX: 1\nx: 2\n"); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestJudgeSeesEveryValueOfAHeader(t *testing.T) {
	in := part("GET /x HTTP/1.1\nX-HTTP-Method:\nA: b\nx-http-METHOD: DELETE\n")
	err := contoso().BatchRequest(io.Discard, strings.NewReader(in), "b", func(p *Part) error {
		if got, want := fmt.Sprintf("%q", p.Header), `map["A":["b"] "X-Http-Method":["" "DELETE"]]`; got != want {
			t.Errorf("header = %s, want %s", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// No coding is no reason to leave links alone.
func TestIdentityIsNoCoding(t *testing.T) {
	in := part("POST /x HTTP/1.1\nContent-Encoding: identity\n\n{\"a@odata.bind\":\"http://proxy:8080/contoso/c\"}\n")
	if got, _, err := sent(t, "b", in); err != nil || strings.Contains(got, "http://proxy:8080") {
		t.Errorf("%v %s", err, got)
	}
}

func TestPartsThatPassAsTheyAre(t *testing.T) {
	for _, in := range []string{
		part("POST /x HTTP/1.1\nContent-Encoding: identity\nContent-Transfer-Encoding: 8BIT\n\n{}\n"),
		part("PUT /x HTTP/1.1\nContent-Type: application/octet-stream\nContent-Encoding: gzip\n\n\x1f\x8b\n"),
		"A preamble of words.\r\n" + part("GET /accounts(name='\u00e4') HTTP/1.1\n"),
		"--b\n" + "Content-Type: multipart/mixed; boundary=c; charset=utf-8;\n\n--c \t\nContent-Type: application/http\n\nDELETE /x HTTP/1.1\n\n\n--c--\n--b--\n",
	} {
		if out, judged, err := sent(t, "b", in); err != nil || out != in || len(judged) != 1 {
			t.Errorf("%q went as %q, judged %q: %v", in, out, judged, err)
		}
	}
}

func TestBatchDropsHeadersBesideAPart(t *testing.T) {
	in := "--b\nMIME-Version: 1.0\nAuthorization: x\nMSCRMCallerID: 1\nContent-Type: application/http\n\nGET /x HTTP/1.1\n\n--b--"
	got, _, err := sent(t, "b", in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "--b\nMIME-Version: 1.0\nContent-Type: application/http\n\nGET /x HTTP/1.1\n\n--b--"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestLengthOfLongBodies(t *testing.T) {
	body := `{"@odata.id":"http://proxy:8080/contoso/x","a":"` + strings.Repeat("x", lengthHold) + `"}`
	want := strings.Replace(body, publicBase, orgBase, 1)
	head := "POST /x HTTP/1.1\nContent-Type: application/json\n"
	length := fmt.Sprintf("Content-Length: %d\n", len(body))
	var dst bytes.Buffer
	err := contoso().BatchRequest(&dst, strings.NewReader(part(head+length+"\n"+body)), "b", func(*Part) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if dst.String() != part(head+"\n"+want) {
		t.Errorf("got %.300q", dst.String())
	}
	lie := fmt.Sprintf("Content-Length: %d\n", len(body)-1)
	err = contoso().BatchRequest(&dst, strings.NewReader(part(head+lie+"\n"+body)), "b", func(*Part) error { return nil })
	if err == nil {
		t.Error("a long body whose length lies was accepted")
	}
}

const answerIn = `--batchresponse_1
Content-Type: application/http
Content-Transfer-Encoding: binary

HTTP/1.1 204 No Content
Location:O/a
OData-EntityId:  O/a
REQ_ID: O/a

--batchresponse_1
Content-Type: multipart/mixed; boundary="changesetresponse_2"

--changesetresponse_2
Content-Type: application/http
Content-ID: 1

HTTP/1.1 200 OK
Content-Type: application/json; odata.metadata=minimal; odata.streaming=true
Content-Length: 59

{"@odata.context":"O/$m","x":"O/"}
--changesetresponse_2--
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: text/plain

{"@odata.id":"O/a"}
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: application/json

{"@odata.context":"O/$metadata#Microsoft.Dynamics.CRM.RetrieveCurrentOrganizationResponse","Detail":{"Endpoints":{"Values":["O/"]}}}
--batchresponse_1
Content-Type: application/http

HTTP/1.1 200 OK
Content-Type: application/json; odata.metadata=none

{"Detail":{"OrganizationId":"1","Endpoints":{"Keys":["WebApplication"],"Values":["O/"]},"UrlName":"O/"}}
--batchresponse_1
Content-Type: text/plain

Location: O/a
--batchresponse_1--
`

func TestBatchAnswerLeadsHome(t *testing.T) {
	in := strings.ReplaceAll(answerIn, "O/", orgBase+"/")
	want := in
	for _, control := range []string{"Location:%s/a\nOData", "OData-EntityId:  %s/a", `{"@odata.context":"%s/`, `"Values":["%s/`} {
		want = strings.ReplaceAll(want, fmt.Sprintf(control, orgBase), fmt.Sprintf(control, publicBase))
	}
	delta := len(publicBase) - len(orgBase)
	want = strings.Replace(want, "Content-Length: 59", fmt.Sprintf("Content-Length: %d", 59+delta), 1)
	answer := func(boundary string) func(io.Reader) io.Reader {
		return func(src io.Reader) io.Reader { return contoso().BatchResponse(src, boundary) }
	}
	for name, ends := range map[string]func(string) string{"LF": func(s string) string { return s }, "CRLF": crlf} {
		t.Run(name, func(t *testing.T) {
			if got := rewritten(t, answer("batchresponse_1"), ends(in)); got != ends(want) {
				t.Errorf("got %s\nwant %s", got, ends(want))
			}
		})
	}
	for _, boundary := range []string{"", "other"} {
		if got := rewritten(t, answer(boundary), in); got != in {
			t.Errorf("with boundary %q: %s", boundary, got)
		}
	}
	if got := rewritten(t, answer("batchresponse_1"), in[:len(in)-100]); got != want[:len(want)-100] {
		t.Errorf("broken off: %s", got)
	}
}

// What a part holds gets another length, which the part's own head must not belie.
func TestThePartsAroundMessagesHaveNoLength(t *testing.T) {
	const part = "--b\nContent-Type: application/http; msgtype=request\nContent-Length: 99\nContent-ID: 1\n\n%s\n\n--b--\n"
	without := strings.Replace(part, "Content-Length: 99\n", "", 1)
	got, _, err := sent(t, "b", fmt.Sprintf(part, "GET /contoso/api/data/v9.2/accounts HTTP/1.1"))
	if want := fmt.Sprintf(without, "GET /api/data/v9.2/accounts HTTP/1.1"); err != nil || got != want {
		t.Errorf("%v: %s", err, got)
	}
	answer := func(src io.Reader) io.Reader { return contoso().BatchResponse(src, "b") }
	if got, want := rewritten(t, answer, fmt.Sprintf(part, "HTTP/1.1 204 No Content\nLocation: "+orgBase+"/a")), fmt.Sprintf(without, "HTTP/1.1 204 No Content\nLocation: "+publicBase+"/a"); got != want {
		t.Error(got)
	}
}

// A file is data in a batch as well, whatever its type, and what is said of its name.
func TestFilesInABatchStayAsTheyAre(t *testing.T) {
	const request = "--b\nContent-Type: application/http\n\nPATCH accounts(1)/new_file%s HTTP/1.1\nContent-Type: application/json\n%s\n{\"@odata.id\":\"http://proxy:8080/contoso/a\"}\n--b--\n"
	for _, x := range [][]any{{"?x-ms-file-name=a.json", ""}, {"/$value", ""}, {"", "x-ms-file-name: a.json\n"}, {"", "Content-Range: bytes 0-1/9\n"}} {
		in := fmt.Sprintf(request, x...)
		if got, _, err := sent(t, "b", in); err != nil || got != in {
			t.Errorf("%s: %v", got, err)
		}
	}
	in := fmt.Sprintf("--b\nContent-Type: application/http\n\nHTTP/1.1 200 OK\nContent-Type: application/json\nContent-Disposition: attachment\n\n{\"@odata.id\":\"%s/a\"}\n--b--\n", orgBase)
	if got := rewritten(t, func(src io.Reader) io.Reader { return contoso().BatchResponse(src, "b") }, in); got != in {
		t.Error(got)
	}
}

func TestBatchAnswerPassesErrorsOn(t *testing.T) {
	broken := errors.New("reset")
	in := strings.ReplaceAll(answerIn, "O/", orgBase+"/")
	for i := range len(in) {
		src := io.MultiReader(strings.NewReader(in[:i]), iotest.ErrReader(broken))
		if _, err := io.ReadAll(contoso().BatchResponse(src, "batchresponse_1")); err != broken {
			t.Fatalf("broken off at %d: err = %v", i, err)
		}
	}
}
