package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind says how something fails.
type FaultKind string

// Faults of Entra ID and of organizations alike.
const (
	Down   FaultKind = "down"   // connections are dropped
	Slow   FaultKind = "slow"   // the answer begins after Delay
	Status FaultKind = "status" // Status with RetryAfter, and a body of HTML
	Skew   FaultKind = "skew"   // the Date of answers is wrong by Delay, which may be negative
)

// Faults of Entra ID. All but Redirect strike the token endpoint only.
const (
	HTML           FaultKind = "html"             // 200 and a page, as of a middlebox
	Empty          FaultKind = "empty"            // 200 and nothing
	Truncated      FaultKind = "truncated"        // the first half of a good answer
	WrongTokenType FaultKind = "wrong_token_type" // a token of type "pop"
	Redirect       FaultKind = "redirect"         // 307 to Location
	AADSTS         FaultKind = "aadsts"           // the error of that number, with RetryAfter
)

// Faults of an organization.
const (
	ResetBefore    FaultKind = "reset_before"     // torn before the request is carried out
	ResetAfter     FaultKind = "reset_after"      // carried out, torn before the answer
	ResetMiddle    FaultKind = "reset_middle"     // torn in the middle of the answer
	Stall          FaultKind = "stall"            // carried out; the answer's body pauses for Delay after After bytes, for ever if zero
	TearReused     FaultKind = "tear_reused"      // a kept connection (of HTTP/1.1) is torn as the next request comes, before a byte of it is read
	TearReusedHead FaultKind = "tear_reused_head" // the same after the head was read, and before the body is
	SlowHandshake  FaultKind = "slow_handshake"   // a connection is accepted and says nothing for Delay, for ever if zero
	Throttle       FaultKind = "throttle"         // 429 with Code and RetryAfter; a fault for SOAP
	SignInPage     FaultKind = "signin_page"      // 200 and a sign-in page in HTML
	SignInRedirect FaultKind = "signin_redirect"  // 302 to the sign-in page
	SOAPSignIn     FaultKind = "soap_signin"      // the page, only to SOAP calls without a good token
	Informational  FaultKind = "informational"    // before the answer one of Status (103 by default) with Set-Cookie, WWW-Authenticate and Link
	NoContentType  FaultKind = "no_content_type"  // the answer is without Content-Type
	RootedLocation FaultKind = "rooted_location"  // Location is a path alone
	Claims         FaultKind = "claims"           // 401 insufficient_claims to tokens without Claims
	Firewall       FaultKind = "ip_firewall"      // 403 0x80095ffe
	AccessControl  FaultKind = "access_control"   // 403 0x80095ffc
	Refuse         FaultKind = "refuse"           // 403 with Code and Message; a fault for SOAP
)

// Fault is something that goes wrong on purpose.
type Fault struct {
	Kind FaultKind
	// Times is how many requests it strikes; zero strikes until it is healed.
	Times int
	// Method, Path (a prefix), Tenant and Client narrow it down to some
	// requests.
	Method, Path, Tenant, Client string

	Status     int           // for Status
	Code       string        // for Throttle and Refuse, such as 0x80072322
	Message    string        // for Throttle and Refuse; of the former Dataverse's own by default
	Number     int           // for AADSTS
	Location   string        // for Redirect
	Claims     string        // for Claims: what a token must have been asked with, as JSON
	RetryAfter time.Duration // rounded up to seconds, but for SOAP
	Delay      time.Duration // for Slow, Skew, Stall and SlowHandshake
	After      int           // bytes of a body, for Stall
}

// wireFault is a Fault in JSON.
type wireFault struct {
	Kind       FaultKind `json:"kind"`
	Times      int       `json:"times,omitempty"`
	Method     string    `json:"method,omitempty"`
	Path       string    `json:"path,omitempty"`
	Tenant     string    `json:"tenant,omitempty"`
	Client     string    `json:"client,omitempty"`
	Status     int       `json:"status,omitempty"`
	Code       string    `json:"code,omitempty"`
	Message    string    `json:"message,omitempty"`
	Number     int       `json:"number,omitempty"`
	Location   string    `json:"location,omitempty"`
	Claims     string    `json:"claims,omitempty"`
	RetryAfter span      `json:"retry_after,omitzero"`
	Delay      span      `json:"delay,omitzero"`
	After      int       `json:"after,omitempty"`
}

// MarshalJSON writes the fault as the control API knows it.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireFault{f.Kind, f.Times, f.Method, f.Path, f.Tenant, f.Client, f.Status, f.Code,
		f.Message, f.Number, f.Location, f.Claims, span(f.RetryAfter), span(f.Delay), f.After})
}

