package entra

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says what kind of thing is wrong, and so who can mend it.
type Class int

const (
	Transient     Class = iota // Entra ID cannot be reached, is busy, or answered nonsense
	Consent                    // the tenant's administrator has not granted the app access
	Configuration              // tenant id, login host or organization do not fit together
	Credential                 // the app's own secret, certificate or assertion is wrong
)

func (c Class) String() string {
	switch c {
	case Consent:
		return "consent"
	case Configuration:
		return "configuration"
	case Credential:
		return "credential"
	}
	return "transient"
}

// Error says why there is no token. It holds nothing that must not be shown:
// what Entra ID wrote in words, and MSAL's errors, which may hold tokens and
// requests, end in this package.
type Error struct {
	Class         Class
	Status        int           // of the answer, 0 without one
	OAuth         string        // its error, such as invalid_client
	Codes         []int         // its AADSTS numbers: good for hints, not for decisions
	TraceID       string        // for Microsoft's support
	CorrelationID string        //
	RetryAfter    time.Duration // before then nothing will be tried again
	Reason        string        // in a few words of our own
	Err           error         // of the network or a file, never of MSAL
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Class, e.Reason)
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.OAuth != "" {
		fmt.Fprintf(&b, ", %s", e.OAuth)
	}
	for _, code := range e.Codes {
		fmt.Fprintf(&b, ", AADSTS%d", code)
	}
	if e.TraceID != "" {
		fmt.Fprintf(&b, ", trace %s", e.TraceID)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// after returns e with the time until it is worth asking again.
func (e *Error) after(d time.Duration) *Error {
	told := *e
	told.RetryAfter = max(d, time.Second)
	return &told
}

// asError returns err as an *Error; what is none is transient.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Class: Transient, Reason: "no answer", Err: err}
}

// consentCodes are the numbers that say that the app has no service principal
// in the tenant, or no consent there.
var consentCodes = []int{700016, 7000229, 700011, 65001, 90094, 90095, 90099, 650056}

// classify goes by status and OAuth error, as Microsoft asks. Only
// invalid_client needs the number too: it stands for a wrong secret and for a
// missing service principal alike.
func classify(status int, oauth string, codes []int) Class {
	switch {
	case status == 408, status == 429, status >= 500, oauth == "temporarily_unavailable", oauth == "server_error":
		return Transient
	case oauth == "unauthorized_client", oauth == "consent_required", oauth == "interaction_required":
		return Consent
	}
	for _, code := range codes {
		for _, c := range consentCodes {
			if code == c {
				return Consent
			}
		}
	}
	if oauth == "invalid_client" {
		return Credential
	}
	return Configuration
}
