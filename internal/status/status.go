// Package status knows how each tenant is: from its last check, from the calls
// that went through, from its token and its budget. It is what portal, API and
// readiness read. Nothing is asked of an organization unless somebody looks:
// its budget is for callers.
package status

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/check"
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
	Fault          string        `json:"fault,omitempty"` // why its settings cannot be used
	Report         *check.Report `json:"chain,omitempty"` // the last check, if there was one
	Success        time.Time     `json:"last_success,omitzero"`
	TokenEnds      time.Time     `json:"token_expires,omitzero"`
	Credential     string        `json:"credential,omitempty"` // secret, certificate ...
	CredentialEnds time.Time     `json:"credential_expires,omitzero"`
	Budget         Budget        `json:"budget"`
	Traffic        []int         `json:"calls_a_minute"` // of the last hour, the oldest first
	Failures       []Failure     `json:"recent_errors,omitempty"`
	Callers        []Share       `json:"callers,omitempty"`
}

// Budget is how far a tenant's budget is spent.
type Budget struct {
	Mode      string  `json:"mode"` // enforce, report or off
	Requests  float64 `json:"requests"`
	Limit     float64 `json:"requests_limit"` // zero: none
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

	traffic   traffic
	reports   sync.Map // the last check.Report of each tenant, by name
	polling   sync.Map // names of tenants that are being checked in the background
	places    chan struct{}
	ending    context.Context // of what goes on in the background
	end       context.CancelFunc
	begun     sync.Once
	polls     sync.WaitGroup
	newcomers newcomers
}

// OnCallDone notes how a call of a tenant ended: "" for a success, else the
// refusal's code or "status 503".
func (b *Board) OnCallDone(tenant, code string) { b.traffic.note(tenant, code) }

// Forget drops the report of a tenant that has changed, and all that is known
// of one that is gone.
func (b *Board) Forget(tenant string, gone bool) {
	b.reports.Delete(tenant)
	if gone {
		b.traffic.forget(tenant)
	}
}

// Check checks t now and keeps the report.
func (b *Board) Check(ctx context.Context, t *tenants.Tenant) check.Report {
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	report := b.Checker.Check(ctx, t)
	b.reports.Store(t.Name, report)
	return report
}

// CheckAnew is Check for somebody who has changed something: what went wrong
// before is not held against the tenant. It reports false if there is none.
func (b *Board) CheckAnew(ctx context.Context, name string) bool {
	t := b.Tenants.Lookup(name)
	if t == nil {
		return b.Tenants.Faults()[name] != nil
	}
	b.Tokens.Retry(t)
	b.Check(ctx, t)
	return true
}

// Report returns a report of t that is not older than age.
func (b *Board) Report(ctx context.Context, t *tenants.Tenant, age time.Duration) check.Report {
	if last := b.last(t.Name); last != nil && time.Since(last.At) < age {
		return *last
	}
	return b.Check(ctx, t)
}

// Refresh says that somebody looks at these tenants: those whose report is
// missing or old are checked soon, in the background.
func (b *Board) Refresh(names []string) {
	b.begun.Do(b.begin)
	for _, name := range names {
		t := b.Tenants.Lookup(name)
		last := b.last(name)
		if t == nil || last != nil && time.Since(last.At) < reportAge {
			continue
		}
		if _, already := b.polling.LoadOrStore(name, struct{}{}); !already {
			b.polls.Go(func() { b.poll(t, name) }) // ends with Close
		}
	}
}

func (b *Board) begin() {
	b.places = make(chan struct{}, pollsAtOnce)
	b.ending, b.end = context.WithCancel(context.Background())
}

func (b *Board) poll(t *tenants.Tenant, name string) {
	defer b.polling.Delete(name)
	select {
	case b.places <- struct{}{}:
	case <-b.ending.Done():
		return
	}
	defer func() {
		<-b.places
		if recovered := recover(); recovered != nil {
			panics.Log(b.Log, "check", recovered)
		}
	}()
	b.Check(b.ending, t)
}

// Close ends checks in the background and waits for their end.
func (b *Board) Close() {
	b.begun.Do(b.begin)
	b.end()
	b.polls.Wait()
}

// Names are those of all tenants, sorted, faulty ones included.
func (b *Board) Names() []string {
	names := slices.Collect(maps.Keys(b.Tenants.Faults()))
	for t := range b.Tenants.All() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// State sums up what is remembered of a tenant. A call that has succeeded
// since says more than a check.
func (b *Board) State(name string) State {
	if b.Tenants.Faults()[name] != nil {
		return Broken
	}
	report := b.last(name)
	success := b.traffic.success(name)
	switch {
	case report == nil && success.IsZero():
		return Unchecked
	case report == nil, !report.OK && success.After(report.At):
		return Ready
	case !report.OK:
		return Broken
	case report.FirstProblem().Name != "":
		return Attention
	}
	return Ready
}

// Tenant is all that is remembered of a tenant. It reports false if there is
// none.
func (b *Board) Tenant(name string) (Tenant, bool) {
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
