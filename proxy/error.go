package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/httpguard"
	"dynproxy/internal/limits"
	"dynproxy/internal/problem"
	"dynproxy/internal/soap"
	"dynproxy/tenants"
)

// writeError answers with err. It alone writes the proxy's own errors, in the
// shape that clients of Dataverse parse: JSON, or a SOAP fault.
func (h *Handler) writeError(w http.ResponseWriter, r *http.Request, err error) {
	c := callFrom(r.Context())
	e := problemOf(r.Context(), c, err)
	c.failed = e
	if e.Code == problem.CallerLeft {
		// Whatever is still listening must not take this for an answer.
		panic(http.ErrAbortHandler)
	}
	head := w.Header()
	clear(head)
	status, body := e.Status(), []byte(nil)
	if speaksSOAP(r) {
		status, body = faultFor(head, r, e, c.id)
	} else {
		body = errorJSON(head, e)
	}
	head["Dynproxy-Error"] = []string{string(e.Code)}
	head["Dynproxy-Request-Id"] = []string{c.id}
	if h.Help != nil {
		head["Dynproxy-Help"] = []string{h.Help(e.Code)}
	}
	head["Content-Length"] = []string{strconv.Itoa(len(body))}
	if e.RetryAfter > 0 {
		head["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))}
	}
	if len(e.Challenges) > 0 {
		head["WWW-Authenticate"] = e.Challenges
	}
	if e.Code == problem.Draining || errors.Is(e.Err, errWithdrawn) {
		head["Connection"] = []string{"close"}
	}
	w.WriteHeader(status)
	w.Write(body)
}

// errorJSON is e as clients of the Web API parse it.
func errorJSON(head http.Header, e *problem.Error) []byte {
	var text struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	text.Error.Code, text.Error.Message = cmp.Or(e.Dataverse, string(e.Code)), e.Message
	body := new(bytes.Buffer)
	say := json.NewEncoder(body)
	say.SetEscapeHTML(false) // links in messages are there to be copied
	say.Encode(text)         // two strings: cannot fail
	head["Content-Type"] = []string{"application/json; odata.metadata=minimal"}
	head["OData-Version"] = []string{"4.0"}
	return body.Bytes()
}

// speaksSOAP reports whether r's sender expects a fault: whoever only fetches
// the description of a service reads plain errors.
func speaksSOAP(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return r.Method == http.MethodPost && soap.Serves(path)
}

// faultFor is e as clients of the Organization Service parse it.
func faultFor(head http.Header, r *http.Request, e *problem.Error, id string) (status int, body []byte) {
	f := soap.Fault{
		Status: e.Status(), Code: string(e.Code), Dataverse: e.Dataverse, Message: e.Message,
		RetryAfter: e.RetryAfter, RequestID: id, Time: time.Now(),
	}
	body, kind := f.Envelope(soap.Is12(r.Header))
	head["Content-Type"] = []string{kind}
	return f.HTTPStatus(), body
}

// problemOf finds the refusal in err, or makes one of what stopped the call.
func problemOf(ctx context.Context, c *call, err error) *problem.Error {
	if wrong := httpguard.BodyFault(ctx); wrong != nil {
		return &problem.Error{Code: problem.BadRequest, HTTPStatus: wrong.Status, Message: wrong.Message, Err: wrong}
	}
	if e, ok := errors.AsType[*problem.Error](err); ok {
		return e
	}
	if full, ok := errors.AsType[*limits.Full](err); ok {
		return &problem.Error{
			Code: problem.LimitWaitExceeded, Dataverse: full.Kind.Code(), RetryAfter: full.RetryAfter,
			Message: fmt.Sprintf("%s: %s. Try again in %d seconds.", c.tenant.Name, full.Why(), int(math.Ceil(full.RetryAfter.Seconds()))),
		}
	}
	if ctx.Err() != nil {
		// net/http ends the context of a request whose body breaks off a moment before
		// who reads the body is told; the caller may have closed its own side only.
		c.body.settle()
	}
	if failed := c.body.failure(); failed != nil {
		return bodyProblem(failed, "the organization got a part of the request, which it cannot take for the whole")
	}
	if ctx.Err() != nil {
		return &problem.Error{Code: problem.CallerLeft, Err: context.Cause(ctx)}
	}
	if errors.Is(err, limits.ErrDropped) {
		return &problem.Error{Code: problem.TenantUnknown, Message: "The tenant was removed or changed while the call waited; nothing of the request was sent.", Err: err}
	}
	return upstreamProblem(c.tenant, &egress.Error{Stage: egress.Await, Sent: 1, Err: err}, "The request may have been carried out.")
}

// upstreamProblem says what became of a request on its way to the organization
// of t, which may be nil. fate says whether it may have been carried out.
func upstreamProblem(t *tenants.Tenant, e *egress.Error, fate string) *problem.Error {
	if t == nil {
		t = new(tenants.Tenant)
	}
	code, what := problem.UpstreamUnreachable, "cannot be reached"
	switch {
	case e.Timeout:
		code, what = problem.UpstreamTimeout, "gave no answer"
	case e.Stage != egress.Connect:
		what = "gave no answer"
	}
	message := fmt.Sprintf("The organization %s %s: %s. %s", t.OrgHost(), what, e, fate)
	if e.Stage == egress.Connect || e.Timeout {
		message += " Next: dynproxy check " + t.Name
	}
	return &problem.Error{Code: code, Message: message, Err: e}
}
