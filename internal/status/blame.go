package status

import (
	"time"

	"dynproxy/internal/problem"
	"dynproxy/internal/refusal"
)

// Outcome is how a call of a tenant ended.
type Outcome struct {
	Tenant  string
	Failure string // "" for a success, else Error or "status 503"
	Error   string // our own code, if it is one of ours
	Status  int    // what the caller got
	Hint    string // what a refusal of the organization is known to mean
	Next    string // what is to be done about that, "" where it is not known
}

// blame says whose fault a failure is.
type blame uint8

const (
	theCaller blame = iota // its own affair: a 404, a 412, a policy, its rate
	doubtful               // the tenant's, if it goes on: one slow or unlucky call proves nothing
	theTenant              // every call must fail
)

var blames = map[problem.Code]blame{
	problem.ConsentRequired:     theTenant,
	problem.CredentialRejected:  theTenant,
	problem.TenantMisconfigured: theTenant,
	problem.TokenUnavailable:    theTenant,
	problem.TokenRefused:        theTenant,
	problem.NotAnAnswer:         doubtful,
	problem.UpstreamUnreachable: doubtful,
	problem.UpstreamTimeout:     doubtful,
}

// hintBlames are the refusals of an organization that every call meets. One
// privilege may be missing for one table; a throttled tenant is in use.
var hintBlames = map[refusal.Hint]blame{
	refusal.ApplicationUserMissing: theTenant,
	refusal.UserDisabled:           theTenant,
	refusal.IPFirewall:             theTenant,
	refusal.AppAccessDenied:        theTenant,
}

// blame says whose fault it is that o failed.
func (o *Outcome) blame() blame {
	switch {
	case o.Error != "":
		return blames[problem.Code(o.Error)]
	case o.Hint != "":
		return hintBlames[refusal.Hint(o.Hint)]
	case o.Status >= 500:
		return doubtful
	}
	return theCaller
}

// inARow is how many doubtful failures with no success between them turn a
// tenant's state.
const inARow = 3

// After so long without another failure, a check that finds all well is believed
// again; and after longer, what failed is past.
const (
	believedAfter  = 15 * time.Minute
	forgottenAfter = time.Hour
)

// Trouble is what calls fail of, with no success since.
type Trouble struct {
	Code  string    `json:"code"` // of the last failure, as in recent_errors
	Count int       `json:"count"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`

	next    string    // what to do about the last failure, "" where that is not known
	turned  time.Time // when it was enough to turn the state; zero if it was not
	certain bool      // whether the last one is the tenant's fault for certain
	cleared bool      // whether a check has found all well in the meantime
	against int       // failures since then
}

// add counts o, a failure, and reports whether the state may be another now.
func (t *Trouble) add(o *Outcome, of blame, now time.Time) bool {
	if t.Count == 0 {
		t.Since = now
	}
	t.Code, t.next, t.Last, t.certain = o.Failure, o.Next, now, of == theTenant
	t.Count++
	if t.cleared {
		t.against++
	}
	if !t.certain && t.Count < inARow {
		return false
	}
	if t.turned.IsZero() {
		t.turned = now
	}
	return true
}
