package egress

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzAnswer holds that an answer that is read the fast way is read as net/http
// reads it: the same head, the same body, the same bytes behind it. What the
// fast way leaves to net/http needs no comparison.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200\r\ncontent-length:  3 \t\r\nX-A: b\r\nx-a: c\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;a=\"b\"\r\nabc\r\n1 \r\nd\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
		"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: a, close\r\nPragma: no-cache\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nPragma: no-cache\r\ncache-control: private\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "\r\n\r\n", "",
	} {
		f.Add(answer, false)
		f.Add(answer, true)
	}
	f.Fuzz(func(t *testing.T, answer string, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		in := bufio.NewReaderSize(strings.NewReader(answer), inSize)
		text, err := wholeHead(in)
		var mine http.Response
		if err != nil || text == "" || !readHead(text, method, &mine) {
			return
		}
		in.Discard(len(text))
		theirs := bufio.NewReaderSize(strings.NewReader(answer), inSize)
		want, err := http.ReadResponse(theirs, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		uninvent(want.Header, text)
		if mine.Status != want.Status || mine.StatusCode != want.StatusCode || mine.Proto != want.Proto || mine.ContentLength != want.ContentLength ||
			mine.Close != want.Close || !slices.Equal(mine.TransferEncoding, want.TransferEncoding) || !reflect.DeepEqual(mine.Header, want.Header) {
			t.Fatalf("%+v\n%+v", mine, *want)
		}
		body, failed := bodyOf(in, &mine, method)
		if failed == errTrailer {
			return // lines of a trailer that end in LF, which net/http takes
		}
		wantBody, wantErr := io.ReadAll(want.Body)
		if !bytes.Equal(body, wantBody) || (failed == nil) != (wantErr == nil) {
			t.Fatalf("%q %v\n%q %v", body, failed, wantBody, wantErr)
		}
		if failed != nil {
			return
		}
		if !maps.EqualFunc(mine.Trailer, want.Trailer, slices.Equal) {
			t.Fatalf("%v\n%v", mine.Trailer, want.Trailer)
		}
		rest, _ := io.ReadAll(in)
		wantRest, _ := io.ReadAll(theirs)
		if !bytes.Equal(rest, wantRest) {
			t.Fatalf("behind it: %q\n%q", rest, wantRest)
		}
	})
}

// bodyOf reads the body that a head, which has been read, announces.
func bodyOf(in *bufio.Reader, resp *http.Response, method string) ([]byte, error) {
	if method == http.MethodHead || resp.ContentLength == 0 || bodiless(resp.StatusCode) {
		return nil, nil
	}
	b := &reply{trip: &trip{link: &link{in: in}}, left: resp.ContentLength}
	if resp.ContentLength < 0 {
		b.src = &chunks{in: in, resp: resp, data: httputil.NewChunkedReader(in)}
	}
	return io.ReadAll(readerFunc(b.read))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzRequestHead holds that a request is written as net/http writes it, byte
// for byte, or by net/http.
func FuzzRequestHead(f *testing.F) {
	f.Add("GET", "/api/data/v9.2/accounts?$select=name", "contoso.crm.dynamics.com", "Accept", "application/json", "", false)
	f.Add("POST", "/a;b(c='%2F')?d", "contoso.crm.dynamics.com:8443", "OData-Version", " 4.0\t", "{}", true)
	f.Add("PATCH", "//a", "x", "User-Agent", "", "body", false)
	f.Add("DELETE", "*", "[::1]:1", "Connection", "close", "", true)
	f.Add("PUT", "/", "x", "x-ms-client-request-id", "1\r\nX: y", "", false)
	f.Add("GET", "/a b", "x y", "Content-Length", "3", "", false)
	f.Fuzz(func(t *testing.T, method, target, host, name, value, body string, closing bool) {
		r := &http.Request{
			Method: method, URL: &url.URL{Scheme: "https", Host: host, Opaque: target, ForceQuery: closing}, Close: closing,
			Header: http.Header{name: {value, value}, "OData-MaxVersion": {"4.0"}, "Authorization": {"Bearer x"}},
		}
		if body != "" {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
		if !suits(r) {
			return
		}
		m := new(message)
		mine := m.head(r)
		var want bytes.Buffer
		theirs := r.Write(&want)
		if mine != nil && theirs != nil {
			return
		}
		if got := m.String() + body; mine != nil || theirs != nil || got != want.String() {
			t.Fatalf("%q %v\n%q %v", got, mine, want.String(), theirs)
		}
	})
}
