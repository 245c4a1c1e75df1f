package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"

	"dynproxy/internal/odata"
)

// shortAnswer is the size up to which a rewritten answer is finished before its
// headers are sent, so that it has a length.
const shortAnswer = 64 << 10

// inbound turns the organization's answer into the proxy's: what is only
// between the organization and the proxy goes, and links lead to the caller's
// side of the proxy.
func inbound(resp *http.Response) error {
	c := callFrom(resp.Request.Context())
	c.service = resp.Header.Get("X-Ms-Service-Request-Id")
	answerHeader(resp.Header, c.links)
	if len(resp.TransferEncoding) > 0 {
		answerHeader(resp.Trailer, c.links)
		resp.Body = &trailed{resp.Body, resp, c.links}
	}
	resp.Header["Dynproxy-Request-Id"] = []string{c.id}
	if resp.StatusCode != http.StatusNoContent {
		mapBody(c, resp)
	}
	if resp.ContentLength == -1 {
		// ReverseProxy flushes after every write when it sees -1, which costs a
		// system call for each; any other value makes it flush by FlushInterval.
		resp.ContentLength = -2
	}
	move(c.answer, resp)
	return nil
}

// trailed is a chunked body. What may not stand in an answer's header may not
// stand behind its end either.
type trailed struct {
	io.ReadCloser
	resp  *http.Response // whose Trailer is there when the body has ended
	links *odata.Rewriter
}

func (t *trailed) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err == io.EOF {
		answerHeader(t.resp.Trailer, t.links)
	}
	return n, err
}

// mapBody makes the answer's body the proxy's. What has no body, to HEAD or
// with 304, says of length and coding what it would say with one. The coding is
// the organization's own, unless the caller does not take it.
func mapBody(c *call, resp *http.Response) {
	bodiless := resp.Request.Method == http.MethodHead || resp.StatusCode == http.StatusNotModified
	if bodiless {
		nothing := resp.Body
		defer func() { resp.Body = nothing }()
	}
	rewrite := rewriterFor(c, resp)
	wasPacked := decode(resp, rewrite != nil || !c.gzip || resp.StatusCode >= http.StatusBadRequest)
	if !bodiless {
		hint(resp, c)
	}
	switch {
	case rewrite == nil || coded(resp.Header):
		return
	case bodiless:
		unknownLength(resp)
	default:
		replaceBody(resp, rewrite)
	}
	if wasPacked && c.gzip {
		encode(resp)
	}
}

// rewriterFor returns what has to be done to the body, nil for nothing: files
// are data, whatever their type.
func rewriterFor(c *call, resp *http.Response) func(io.Reader) io.Reader {
	if odata.IsFile(c.path, "") || resp.Header.Get("Content-Disposition") != "" {
		return nil
	}
	header := resp.Header
	if resp.StatusCode == http.StatusPartialContent {
		header = header.Clone()
		delete(header, "Content-Range") // what is no file has links, in a part of it too
	}
	if header.Get("Content-Type") == "" {
		header = header.Clone() // by the time its beginning is read, resp has another
		return func(src io.Reader) io.Reader { return &untyped{c: c, header: header, src: bufio.NewReader(src)} }
	}
	return rewriterOf(c, header, nil)
}

// rewriterOf is rewriterFor for a body with this header that begins with first.
func rewriterOf(c *call, header http.Header, first []byte) func(io.Reader) io.Reader {
	switch odata.BodyKind(header, first) {
	case odata.JSON:
		if strings.Contains(strings.ToLower(c.path), "/retrievecurrentorganization") {
			return c.links.EndpointsBody
		}
		if odata.FullMetadata(header.Get("Content-Type")) {
			return c.links.FullBody
		}
		return c.links.ResponseBody
	case odata.Batch:
		// What has no boundary that can be read passes as it is.
		boundary, _ := odata.Boundary(header.Get("Content-Type"))
		return func(src io.Reader) io.Reader { return c.links.BatchResponse(src, boundary) }
	case odata.XML:
		// A description in several pieces names the others, schemas included.
		if query := strings.ToLower(c.query); strings.Contains(query, "wsdl") || strings.HasPrefix(query, "xsd=") {
			return c.links.WSDL
		}
		if c.endpoints != nil && c.endpoints.asked.Load() {
			return c.links.EndpointsEnvelope
		}
	}
	return nil
}

// untyped is the body of an answer that does not say what it is: its beginning
// does.
type untyped struct {
	c      *call
	header http.Header
	src    *bufio.Reader
	body   io.Reader
}

func (u *untyped) Read(p []byte) (int, error) {
	if u.body == nil {
		u.body = u.src
		u.src.Peek(1)
		first, _ := u.src.Peek(u.src.Buffered())
		if rewrite := rewriterOf(u.c, u.header, first); rewrite != nil {
			u.body = rewrite(u.src)
		}
	}
	return u.body.Read(p)
}

// replaceBody puts rewrite between the organization's body and the caller.
func replaceBody(resp *http.Response, rewrite func(io.Reader) io.Reader) {
	original := resp.Body
	told := resp.ContentLength
	short := 0 <= told && told <= shortAnswer
	unknownLength(resp)
	if !short {
		resp.Body = readCloser{rewrite(original), original}
		return
	}
	text := shortTexts.Get().(*bytes.Buffer)
	text.Grow(int(told + told/8 + bytes.MinRead))
	_, err := text.ReadFrom(rewrite(original))
	if err == nil {
		resp.ContentLength = int64(text.Len())
		resp.Header["Content-Length"] = []string{strconv.Itoa(text.Len())}
		err = io.EOF
	} // Streamed, an error reaches the caller as what it is: a body cut off.
	resp.Body = &shortText{Closer: original, text: text, err: err}
}
