package httpguard

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve runs a real server behind a Guard. Its answer tells what it was asked:
// "METHOD target host body", or 400 and the reason.
func serve(t testing.TB, limits Limits) (*Guard, string) {
	t.Helper()
	return behind(t, nil, limits, echo)
}

// behind runs a real server behind a Guard, over TLS unless config is nil.
func behind(t testing.TB, config *tls.Config, limits Limits, answer http.HandlerFunc) (*Guard, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := Listener(l, limits)
	if config != nil {
		g = TLSListener(l, config, limits)
	}
	s := &http.Server{Handler: answer, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve(s)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return g, l.Addr().String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	if wrong := Rejected(r); wrong != nil {
		http.Error(w, wrong.Message, wrong.Status)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Host, body)
}

// talk sends the pieces of raw one after the other and returns the answers,
// as "status body", until the server closes or want answers have come.
func talk(t testing.TB, addr string, want int, pieces ...string) []string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			break // the server may have answered and closed by now
		}
	}
	in := bufio.NewReader(c)
	var answers []string
	for len(answers) < want {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return append(answers, "end: "+err.Error())
		}
		body, _ := io.ReadAll(answer.Body)
		if answer.StatusCode == http.StatusContinue {
			continue
		}
		answers = append(answers, fmt.Sprintf("%d %s", answer.StatusCode, strings.TrimSpace(string(body))))
	}
	return answers
}

const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n"
	post = "POST / HTTP/1.1\r\nHost: a\r\n"
	next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	// What handlers see of every refused trailer: net/http puts its own error in
	// the place of ours. TestTrailersAreRefused has the true reasons.
	goTrailer = "http: suspiciously long trailer after chunked body"

	te = post + "Transfer-Encoding: chunked\r\n\r\n"
)