// UnmarshalJSON reads it back and refuses a field that it does not know.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var v wireFault
	if err := strictJSON(data, &v); err != nil {
		return err
	}
	*f = Fault{v.Kind, v.Times, v.Method, v.Path, v.Tenant, v.Client, v.Status, v.Code,
		v.Message, v.Number, v.Location, v.Claims, time.Duration(v.RetryAfter), time.Duration(v.Delay), v.After}
	return nil
}

// span is a duration that JSON writes as "1.5s".
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = span(d)
	return err
}

// moment is a request as far as a fault looks at it.
type moment struct{ method, path, tenant, client string }

func (f *Fault) matches(at moment) bool {
	return (f.Method == "" || f.Method == at.method) &&
		strings.HasPrefix(at.path, f.Path) &&
		(f.Tenant == "" || strings.EqualFold(f.Tenant, at.tenant)) &&
		(f.Client == "" || strings.EqualFold(f.Client, at.client))
}

// faults are those of one place, oldest first. The zero value has none.
type faults struct {
	mu   sync.Mutex // guards list
	list []*Fault
}

// add checks a fault against the kinds that this place knows.
func (l *faults) add(f Fault, known ...FaultKind) error {
	switch {
	case !slices.Contains(known, f.Kind):
		return fmt.Errorf("no fault %q here: there are %q", f.Kind, known)
	case f.Times < 0 || f.Delay < 0 && f.Kind != Skew || f.RetryAfter < 0 || f.After < 0:
		return fmt.Errorf("fault %s: times, delay, retry_after and after are not negative", f.Kind)
	case f.Kind == Status && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("fault status: %d is no status of an answer", f.Status)
	case f.Kind == Informational && f.Status != 0 && (f.Status < 100 || f.Status > 199 || f.Status == http.StatusSwitchingProtocols):
		return fmt.Errorf("fault informational: %d is no status of an answer before the answer", f.Status)
	case (f.Kind == TearReused || f.Kind == SlowHandshake) && f.Method+f.Path+f.Client != "":
		return fmt.Errorf("fault %s: it acts before a request is read, whatever its method, path or client", f.Kind)
	case f.Kind == Claims && !json.Valid([]byte(f.Claims)):
		return fmt.Errorf("fault claims: claims must be JSON")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, &f)
	return nil
}

// take returns the oldest fault of that kind which strikes the request, and
// counts it.
func (l *faults) take(kind FaultKind, at moment) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.list {
		if f.Kind != kind || !f.matches(at) {
			continue
		}
		if f.Times == 1 {
			l.list = slices.Delete(l.list, i, i+1)
		} else if f.Times > 1 {
			f.Times--
		}
		return *f, true
	}
	return Fault{}, false
}

// takeIf is take, where it may strike at all.
func (l *faults) takeIf(may bool, kind FaultKind, at moment) (Fault, bool) {
	if !may {
		return Fault{}, false
	}
	return l.take(kind, at)
}

// skew sets a wrong Date if a fault says so.
func (l *faults) skew(w http.ResponseWriter, at moment) {
	if f, ok := l.take(Skew, at); ok {
		w.Header().Set("Date", time.Now().Add(f.Delay).UTC().Format(http.TimeFormat))
	}
}

// has reports whether there is a fault of that kind that strikes everything,
// without counting it.
func (l *faults) has(kind FaultKind) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.list, func(f *Fault) bool { return f.Kind == kind && f.Times == 0 && f.matches(moment{}) })
}

func (l *faults) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

func (l *faults) all() []Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Fault, 0, len(l.list))
	for _, f := range l.list {
		list = append(list, *f)
	}
	return list
}

// Inject makes Entra ID fail.
func (e *Entra) Inject(f Fault) error {
	return e.faults.add(f, Down, Slow, Status, Skew, HTML, Empty, Truncated, WrongTokenType, Redirect, AADSTS)
}

// Heal ends all faults of Entra ID.
func (e *Entra) Heal() { e.faults.heal() }

// Inject makes the organization fail.
func (o *Organization) Inject(f Fault) error {
	return o.faults.add(f, Down, Slow, Status, Skew, ResetBefore, ResetAfter, ResetMiddle, Stall, TearReused,
		TearReusedHead, SlowHandshake, Throttle, Informational, NoContentType, RootedLocation, SignInPage, SignInRedirect, SOAPSignIn, Claims, Firewall, AccessControl, Refuse)
}

// Heal ends all faults of the organization.
func (o *Organization) Heal() { o.faults.heal() }
