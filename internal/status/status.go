// Package status knows how each tenant is: from its calls, as they succeed and
// fail, from its last check, from its token and its budget. It is what portal,
// API, readiness and notices read. An organization is asked when somebody
// looks, when calls begin to fail, and now and then where nobody calls: its
// budget is for callers.
package status

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/check"
	"dynproxy/internal/history"
	"dynproxy/internal/panics"
	"dynproxy/internal/tokens"
	"dynproxy/tenants"
)

// State sums a tenant up.
type State string

// The states, the worst first.
const (
	Broken    State = "broken"
	Attention State = "attention" // calls go through, and something wants to be looked at
	Unchecked State = "unchecked"
	Ready     State = "ready"
)

// States are all of them, the worst first.
func States() []State { return []State{Broken, Attention, Unchecked, Ready} }

// Tenant is what is known of one tenant. Times are zero where nothing is known.
type Tenant struct {
	Name           string        `json:"name"`
	Organization   string        `json:"organization,omitempty"` // https://host
	State          State         `json:"state"`
	Since          time.Time     `json:"since,omitzero"`    // when the state began
	Fault          string        `json:"fault,omitempty"`   // why its settings cannot be used
	Trouble        *Trouble      `json:"failing,omitempty"` // what calls fail of at present
	Report         *check.Report `json:"chain,omitempty"`   // the last check, if there was one
	Success        time.Time     `json:"last_success,omitzero"`
	TokenEnds      time.Time     `json:"token_expires,omitzero"`
	Credential     string        `json:"credential,omitempty"` // secret, certificate ...
	CredentialEnds time.Time     `json:"credential_expires,omitzero"`
	Budget         Budget        `json:"budget"`
	Traffic        []int         `json:"calls_a_minute"` // of the last hour, the oldest first
	Failures       []Failure     `json:"recent_errors,omitempty"`
	Callers        []Share       `json:"callers,omitempty"`

	History []history.Event `json:"history,omitempty"` // its states, the oldest first
	Gaps    []history.Gap   `json:"-"`                 // when nobody was there to look
}

// Budget is how far a tenant's budget is spent.
type Budget struct {
	Mode      string  `json:"mode"` // enforce, report or off
	Requests  float64 `json:"requests"`
	Limit     float64 `json:"requests_limit"` // zero: none
	Window    float64 `json:"window_seconds"` // in which they count
	InFlight  float64 `json:"in_flight"`
	Places    float64 `json:"in_flight_limit"`
	Waiting   int     `json:"waiting"`
	ClosedFor float64 `json:"closed_for_seconds,omitempty"` // by Retry-After
	Today     uint64  `json:"operations_today"`

	Restraints []string          `json:"restraints,omitempty"` // why not all of it may be used, in words
	Refused    map[string]uint64 `json:"refused,omitempty"`    // calls that were refused here, by reason: spent, learned, cooldown, share, rate
}

// Share is one caller's part of the budget in this window.
type Share struct {
	Name    string `json:"caller"`
	Used    uint64 `json:"requests"`
	Waiting int    `json:"waiting"`
}

const (
	reportAge   = 5 * time.Minute // after which a report is made anew when somebody looks
	refutedAge  = 3 * time.Second // likewise, for one that a call has refuted
	pollsAtOnce = 8
	pollWithin  = time.Minute // one check
)

// Board has the state of every tenant. The fields are set before its first use.
type Board struct {
	Tenants *tenants.Book
	Tokens  *tokens.Source
	Checker *check.Checker
	Budget  func(*tenants.Tenant) (Budget, []Share)
	Log     zerolog.Logger // of faults of the program in the background

	// History, if set, remembers states.
	History *history.History
	// OnChange, if set, is told when a tenant's state has changed. It is called in
	// the background, for one change at a time.
	OnChange func(Change)

	traffic   traffic
	reports   sync.Map // the last check.Report of each tenant, by name
	polling   sync.Map // names of tenants that are being checked in the background
	places    chan struct{}
	ending    context.Context // of what goes on in the background
	end       context.CancelFunc
	begun     sync.Once
	polls     sync.WaitGroup
	quiet     atomic.Bool // whether nothing is to be checked unless somebody looks
	judging   judging
	newcomers newcomers
}

// OnCallDone notes how a call of a tenant ended. A call that fails starts a
// check, if there was none lately.
func (b *Board) OnCallDone(o Outcome) {
	turned, doubted := b.traffic.note(&o)
	if turned {
		b.Judge(o.Tenant)
	}
	if doubted && !b.quiet.Load() {
		b.poll(o.Tenant, 0)
	}
}

// Forget drops the report of a tenant that has changed: its settings are others
// now. What is known of one that is gone goes with Retain.
func (b *Board) Forget(tenant string) {
	b.reports.Delete(tenant)
	b.traffic.pardon(tenant)
}

// Drain ends checks that nobody asks for.
func (b *Board) Drain() { b.quiet.Store(true) }

// check checks t now and keeps the report.
func (b *Board) check(ctx context.Context, t *tenants.Tenant) check.Report {
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	report := b.Checker.Check(ctx, t)
	b.reports.Store(t.Name, report)
	if report.OK {
		b.traffic.clear(t.Name)
	}
	if b.Tenants.Lookup(t.Name) == nil { // gone in the meantime
		b.reports.Delete(t.Name)
	}
	b.Judge(t.Name)
	return report
}