// hostile requests, and what the 400 must say of each.
var hostile = []struct {
	name, raw string
	wrong     *Fault
}{
	{"CL.TE", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, faultBoth},
	{"TE.CL", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + next, faultBoth},
	{"CL.TE in other letters", post + "content-length: 0\r\nTRANSFER-ENCODING: chunked\r\n\r\n", faultBoth},
	{"CL 0 and TE", post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", faultBoth},
	{"repeated CL", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", faultLengths},
	{"differing CL", post + "Content-Length: 0\r\nContent-Length: 38\r\n\r\n" + next, faultLengths},
	{"CL list", post + "Content-Length: 3, 3\r\n\r\nabc", faultLength},
	{"CL plus", post + "Content-Length: +3\r\n\r\nabc", faultLength},
	{"CL minus", post + "Content-Length: -3\r\n\r\nabc", faultLength},
	{"CL hex", post + "Content-Length: 0x3\r\n\r\nabc", faultLength},
	{"CL octal", post + "Content-Length: 010\r\n\r\n12345678", faultLength},
	{"CL underscore", post + "Content-Length: 1_0\r\n\r\n0123456789", faultLength},
	{"CL empty", post + "Content-Length: \r\n\r\n", faultLength},
	{"CL tab", post + "Content-Length:\t3\r\n\r\nabc", faultLength},
	{"CL overflow", post + "Content-Length: 18446744073709551619\r\n\r\nabc", faultLength},
	{"CL over int64", post + "Content-Length: 9223372036854775808\r\n\r\n", faultLength},
	{"CL fraction", post + "Content-Length: 3.0\r\n\r\nabc", faultLength},
	{"CL of other digits", post + "Content-Length: \u0663\r\n\r\nabc", faultLength},
	{"CL underscore name", post + "Content_Length: 3\r\n\r\n", faultUnderscore([]byte("Content_Length"), "content-length")},
	{"type underscore name", post + "Content-Type: multipart/mixed;boundary=a\r\nContent_Type: multipart/mixed;boundary=b\r\n\r\n", faultUnderscore([]byte("Content_Type"), "content-type")},
	{"coding underscore name", post + "CONTENT_ENCODING: gzip\r\n\r\n", faultUnderscore([]byte("CONTENT_ENCODING"), "content-encoding")},
	{"TE underscore name", post + "Transfer_Encoding: chunked\r\n\r\n", faultUnderscore([]byte("Transfer_Encoding"), "transfer-encoding")},
	{"TE repeated", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", faultCodings},
	{"TE.TE", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", faultCodings},
	{"another Expect", post + "Content-Length: 3\r\nExpect: 200-ok\r\n\r\nabc", faultExpect},
	{"TE identity", post + "Transfer-Encoding: identity\r\n\r\n", faultCoding},
	{"TE gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", faultCoding},
	{"TE chunked, chunked", post + "Transfer-Encoding: chunked, chunked\r\n\r\n", faultCoding},
	{"TE xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n", faultCoding},
	{"TE quoted", post + "Transfer-Encoding: \"chunked\"\r\n\r\n", faultCoding},
	{"TE tab", post + "Transfer-Encoding:\tchunked\r\n\r\n", faultCoding},
	{"TE tab behind", post + "Transfer-Encoding: chunked\t\r\n\r\n", faultCoding},
	{"TE vertical tab", post + "Transfer-Encoding: \x0bchunked\r\n\r\n", faultControl([]byte("Transfer-Encoding"), 0x0b)},
	{"TE empty", post + "Transfer-Encoding:\r\n\r\n", faultCoding},
	{"TE parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n", faultCoding},
	{"TE in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", faultOldCoding},
	{"space before colon", post + "Content-Length : 3\r\n\r\nabc", faultName([]byte(" :"))},
	{"space before TE's colon", post + "Transfer-Encoding : chunked\r\n\r\n", faultName([]byte(" :"))},
	{"tab before colon", post + "Content-Length\t: 3\r\n\r\nabc", faultName([]byte("\t:"))},
	{"no colon", get + "Content-Length 3\r\n\r\n", faultName([]byte("x"))},
	{"no name", get + ": x\r\n\r\n", faultName([]byte(":"))},
	{"name of UTF-8", get + "Höst: x\r\n\r\n", faultName([]byte("\xc3:"))},
	{"NUL in a name", get + "Content-\x00Length: 3\r\n\r\n", faultNUL},
	{"NUL in a value", get + "X: a\x00b\r\n\r\n", faultNUL},
	{"NUL in the target", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", faultNUL},
	{"DEL in a value", get + "X: a\x7fb\r\n\r\n", faultControl([]byte("X"), 0x7f)},
	{"fold with a space", get + "X: a\r\n b\r\n\r\n", faultFolded([]byte("X"))},
	{"fold with a tab", post + "Transfer-Encoding:\r\n\tchunked\r\n\r\n", faultFolded([]byte("Transfer-Encoding"))},
	{"fold first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", faultFoldedFirst},
	{"bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", faultBareLF},
	{"bare LF in a header", get + "X: a\nTransfer-Encoding: chunked\r\n\r\n", faultBareLF},
	{"bare LF at the end", get + "X: a\r\n\n", faultBareLF},
	{"bare CR in a value", get + "X: a\rContent-Length: 3\r\n\r\n", faultBareCR},
	{"bare CR everywhere", "GET / HTTP/1.1\rHost: a\r\r", faultBareCR},
	{"CR CR LF", get + "X: a\r\r\n\r\n", faultBareCR},
	{"two empty lines first", "\r\n\r\n" + get + "\r\n", faultEmptyLine},
	{"bare LF first", "\n" + get + "\r\n", faultBareLF},
	{"two Hosts", get + "Host: b\r\n\r\n", faultHosts},
	{"one Host twice", get + "Host: a\r\n\r\n", faultHosts},
	{"two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", faultHosts},
	{"Host with underscore for dash has no twin", get + "HOST : b\r\n\r\n", faultName([]byte(" :"))},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", faultNoHost},
	{"Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", faultHost},
	{"Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", faultHost},
	{"Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", faultHost},
	{"absolute disagrees", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", faultDisagree},
	{"absolute with another port", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", faultDisagree},
	{"absolute against an empty Host", "GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n", faultDisagree},
	{"absolute with user", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", faultUser},
	{"absolute without host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", faultTarget},
	{"absolute with a zone of other characters", "GET http://[fe80::1%25a\"b]/ HTTP/1.0\r\n\r\n", faultTarget},
	{"another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", faultForm},
	{"no slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", faultForm},
	{"asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", faultForm},
	{"fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", faultTargetByte('#')},
	{"half an escape", "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", faultEscape},
	{"false escape", "GET /%g0?a HTTP/1.1\r\nHost: a\r\n\r\n", faultEscape},
	{"tab in the target", "GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n", faultTargetByte('\t')},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", faultSpace},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", faultSpaces},
	{"space behind", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", faultSpaces},
	{"HTTP/0.9", "GET /\r\n\r\n", faultNoVersion},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", faultVersion([]byte("HTTP/1.2"))},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", faultPreface},
	{"lower-case protocol", "GET / http/1.1\r\nHost: a\r\n\r\n", faultVersion([]byte("http/1.1"))},
	{"odd method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod([]byte("GE(T"))},
	{"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", faultMethod(nil)},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", faultConnect},
	{"long request line", "GET /" + strings.Repeat("x", 2000) + " HTTP/1.1\r\nHost: a\r\n\r\n", faultLongLine(small)},
	{"request line without end", "GET /" + strings.Repeat("x", 2000), faultLongLine(small)},
	{"long head", get + strings.Repeat("X: "+strings.Repeat("x", 100)+"\r\n", 100) + "\r\n", faultLongHead([]byte("\r\nX:x"), small)},
	{"head without end", get + "X: " + strings.Repeat("x", 9000), faultLongHead([]byte("\r\nX:x"), small)},
	{"TLS hello", "\x16\x03\x01\x00\x05hello\r\n\r\n", faultTLS},

	{"chunk of bare LF", te + "3\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk size CR x", te + "3\rxabc\r\n0\r\n\r\n", bad("malformed request body: bare CR after a chunk size")},
	{"chunk plus", te + "+3\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk minus", te + "-3\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk 0x", te + "0x3\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk underscore", te + "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk space behind", te + "3 \r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk space before", te + " 3\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk without size", te + "\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size is not a hex number")},
	{"chunk overlong", te + "0000000000000003\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size too long")},
	{"chunk overflow", te + "10000000000000003\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk size too long")},
	{"chunk shorter than data", te + "2\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk data longer than its size")},
	{"chunk data LF", te + "3\r\nabc\n0\r\n\r\n", bad("malformed request body: chunk data longer than its size")},
	{"chunk data CR x", te + "3\r\nabc\rx0\r\n\r\n", bad("malformed request body: bare CR after chunk data")},
	{"extension of bare LF", te + "3;a=b\nabc\r\n0\r\n\r\n", bad("malformed request body: odd byte in a chunk extension")},
	{"extension with space", te + "3; a\r\nabc\r\n0\r\n\r\n", bad("malformed request body: odd byte in a chunk extension")},
	{"extension quoted", te + "3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", bad("malformed request body: odd byte in a chunk extension")},
	{"extension empty", te + "3;\r\nabc\r\n0\r\n\r\n", bad("malformed request body: odd byte in a chunk extension")},
	{"extension too long", te + "3;" + strings.Repeat("a", 300) + "\r\nabc\r\n0\r\n\r\n", bad("malformed request body: chunk extension too long")},
	{"trailer folded", te + "0\r\nX: a\r\n b\r\n\r\n", bad(goTrailer)},
	{"trailer of bare LF", te + "0\r\nX: a\n\r\n", bad(goTrailer)},
	{"trailer CR x", te + "0\r\nX: a\rb\r\n\r\n", bad(goTrailer)},
	{"trailer without colon", te + "0\r\n" + next, bad(goTrailer)},
	{"trailer Content-Length", te + "0\r\nContent-Length: 3\r\n\r\n", bad(goTrailer)},
	{"trailer transfer_encoding", te + "0\r\ntransfer_encoding: chunked\r\n\r\n", bad(goTrailer)},
	{"trailers too long", te + "0\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", bad(goTrailer)},
	{"a forged marker", get + "Dynproxy-Refused: mine\r\n\r\n", faultMarker},
	{"a forged empty marker", get + "Dynproxy-Refused:\r\n\r\n", faultMarker},
}

func said(f *Fault) string { return fmt.Sprintf("%d %s", f.Status, f.Message) }

var small = Limits{Head: 8 << 10, RequestLine: 1 << 10}.filled()

func TestHostileRequestsAreRefused(t *testing.T) {
	if len(hostile) < 60 {
		t.Fatalf("only %d", len(hostile))
	}
	_, addr := serve(t, *small)
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			got := talk(t, addr, 1, h.raw)
			if want := said(h.wrong); got[0] != want {
				t.Errorf("got %q, want %q", got[0], want)
			}
			if strings.HasPrefix(h.name, "a forged") {
				return // a sound request, after which the connection goes on
			}
			ordered := talk(t, addr, 9, get+"\r\n"+post+"Content-Length: 3\r\n\r\nabc"+h.raw+next)
			for _, answer := range ordered {
				if strings.Contains(answer, "/smuggled") {
					t.Errorf("what stands behind it was served: %q", ordered)
				}
			}
			if len(ordered) < 3 || ordered[0] != "200 GET / a" || ordered[1] != "200 POST / a abc" || ordered[2] != said(h.wrong) {
				t.Errorf("behind others: %q", ordered)
			}
		})
	}
}

// benign traffic, as the clients named send it, and what the server is asked.
var benign = []struct {
	name, raw string
	want      []string
}{
	{"curl", "GET /x?$filter=a%20eq%20'b;c' HTTP/1.1\r\nHost: proxy:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n", []string{"200 GET /x?$filter=a%20eq%20'b;c' proxy:8080"}},
	{".NET with Expect", post + "Content-Length: 3\r\nExpect: 100-continue\r\nConnection: Keep-Alive\r\n\r\nabc", []string{"200 POST / a abc"}},
	{"Expect in other letters, and empty", post + "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc" + post + "Content-Length: 3\r\nExpect:\r\n\r\nabc", []string{"200 POST / a abc", "200 POST / a abc"}},
	{"kept and pipelined", get + "\r\n" + post + "Content-Length: 3\r\n\r\nabc" + get + "\r\n", []string{"200 GET / a", "200 POST / a abc", "200 GET / a"}},
	{"an empty line after a POST", post + "Content-Length: 3\r\n\r\nabc\r\n" + get + "\r\n", []string{"200 POST / a abc", "200 GET / a"}},
	{"chunked with trailers", post + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n" + get + "\r\n", []string{"200 POST / a abc0123456789", "200 GET / a"}},
	{"two chunked", te + "003\r\nabc\r\n0\r\n\r\n" + te + "0\r\n\r\n", []string{"200 POST / a abc", "200 POST / a"}},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", []string{"200 GET /"}},
	{"HTTP/1.0 kept", "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.0\r\nHost: b\r\n\r\n", []string{"200 POST / a x", "200 GET / b"}},
	{"absolute form with the scheme's port", "GET http://a:80/x HTTP/1.1\r\nHost: a\r\n\r\nGET http://a/x HTTP/1.1\r\nHost: a:80\r\n\r\n", []string{"200 GET http://a:80/x a:80", "200 GET http://a/x a"}},
	{"chunked in other letters", post + "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", []string{"200 POST / a abc"}},
	{"HTTP/1.0 in absolute form without Host", "GET http://a/x HTTP/1.0\r\n\r\n", []string{"200 GET http://a/x a"}},
	{"absolute form", "GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", []string{"200 GET http://A:80/x A:80"}},
	{"an unencoded space, which net/http refuses too", "GET /?$filter=name eq HTTP/1.1\r\nHost: a\r\n\r\n", []string{said(faultSpace)}},
	{"UTF-8 without spaces", "GET /?q=\u00e9 HTTP/1.1\r\nHost: a\r\nX: \u00e9\r\n\r\n", []string{"200 GET /?q=\u00e9 a"}},
	{"IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", []string{"200 GET / [::1]:8080"}},
	{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", []string{"200 "}},
	{"no space after the colon", "DELETE / HTTP/1.1\r\nHost:a\r\nContent-Length:0\r\n\r\n", []string{"200 DELETE / a"}},
}

func TestBenignTrafficPasses(t *testing.T) {
	_, addr := serve(t, Limits{})
	for _, b := range benign {
		got := talk(t, addr, len(b.want), b.raw)
		if fmt.Sprint(got) != fmt.Sprint(b.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", b.name, got, b.want)
		}
	}
}
