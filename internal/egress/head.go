package egress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// interimMost bounds the interim answers before one.
const interimMost = 100

var errTooManyInterim = errors.New("too many interim answers")

// receive reads the head of the answer, and tells of interim ones before it.
func (x *trip) receive() error {
	for range interimMost {
		if err := x.head(); err != nil {
			return x.blame(err)
		}
		status := x.answer.StatusCode
		switch {
		case status == http.StatusSwitchingProtocols:
			return errSwitched // nobody asked for it, and what follows has no end that can be waited for
		case status >= 200 || status < 100:
			return x.answered()
		}
		if trace := httptrace.ContextClientTrace(x.ctx); trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(status, textproto.MIMEHeader(x.answer.Header)); err != nil {
				return err
			}
		}
	}
	return errTooManyInterim
}

// head reads one head into answer.
func (x *trip) head() error {
	in := x.link.in
	text, err := wholeHead(in)
	if err != nil {
		return err
	}
	x.resp = http.Response{}
	if text != "" && readHead(text, x.r.Method, &x.resp) {
		x.answer = &x.resp
		in.Discard(len(text))
		return nil
	}
	x.spoilt = true // what is unusual is not trusted with a second answer
	if x.answer, err = http.ReadResponse(in, x.r); err == nil {
		uninvent(x.answer.Header, text)
	}
	return err
}

// uninvent removes the Cache-Control that net/http makes of a Pragma, unless
// the head as it came is not known.
func uninvent(header http.Header, head string) {
	if pragma := header["Pragma"]; head != "" && len(pragma) > 0 && pragma[0] == "no-cache" && !strings.Contains(strings.ToLower(head), "\ncache-control:") {
		delete(header, "Cache-Control")
	}
}

// wholeHead returns the head that in begins with, up to and with its empty
// line, without taking it out. It returns "" where that cannot be told so
// easily: a head larger than in, or one with lines that do not end in CRLF.
func wholeHead(in *bufio.Reader) (string, error) {
	for from := 0; ; {
		have, _ := in.Peek(in.Buffered())
		for {
			n := bytes.IndexByte(have[from:], '\n')
			if n < 0 {
				break
			}
			end := from + n
			if end == 0 || have[end-1] != '\r' {
				return "", nil
			}
			if end == from+1 {
				return string(have[:end+1]), nil
			}
			from = end + 1
		}
		if len(have) == in.Size() {
			return "", nil
		}
		if _, err := in.Peek(len(have) + 1); err != nil {
			if err == io.EOF && len(have) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// readHead reads a whole head, with its empty line, that answers a request of
// that method. It reports false, and nothing else counts, for what is unusual
// or wrong: net/http then says which.
func readHead(text, method string, resp *http.Response) bool {
	line, rest, _ := strings.Cut(text, "\r\n")
	if !readStatus(line, resp) {
		return false
	}
	lines := strings.Count(rest, "\n") - 1
	values := make([]string, lines)
	header := make(http.Header, lines)
	for {
		line, rest, _ = strings.Cut(rest, "\r\n")
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if name = canonical(name); !ok || name == "" {
			return false
		}
		value = strings.Trim(value, " \t")
		if !plain(value) {
			return false
		}
		if before, twice := header[name]; twice {
			header[name] = append(before, value)
			continue
		}
		values[0] = value
		header[name], values = values[:1:1], values[1:]
	}
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	resp.Header = header
	return readFraming(method, resp)
}

// readStatus reads the first line of an answer.
func readStatus(line string, resp *http.Response) bool {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || line[:len(version)] != version || !plain(line) {
		return false
	}
	status := line[len(version):]
	if len(status) > 3 && status[3] != ' ' || status[0] == '0' {
		return false
	}
	code := 0
	for i := range 3 {
		if status[i] < '0' || status[i] > '9' {
			return false
		}
		code = code*10 + int(status[i]-'0')
	}
	resp.Status, resp.StatusCode = status, code
	return true
}

// plain reports whether text has no control characters but tabs.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// readFraming reads how long the body is and whether the connection ends with
// it. What could be read in two ways is unusual.
func readFraming(method string, resp *http.Response) bool {
	header := resp.Header
	codings, chunked := header["Transfer-Encoding"]
	lengths, told := header["Content-Length"]
	if _, trailer := header["Trailer"]; trailer || chunked && told {
		return false
	}
	resp.ContentLength = -1
	if chunked {
		if len(codings) != 1 || !foldEqual(codings[0], "chunked") {
			return false
		}
		delete(header, "Transfer-Encoding")
		resp.TransferEncoding = []string{"chunked"}
	}
	if told {
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if len(lengths) != 1 || err != nil {
			return false
		}
		resp.ContentLength = int64(n)
	}
	if resp.Close = closes(header); resp.Close {
		delete(header, "Connection")
	}
	switch {
	case method == http.MethodHead:
	case bodiless(resp.StatusCode):
		resp.ContentLength = 0
	case !chunked && !told:
		return false // it ends where the connection does
	}
	return true
}

// bodiless reports whether no answer of that status has a body.
func bodiless(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// canonical returns the canonical form of a header's name, "" for what is no
// name.
func canonical(name string) string {
	if known, ok := names[name]; ok {
		return known
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return ""
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// names are the names that organizations send, and their canonical form, so
// that it need not be made anew.
var names = func() map[string]string {
	known := make(map[string]string)
	for _, name := range []string{
		"Allow", "Cache-Control", "Connection", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Type", "Date",
		"ETag", "Expires", "Last-Modified", "Location", "OData-EntityId", "OData-Version", "Pragma", "Preference-Applied", "Public",
		"REQ_ID", "Retry-After", "Server", "Set-Cookie", "Strict-Transport-Security", "Transfer-Encoding", "Vary", "Via",
		"WWW-Authenticate", "X-AspNet-Version", "X-Powered-By", "X-Source", "X-Content-Type-Options", "X-Frame-Options",
		"AuthActivityId", "CRM.ServiceId", "mise-correlation-id", "Timing-Allow-Origin",
		"x-ms-service-request-id", "x-ms-client-request-id", "x-ms-correlation-request-id", "x-ms-request-id", "x-ms-dop-hint",
		"x-ms-ratelimit-burst-remaining-xrm-requests", "x-ms-ratelimit-time-remaining-xrm-requests", "x-ms-utilization-percent",
	} {
		form := textproto.CanonicalMIMEHeaderKey(name)
		known[name], known[form], known[strings.ToLower(name)] = form, form, form
	}
	return known
}()
