package entra

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Class says what kind of thing is wrong, and so who can fix it.
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
	Cure          string        // what to do about it, a sentence; "" where Entra ID's numbers say that
	Err           error         // of the network, never of MSAL
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

// noAddress is for a tenant whose settings lead nowhere.
func noAddress() *Error {
	return &Error{Class: Configuration, Reason: "login host and tenant id make no address", Cure: "Correct TENANT_ID and LOGIN_HOST of the tenant; without them the organization tells both."}
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

// tenantCodes say that the tenant itself lacks something that neither consent
// nor another secret cures: the app or Dataverse is switched off there, was
// never subscribed to, or a policy blocks the app.
var tenantCodes = []int{7000112, 70001, 1000031, 650052, 500011, 500014, 53003, 530032}

// passingCodes come with an error of the app's, though the service is at fault:
// it found a loop, its directory is busy, the tenant is throttled.
var passingCodes = []int{50196, 90033, 90055}

// appWideCodes say that the credential itself is wrong, whoever the tenant. Some
// of them come with errors other than invalid_client.
var appWideCodes = []int{
	7000215, 7000222, 7000218, 700025, 900144, // secrets
	700027, 700030, 700024, 700021, 700023, 50012, // assertions and certificates
	700236, 70021, 700211, 700212, 700213, // federation
}

// classify goes by status and OAuth error, as Microsoft asks. Numbers are
// needed too where one error stands for two things: invalid_client for a wrong
// secret and for a missing service principal, unauthorized_client for a missing
// one and for one that is switched off.
func classify(status int, oauth string, codes []int) Class {
	switch {
	case status == 408, status == 429, status >= 500, oauth == "temporarily_unavailable", oauth == "server_error":
		return Transient
	case oauth == "":
		return Transient // Entra ID always names its error: something else answered
	case anyOf(codes, passingCodes):
		return Transient
	case anyOf(codes, tenantCodes):
		return Configuration
	case anyOf(codes, consentCodes), oauth == "unauthorized_client", oauth == "consent_required", oauth == "interaction_required":
		return Consent
	case oauth == "invalid_client", anyOf(codes, appWideCodes):
		return Credential
	}
	return Configuration
}

// appWide reports whether a refusal of class Credential concerns all tenants.
// A number that is not known may concern this tenant alone, and must not take
// the others down with it.
func (e *Error) appWide() bool {
	return e.Status != 0 && (len(e.Codes) == 0 || anyOf(e.Codes, appWideCodes))
}

func anyOf(codes, set []int) bool {
	return slices.ContainsFunc(codes, func(code int) bool { return slices.Contains(set, code) })
}
