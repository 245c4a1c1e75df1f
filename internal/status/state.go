package status

import (
	"maps"
	"sync"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/problem"
	"dynproxy/internal/tokens"
	"dynproxy/tenants"
)

// Change is that a tenant is in another state than before.
type Change struct {
	Tenant  string
	From    State // Unchecked where nothing was known
	To      State
	Code    string // what callers get because of it, "" where they get answers
	Finding string // what is wrong, in words
	Next    string // what to do
	At      time.Time
}

// State sums up what is remembered of a tenant. What happened last says most:
// a call that has succeeded since a check found fault, or the other way round.
func (b *Board) State(name string) State {
	if b.Tenants.Faults()[name] != nil {
		return Broken
	}
	report, success := b.last(name), b.traffic.success(name)
	if failing := b.traffic.trouble(name); failing != nil && !failing.turned.IsZero() {
		return failing.state(report)
	}
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

// state is the tenant's whose calls fail. A check that was made since and finds
// all well says of a failure for certain that it is over, and of others that it
// is not all calls that fail: until as many have failed again, for no check does
// what callers do.
func (t *Trouble) state(report *check.Report) State {
	since := t.turned
	if t.certain {
		since = t.Last
	}
	if report == nil || !report.OK || !report.At.After(since) {
		return Broken
	}
	quiet := report.At.Sub(t.Last)
	switch {
	case !t.certain && t.against >= inARow && quiet < believedAfter:
		return Broken
	case (t.certain || quiet > forgottenAfter) && report.FirstProblem().Name == "":
		return Ready
	}
	return Attention
}

// judging finds out which states have changed, one after the other and apart
// from the calls that have changed them.
type judging struct {
	asked chan struct{}

	mu     sync.Mutex // guards what follows
	names  map[string]bool
	states map[string]State
}

func (j *judging) retain(there map[string]bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.states, func(tenant string, _ State) bool { return !there[tenant] })
}

// Judge says that the tenant's state may have changed. What follows from it
// follows soon.
func (b *Board) Judge(tenant string) {
	b.begun.Do(b.begin)
	j := &b.judging
	j.mu.Lock()
	if j.names == nil {
		j.names, j.states = make(map[string]bool), make(map[string]State)
	}
	j.names[tenant] = true
	j.mu.Unlock()
	select {
	case j.asked <- struct{}{}:
	default: // it knows
	}
}

// judgeAll tells of changes until Close.
func (b *Board) judgeAll() {
	for {
		select {
		case <-b.ending.Done():
			return
		case <-b.judging.asked:
		}
		b.judging.mu.Lock()
		names := b.judging.names
		b.judging.names = make(map[string]bool)
		b.judging.mu.Unlock()
		for name := range names {
			if change, changed := b.change(name); changed {
				b.tell(change)
			}
		}
	}
}

// change compares the tenant's state with what it was when it was judged last.
func (b *Board) change(name string) (Change, bool) {
	t, fault := b.Tenants.Lookup(name), b.Tenants.Faults()[name]
	state := b.State(name)
	if t == nil && fault == nil || state == Unchecked {
		return Change{}, false
	}
	j := &b.judging
	j.mu.Lock()
	before, known := j.states[name]
	j.states[name] = state
	j.mu.Unlock()
	if !known {
		before = Unchecked
	}
	c := Change{Tenant: name, From: before, To: state, At: time.Now()}
	if fault != nil {
		c.Finding, c.Next = "its settings cannot be used: "+fault.Error(), "Correct them; until then it stays as it was."
	} else if state != Ready {
		b.explain(&c, t)
	}
	return c, before != state
}

// explain says why t is not well, and what to do.
func (b *Board) explain(c *Change, t *tenants.Tenant) {
	b.find(c)
	if c.Next == "" {
		b.advise(c, t)
	}
	switch {
	case c.Code == string(problem.ConsentRequired): // its link is for one administrator's eyes
		c.Next = "Send its administrator the link that the portal shows and 'dynproxy consent-url " + c.Tenant + "' prints."
	case c.Next == "":
		c.Next = "See what 'dynproxy check " + c.Tenant + "' finds; 'dynproxy tail --failed --tenant " + c.Tenant + "' shows the calls that fail."
	}
}

// find says what the last check and the calls since have shown.
func (b *Board) find(c *Change) {
	report := b.last(c.Tenant)
	if failing := b.traffic.trouble(c.Tenant); failing != nil && (report == nil || report.OK || failing.Last.After(report.At)) {
		c.Code, c.Finding, c.Next = failing.Code, "calls fail with "+failing.Code, failing.next
	}
	if report == nil {
		return
	}
	if c.Code == "" {
		c.Code = report.Error
	}
	found := report.FirstProblem()
	if found.Name == "" || c.Code != "" && report.Error != "" && c.Code != report.Error {
		return
	}
	c.Finding, c.Next = found.Name+": "+found.Finding, found.Next
}

// advise says what keeps t from a token, if its calls fail of that: no check
// has said so yet, since it begins with them.
func (b *Board) advise(c *Change, t *tenants.Tenant) {
	if _, failed := b.Tokens.Outlook(b.ending, t); failed != nil {
		if code, finding, next := tokens.Advice(failed); string(code) == c.Code {
			c.Finding, c.Next = finding, next
		}
	}
}

// tell passes a change on.
func (b *Board) tell(c Change) {
	if c.To == Broken {
		b.traffic.doubt(c.Tenant)
	}
	if b.History != nil {
		b.History.Note(c.Tenant, string(c.To), c.Code, c.At)
	}
	if b.OnChange != nil {
		b.OnChange(c)
	}
	if b.State(c.Tenant) != c.To { // in the meantime
		b.Judge(c.Tenant)
	}
}
