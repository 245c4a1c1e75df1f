package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"dynproxy/internal/httpguard"
	"dynproxy/internal/odata"
	"dynproxy/internal/problem"
	"dynproxy/internal/soap"
	"dynproxy/internal/spool"
)

// takeBody makes c.body. It is read before the call waits for its place: a
// caller that stalls holds nobody up, and a body that breaks off changes
// nothing. What has links in it is rewritten on the way.
func (h *Handler) takeBody(c *call, w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		if c.batch {
			return problem.New(problem.BadRequest, "A batch must have a body.")
		}
		return nil
	}
	policy := h.entrance.Load()
	c.body = &body{log: h.Log, length: r.ContentLength, spooled: h.Spool.Spool(), src: &callerReader{
		src: r.Body, conn: http.NewResponseController(w), leeway: policy.leeway(policy.BodyIdle),
	}}
	c.body.spooled.Expect(r.ContentLength)
	began := time.Now()
	err := h.readBody(c, r)
	c.read = time.Since(began)
	if err != nil {
		return bodyProblem(err, "nothing was sent on")
	}
	return nil
}

// readBody reads a body as what it is. A file is left as it is, whatever its
// coding; what must be judged or rewritten is decoded first.
func (h *Handler) readBody(c *call, r *http.Request) error {
	if c.batch {
		return h.takeBatch(c, r)
	}
	if soap.Serves(c.path) {
		if r.Method != http.MethodPost {
			return problem.New(problem.BadRequest, "A SOAP message is sent by POST, not by %.20s.", r.Method)
		}
		return h.takeEnvelope(c, r)
	}
	if odata.IsFile(c.path, c.query) {
		return c.body.readAhead()
	}
	// What has no type may be JSON: only its beginning tells.
	if kind := odata.BodyKind(r.Header, []byte("{")); kind != odata.JSON && kind != odata.WideJSON {
		return c.body.readAhead()
	}
	if err := h.decodeBody(c.body, r); err != nil {
		return err
	}
	switch odata.BodyKind(r.Header, c.body.peek()) {
	case odata.JSON:
		c.body.src = c.links.RequestBody(c.body.src)
		c.body.length = -1
	case odata.WideJSON:
		return problem.New(problem.BadRequest, "The request's body is JSON in UTF-16 or the like, in which links cannot be led to the organization. Send it in UTF-8.")
	}
	return c.body.readAhead()
}

// takeBatch judges each request in a batch, and rewrites it. A batch that
// cannot be kept cannot be judged.
func (h *Handler) takeBatch(c *call, r *http.Request) error {
	boundary, err := odata.Boundary(strings.Join(r.Header["Content-Type"], ","))
	if err != nil {
		return problem.New(problem.BadRequest, "A batch must be sent as multipart/mixed with a boundary: %v.", err)
	}
	if r.ContentLength > h.Spool.Largest() {
		return &spool.TooLarge{Limit: h.Spool.Largest()}
	}
	if err := h.decodeBody(c.body, r); err != nil {
		return err
	}
	raw := h.Spool.Spool()
	defer raw.Close()
	buf := copyBuffers.Get()
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(&raw, c.body.src, buf); err != nil {
		return err
	}
	b := c.body
	b.ended = true
	err = c.links.BatchRequest(&b.spooled, raw.Reader(), boundary, func(p *odata.Part) error { return judgePart(c, p) })
	b.read = b.spooled.Size()
	b.length = b.read
	if err == nil || ours(err) {
		return err
	}
	return &problem.Error{Code: problem.BadRequest, Message: "The batch cannot be carried out: " + err.Error() + ".", Err: err}
}

// ours reports whether err is a refusal or a fault of this side, in contrast
// to what is wrong with the body.
func ours(err error) bool {
	_, refused := errors.AsType[*problem.Error](err)
	_, disk := errors.AsType[*spool.Fault](err)
	_, large := errors.AsType[*spool.TooLarge](err)
	return refused || disk || large
}

// judgePart holds a request inside a batch to the same policy as one that
// comes alone.
func judgePart(c *call, p *odata.Part) error {
	path, query, _ := strings.Cut(p.Target, "?")
	if reason := ambiguous(path); reason != "" {
		return problem.New(problem.BadRequest, "A path inside the batch holds %s, which servers read differently.", reason)
	}
	if !strings.HasPrefix(path, "/") {
		path = c.path[:strings.LastIndexByte(strings.TrimRight(c.path, "/"), '/')+1] + path
	}
	if soap.Serves(path) {
		return problem.New(problem.BadRequest, "A batch must not hold a SOAP message.")
	}
	if err := c.allowed(operation{method: p.Method, path: path, query: query, header: p.Header}); err != nil {
		return err
	}
	c.operations++
	stripRequest(p.Header)
	return nil
}

// bodyProblem says what is wrong with a request's body, and whose fault it is.
// so is what became of the request.
func bodyProblem(err error, so string) *problem.Error {
	if refused, is := errors.AsType[*problem.Error](err); is {
		return refused
	}
	say := func(code problem.Code, message string, args ...any) *problem.Error {
		return &problem.Error{Code: code, Message: fmt.Sprintf(message, args...) + "; " + so + ".", Err: err}
	}
	if fault, is := errors.AsType[*spool.Fault](err); is {
		switch {
		case fault.Op != "keep":
			return say(problem.OutOfSpace, "The proxy's own disk failed: what it kept of the request's body cannot be read back")
		case errors.Is(err, spool.ErrFull):
			return say(problem.OutOfSpace, "The proxy has no room for the request's body, which it must keep to judge it: DYNPROXY_SPOOL_MAX is reached. Try again later")
		}
		return say(problem.OutOfSpace, "The proxy has no room for the request's body, which it must keep to judge it; its operators find the reason in the log and at /readyz")
	}
	if large, is := errors.AsType[*spool.TooLarge](err); is {
		e := say(problem.BadRequest, "The request's body is too large to be judged: a batch, a SOAP message or a compressed body must not be larger than %d MiB (unpacked). Send it in several", large.Limit>>20)
		e.HTTPStatus = http.StatusRequestEntityTooLarge
		return e
	}
	if coded, is := errors.AsType[*codingError](err); is {
		return say(problem.BadRequest, "The request's body is not %s, which its Content-Encoding says it is", coded.coding)
	}
	if foreign, is := errors.AsType[*odata.ForeignLink](err); is {
		return say(problem.BadRequest, "In the request's body %v", foreign)
	}
	if malformed, is := errors.AsType[*httpguard.BodyError](err); is {
		return say(problem.BadRequest, "The request's body is malformed: %s", malformed.Reason)
	}
	if timeout, is := errors.AsType[net.Error](err); is && timeout.Timeout() {
		return say(problem.BadRequest, "The request's body came too slowly: see DYNPROXY_BODY_IDLE_TIMEOUT and DYNPROXY_MIN_RATE")
	}
	return say(problem.BadRequest, "The request's body broke off before its end")
}