// CheckAnew is a check for somebody who has changed something: what went wrong
// before is not held against the tenant. It reports false if there is none.
func (b *Board) CheckAnew(ctx context.Context, name string) bool {
	name = b.Tenants.Canonical(name)
	t := b.Tenants.Lookup(name)
	if t == nil {
		return b.Tenants.Faults()[name] != nil
	}
	b.Tokens.Retry(t)
	b.check(ctx, t)
	return true
}

// Report returns a report of t that is not older than age.
func (b *Board) Report(ctx context.Context, t *tenants.Tenant, age time.Duration) check.Report {
	if last := b.last(t.Name); last != nil && time.Since(last.At) < age {
		return *last
	}
	return b.check(ctx, t)
}

// Refresh says that somebody looks at these tenants: those whose report is
// missing, old, or refuted by a call that has succeeded since are checked soon,
// in the background.
func (b *Board) Refresh(names []string) {
	for _, name := range names {
		name = b.Tenants.Canonical(name)
		age := reportAge
		if last := b.last(name); last != nil && !last.OK && b.traffic.success(name).After(last.At) {
			age = refutedAge
		}
		b.poll(name, age)
	}
}

// poll has a tenant checked in the background, unless its report is younger
// than age.
func (b *Board) poll(name string, age time.Duration) {
	b.begun.Do(b.begin)
	t := b.Tenants.Lookup(name)
	last := b.last(name)
	if t == nil || last != nil && time.Since(last.At) < age {
		return
	}
	if _, already := b.polling.LoadOrStore(name, struct{}{}); already {
		return
	}
	b.polls.Go(func() { // ends with Close
		defer b.polling.Delete(name)
		b.inPlace(b.ending, b.places, t)
	})
}

func (b *Board) begin() {
	b.places = make(chan struct{}, pollsAtOnce)
	b.ending, b.end = context.WithCancel(context.Background())
	b.judging.asked = make(chan struct{}, 1)
	b.polls.Go(func() { panics.Keep(b.ending, b.Log, "states", b.judgeAll) })
}

// inPlace checks t when there is a place.
func (b *Board) inPlace(ctx context.Context, places chan struct{}, t *tenants.Tenant) {
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-places }()
	defer panics.Recover(b.Log, "check", nil)
	b.check(ctx, t)
}

// Retain forgets tenants that are gone: it is called when one goes, and again
// when calls and checks in flight may have left something behind.
func (b *Board) Retain() {
	there := make(map[string]bool)
	for _, name := range b.Names() {
		there[name] = true
	}
	b.traffic.retain(there)
	b.judging.retain(there)
	b.reports.Range(func(name, _ any) bool {
		if !there[name.(string)] {
			b.reports.Delete(name)
		}
		return true
	})
	if b.History != nil {
		b.History.Retain(func(tenant string) bool { return there[tenant] || len(there) == 0 }) // a directory that is not mounted yet is empty
	}
}

// Close ends checks in the background and waits for their end.
func (b *Board) Close() {
	b.begun.Do(b.begin)
	b.end()
	b.polls.Wait()
}

// Calls is how many calls of a tenant ended in the last hour.
func (b *Board) Calls(tenant string) int { return b.traffic.lastHour(tenant) }

// Names are those of all tenants, sorted, faulty ones included.
func (b *Board) Names() []string {
	names := slices.Collect(maps.Keys(b.Tenants.Faults()))
	for t := range b.Tenants.All() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Tenant is all that is remembered of a tenant, called name in any case of
// letters. It reports false if there is none.
func (b *Board) Tenant(name string) (Tenant, bool) {
	name = b.Tenants.Canonical(name)
	t, fault := b.Tenants.Lookup(name), b.Tenants.Faults()[name]
	if t == nil && fault == nil {
		return Tenant{}, false
	}
	s := Tenant{Name: name, State: b.State(name), Traffic: make([]int, 0)}
	if fault != nil {
		s.Fault = fault.Error()
	}
	if t == nil {
		report := check.Faulty(name, fault)
		s.Report = &report
		return s, true
	}
	s.Name, s.Organization, s.Report = t.Name, t.Org, b.last(t.Name)
	seen := b.traffic.view(t.Name)
	s.Traffic, s.Success, s.Failures = seen.Calls, seen.Success, seen.Failures
	s.Credential, s.CredentialEnds = b.Tokens.Credential(t)
	s.TokenEnds, _, _ = b.Tokens.Held(t)
	s.Budget, s.Callers = b.Budget(t)
	s.Trouble = b.traffic.trouble(t.Name)
	if b.History != nil {
		s.History, s.Gaps = b.History.Of(t.Name), b.History.Gaps()
	}
	if n := len(s.History); n > 0 && s.History[n-1].State == string(s.State) {
		s.Since = s.History[n-1].At
	}
	return s, true
}

func (b *Board) last(name string) *check.Report {
	if r, ok := b.reports.Load(name); ok {
		report := r.(check.Report)
		return &report
	}
	return nil
}

// AnyServed reports whether some tenant can be served: unless every tenant's
// last try for a token has failed, nothing speaks against it. When all have,
// one is tried again.
func (b *Board) AnyServed(ctx context.Context) bool {
	var last *tenants.Tenant
	for t := range b.Tenants.All() {
		expires, failed, known := b.Tokens.Held(t)
		if !known || !failed || time.Now().Before(expires) {
			return true
		}
		last = t
	}
	if last == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := b.Tokens.Token(ctx, last)
	return err == nil
}
