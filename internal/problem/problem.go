// Package problem holds the refusals of the proxy's own: their codes, which
// scripts rely on, their statuses, and the one error that carries them.
package problem

import (
	"fmt"
	"net/http"
	"time"
)

// Code names a refusal. It stands in the header Dynproxy-Error.
type Code string

// The codes.
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
	NotAnAnswer         Code = "not_an_answer"
	UpstreamUnreachable Code = "upstream_unreachable"
	UpstreamTimeout     Code = "upstream_timeout"
	OutOfSpace          Code = "out_of_space"
	Draining            Code = "draining"

	// Internal is a fault of the proxy itself, such as a panic.
	Internal Code = "internal_error"

	// CallerLeft is only for the log: there is nobody left to tell.
	CallerLeft Code = "caller_left"
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
	NotAnAnswer:         http.StatusBadGateway,
	UpstreamUnreachable: http.StatusBadGateway,
	UpstreamTimeout:     http.StatusGatewayTimeout,
	OutOfSpace:          http.StatusInsufficientStorage,
	Draining:            http.StatusServiceUnavailable,
	Internal:            http.StatusInternalServerError,
	CallerLeft:          499,
}

// status returns the HTTP status that goes with c; 500 for one that is not
// among the codes.
func (c Code) status() int {
	if status, ok := statuses[c]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Error is a refusal with two faces: Code and Message go to the caller, Err
// only to the log.
type Error struct {
	Code       Code
	HTTPStatus int           // where it is not Code's own: 414, 413 and 431 for BadRequest; 0 for Code's
	Message    string        // plain words, with the next step
	RetryAfter time.Duration // 0 for no promise
	Dataverse  string        // Dataverse's own code, such as 0x80072322, in place of Code in the body; "" for none
	Challenges []string      // ways to prove oneself, for Unauthorized
	Err        error         // must not hold a secret, a token, a query or a body
}

// New returns an Error whose message is formatted as by fmt.Sprintf.
func New(code Code, message string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(message, args...)}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Code, e.Err)
	}
	return string(e.Code)
}

func (e *Error) Unwrap() error { return e.Err }

// Status returns the HTTP status that e is answered with.
func (e *Error) Status() int {
	if e.HTTPStatus != 0 {
		return e.HTTPStatus
	}
	return e.Code.status()
}
