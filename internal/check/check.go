// Package check is the doctor: it walks a tenant's chain link by link, from its
// settings to an answer of its organization, and says of each in plain words
// what was found and what to do next.
package check

import (
	"context"
	"net/http"
	"time"

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

// Chain is the names of all links.
func Chain() []string {
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

// Ailing returns the first link that is broken, else the first that wants
// attention, else the zero Link.
func (r Report) Ailing() Link {
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

// Doctor walks chains. Its functions are those that calls go through too, so
// that what it says is what callers meet.
type Doctor struct {
	// Authority is where the tenant's tokens come from, by its settings and by
	// its organization. Named asks the organization alone.
	Authority func(context.Context, *tenants.Tenant) (login, tenantID string, err error)
	Named     func(context.Context, *tenants.Tenant) (login, tenantID string, err error)
	Token     func(context.Context, *tenants.Tenant) (header string, err error)
	// Proof is the credential with which tokens are asked for, in a few words,
	// and when it ends: zero where that is not known.
	Proof func(*tenants.Tenant) (kind string, ends time.Time)
	// ClientID is the application id that calls for t.
	ClientID func(t *tenants.Tenant) string
	// Advice is what a caller is told of err: error.code and the message.
	Advice func(err error) (code, message string)

	Organization *http.Transport
	Login        *http.Transport
}

// Faulty reports a tenant whose settings cannot be used.
func Faulty(name string, fault error) Report {
	w := walk{report: Report{Tenant: name, At: time.Now(), Error: "tenant_unknown"}}
	w.note(Settings, Broken, fault.Error(), "Mend the file of "+name+" in the tenants directory.")
	return w.end()
}

// Check walks t's chain. A broken link leaves unknown what depends on it; the
// rest is looked at all the same.
func (d *Doctor) Check(ctx context.Context, t *tenants.Tenant) Report {
	w := &walk{d: d, t: t, report: Report{Tenant: t.Name, At: time.Now()}, began: time.Now()}
	w.note(Settings, OK, "organization "+t.OrgHost(), "")
	reached := w.network(ctx)
	w.authority(ctx, reached)
	w.loginHost(ctx)
	w.proof()
	if header := w.mint(ctx); header != "" && reached {
		w.answer(ctx, header)
	}
	return w.end()
}

// walk is one check under way.
type walk struct {
	d      *Doctor
	t      *tenants.Tenant
	report Report
	began  time.Time // the link under way

	login, tenantID string
}

func (w *walk) note(name string, state State, finding, next string) {
	took := time.Since(w.began)
	if w.began.IsZero() {
		took = 0
	}
	w.noteTook(name, state, finding, next, took)
	w.began = time.Now()
}

func (w *walk) noteTook(name string, state State, finding, next string, took time.Duration) {
	w.report.Links = append(w.report.Links, Link{
		Name: name, State: state, OK: state == OK || state == Warning, Finding: finding, Next: next, Took: took, Millis: took.Milliseconds(),
	})
}

// callers notes what callers get; the first that is noted is what they meet.
func (w *walk) callers(code string) {
	if w.report.Error == "" {
		w.report.Error = code
	}
}

// end puts the links in order and fills in those that were not reached.
func (w *walk) end() Report {
	links := make([]Link, 0, len(Chain()))
	w.report.OK = true
	for _, name := range Chain() {
		l := w.report.Link(name)
		if l.Name == "" {
			l = Link{Name: name, State: Unknown, Finding: "not reached"}
		}
		w.report.OK = w.report.OK && l.OK
		links = append(links, l)
	}
	w.report.Links = links
	return w.report
}
