// Package check checks a tenant step by step, from its settings to an answer of
// its organization, and says of each in plain words what was found and what to
// do next.
package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dynproxy/internal/problem"
	"dynproxy/tenants"
)

// State is how a link is found.
type State string

const (
	OK      State = "ok"
	Warning State = "warning" // calls go through, and something wants attention
	Broken  State = "broken"
	Unknown State = "unknown" // not reached, since a link before it is broken
)

// Names of the links, in the order in which they hold.
const (
	Settings        = "settings"
	Name            = "name"
	Connection      = "connection"
	TLS             = "tls"
	Clock           = "clock"
	Challenge       = "challenge"
	TenantID        = "tenant id"
	Login           = "login host"
	Credential      = "credential"
	Consent         = "consent"
	Token           = "token"
	Answer          = "answer"
	Firewall        = "ip firewall"
	AppAccess       = "app access"
	ApplicationUser = "application user"
	Role            = "role"
	Headroom        = "headroom"
)

// Links are the names of all, in their order.
func Links() []string {
	return []string{Settings, Name, Connection, TLS, Clock, Challenge, TenantID, Login, Credential, Consent, Token, Answer, Firewall, AppAccess, ApplicationUser, Role, Headroom}
}

// Link is one link of a chain.
type Link struct {
	Name    string        `json:"link"`
	State   State         `json:"state"`
	OK      bool          `json:"ok"` // neither broken nor unknown
	Finding string        `json:"finding"`
	Next    string        `json:"next,omitempty"` // what to do unless it is ok
	Took    time.Duration `json:"-"`
	Millis  int64         `json:"ms"`
}

// Report is what was found of one tenant.
type Report struct {
	Tenant string    `json:"tenant"`
	OK     bool      `json:"ok"`              // no link is broken or unknown
	Error  string    `json:"error,omitempty"` // error.code that callers get because of it, or "status 503"
	At     time.Time `json:"at"`
	Links  []Link    `json:"links"`
}

// Link returns the link called name, the zero Link if the report has none.
func (r Report) Link(name string) Link {
	for _, l := range r.Links {
		if l.Name == name {
			return l
		}
	}
	return Link{}
}

// FirstProblem returns the first link that is broken, else the first that wants
// attention, else the zero Link.
func (r Report) FirstProblem() Link {
	var first Link
	for _, l := range r.Links {
		switch {
		case l.State == Broken:
			return l
		case l.State == Warning && first.Name == "":
			first = l
		}
	}
	return first
}

// Checker checks tenants. Its functions are those that calls go through too, so
// that what it says is what callers meet.
type Checker struct {
	// Authority is where the tenant's tokens come from, by its settings and by
	// its organization. Named asks the organization alone.
	Authority func(context.Context, *tenants.Tenant) (login, tenantID string, err error)
	Named     func(context.Context, *tenants.Tenant) (login, tenantID string, err error)
	Token     func(context.Context, *tenants.Tenant) (header string, err error)
	// Invalidate says that the organization refused header, with these challenges,
	// and reports whether Token has, or waits for, another.
	Invalidate func(t *tenants.Tenant, header string, challenges []string) bool
	// Credential is that with which tokens are asked for, in a few words, and when
	// it ends: zero where that is not known.
	Credential func(*tenants.Tenant) (kind string, ends time.Time)
	// ClientID is the application id that calls for t.
	ClientID func(t *tenants.Tenant) string
	// Sharers are other tenants that spend t's budget by other numbers; nil: not
	// known.
	Sharers func(t *tenants.Tenant) []string
	// Advice is what is said of err: the error.code that callers get, what was
	// found, and what to do next.
	Advice func(err error) (code problem.Code, finding, next string)

	Organization *http.Transport
	Login        *http.Transport
	Patience     time.Duration // for one answer; 0 for as long as the context allows
}

func (c *Checker) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Patience <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.Patience)
}

// Faulty reports a tenant whose settings cannot be used.
func Faulty(name string, fault error) Report {
	r := run{report: Report{Tenant: name, At: time.Now(), Error: string(problem.TenantUnknown)}}
	r.note(Settings, Broken, fault.Error(), "Correct the file of "+name+" in the tenants directory.")
	return r.end()
}

// Check checks t. A broken link leaves unknown what depends on it; the
// rest is looked at all the same.
func (c *Checker) Check(ctx context.Context, t *tenants.Tenant) Report {
	r := &run{checker: c, t: t, report: Report{Tenant: t.Name, At: time.Now()}, began: time.Now()}
	r.settings()
	reached := r.network(ctx)
	r.authority(ctx, reached)
	r.loginHost(ctx)
	r.credential()
	if header := r.mint(ctx); header != "" && reached {
		r.answer(ctx, header)
	}
	return r.end()
}

// settings tells of numbers that do not hold, since another tenant's are
// stricter.
func (r *run) settings() {
	finding := "organization " + r.t.OrgHost()
	var others []string
	if r.checker.Sharers != nil {
		others = r.checker.Sharers(r.t)
	}
	if len(others) == 0 {
		r.note(Settings, OK, finding, "")
		return
	}
	also := strings.Join(others[:min(len(others), mostNamed)], ", ")
	if more := len(others) - mostNamed; more > 0 {
		also += fmt.Sprintf(" and %d more", more)
	}
	r.note(Settings, Warning, finding+"; its budget is shared with "+also+", and their limits differ: the stricter hold",
		"Give the tenants of one organization and registration the same REQUESTS, WINDOW, EXECUTION_TIME, CONCURRENCY, RATE, BURST and LIMITS.")
}

// mostNamed is how many tenants one finding names.
const mostNamed = 5

// run is one check under way.
type run struct {
	checker *Checker
	t       *tenants.Tenant
	report  Report
	began   time.Time // the link under way

	login, tenantID string
}

func (r *run) note(name string, state State, finding, next string) {
	took := time.Since(r.began)
	if r.began.IsZero() {
		took = 0
	}
	r.noteTook(name, state, finding, next, took)
	r.began = time.Now()
}

func (r *run) noteTook(name string, state State, finding, next string, took time.Duration) {
	r.report.Links = append(r.report.Links, Link{
		Name: name, State: state, OK: state == OK || state == Warning, Finding: finding, Next: next, Took: took, Millis: took.Milliseconds(),
	})
}

// callersGet notes what callers get; the first that is noted is what they meet.
func (r *run) callersGet(code string) {
	if r.report.Error == "" {
		r.report.Error = code
	}
}

// end puts the links in order and fills in those that were not reached.
func (r *run) end() Report {
	links := make([]Link, 0, len(Links()))
	r.report.OK = true
	for _, name := range Links() {
		l := r.report.Link(name)
		if l.Name == "" {
			l = Link{Name: name, State: Unknown, Finding: "not reached"}
		}
		r.report.OK = r.report.OK && l.OK
		links = append(links, l)
	}
	r.report.Links = links
	return r.report
}
