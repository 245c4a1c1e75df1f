package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"dynproxy/internal/limits"
)

// Code names a refusal of the proxy's own. It stands in the header
// Dynproxy-Error, on which scripts rely.
type Code string

// The refusals.
const (
	Unauthorized        Code = "unauthorized"
	Forbidden           Code = "forbidden"
	TenantUnknown       Code = "tenant_unknown"
	PathNotAllowed      Code = "path_not_allowed"
	ReadOnly            Code = "read_only"
	BadRequest          Code = "bad_request"
	LimitWaitExceeded   Code = "limit_wait_exceeded"
	ConsentRequired     Code = "consent_required"
	CredentialRejected  Code = "credential_rejected"
	TenantMisconfigured Code = "tenant_misconfigured"
	TokenUnavailable    Code = "token_unavailable"
	TokenRefused        Code = "token_refused"
	UpstreamUnreachable Code = "upstream_unreachable"
	UpstreamTimeout     Code = "upstream_timeout"
	Draining            Code = "draining"

	// callerLeft is only for the log: there is nobody left to tell.
	callerLeft Code = "caller_left"
)

var statuses = map[Code]int{
	Unauthorized:        http.StatusUnauthorized,
	Forbidden:           http.StatusForbidden,
	TenantUnknown:       http.StatusNotFound,
	PathNotAllowed:      http.StatusForbidden,
	ReadOnly:            http.StatusForbidden,
	BadRequest:          http.StatusBadRequest,
	LimitWaitExceeded:   http.StatusTooManyRequests,
	ConsentRequired:     http.StatusBadGateway,
	CredentialRejected:  http.StatusBadGateway,
	TenantMisconfigured: http.StatusBadGateway,
	TokenUnavailable:    http.StatusServiceUnavailable,
	TokenRefused:        http.StatusBadGateway,
	UpstreamUnreachable: http.StatusBadGateway,
	UpstreamTimeout:     http.StatusGatewayTimeout,
	Draining:            http.StatusServiceUnavailable,
	callerLeft:          499,
}

// Error is a refusal with two faces: Code and Message go to the caller, Err
// only to the log.
type Error struct {
	Code       Code
	Message    string        // plain words, with the next step
	RetryAfter time.Duration // 0 for no promise
	Facet      string        // Dataverse's own code, in place of Code in the body, for LimitWaitExceeded
	Challenges []string      // ways to prove oneself, for Unauthorized
	Err        error         // must not hold a secret, a token, a query or a body
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Code, e.Err)
	}
	return string(e.Code)
}

func (e *Error) Unwrap() error { return e.Err }

// Status returns the HTTP status that goes with e.
func (e *Error) Status() int { return statuses[e.Code] }

func refusal(code Code, message string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(message, args...)}
}

// refuse answers with err. It alone writes the proxy's own errors, in the
// shape that clients of Dataverse parse.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	c := callFrom(r.Context())
	e := explain(r.Context(), c, err)
	c.failed = e
	if e.Code == callerLeft {
		// Whatever is still listening must not take this for an answer.
		panic(http.ErrAbortHandler)
	}
	code := string(e.Code)
	if e.Facet != "" {
		code = e.Facet
	}
	var text struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	text.Error.Code, text.Error.Message = code, e.Message
	body := new(bytes.Buffer)
	say := json.NewEncoder(body)
	say.SetEscapeHTML(false) // links in messages are there to be copied
	say.Encode(text)         // two strings: cannot fail

	head := w.Header()
	clear(head)
	head["Content-Type"] = []string{"application/json; odata.metadata=minimal"}
	head["OData-Version"] = []string{"4.0"}
	head["Dynproxy-Error"] = []string{string(e.Code)}
	head["Dynproxy-Request-Id"] = []string{c.id}
	head["Content-Length"] = []string{strconv.Itoa(body.Len())}
	if e.RetryAfter > 0 {
		head["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))}
	}
	if len(e.Challenges) > 0 {
		head["WWW-Authenticate"] = e.Challenges
	}
	if e.Code == Draining {
		head["Connection"] = []string{"close"}
	}
	w.WriteHeader(e.Status())
	w.Write(body.Bytes())
}

// explain finds the refusal in err, or makes one of what the network said.
func explain(ctx context.Context, c *call, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if full, ok := errors.AsType[*limits.Full](err); ok {
		return &Error{
			Code: LimitWaitExceeded, Facet: full.Facet.Code(), RetryAfter: full.RetryAfter,
			Message: fmt.Sprintf("%s has used up its budget of %s; try again in %d seconds.",
				c.tenant.Name, full.Facet, int(math.Ceil(full.RetryAfter.Seconds()))),
		}
	}
	if ctx.Err() != nil {
		return &Error{Code: callerLeft, Err: context.Cause(ctx)}
	}
	if c.body != nil && c.body.failure() != nil {
		return &Error{Code: BadRequest, Message: "The request's body broke off before its end; nothing was changed by it unless the organization says so.", Err: c.body.failure()}
	}
	where := ""
	if c.tenant != nil {
		where = c.tenant.OrgHost()
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return &Error{Code: UpstreamTimeout, Message: fmt.Sprintf("The organization %s did not answer in time.", where), Err: brief(err)}
	}
	return &Error{Code: UpstreamUnreachable, Message: fmt.Sprintf("The organization %s cannot be reached: %v.", where, brief(err)), Err: brief(err)}
}

// brief leaves out of a network error what a log must not hold and a caller
// need not know: addresses with queries, and the layers it came through.
func brief(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("the name cannot be resolved (%s)", dns.Err)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("its certificate is not trusted (%w); if a proxy inspects TLS, name its CA in DYNPROXY_TRUSTED_CA_FILE", cert.Err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errors.New("timeout")
	}
	if broken(err) {
		return errors.New("the connection broke off")
	}
	return fmt.Errorf("%T", err)
}
