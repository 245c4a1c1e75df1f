package status

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/check"
	"dynproxy/internal/secret"
	"dynproxy/internal/tokens"
	"dynproxy/tenants"
)

// board is one of tenants that nothing leads to.
func board(t *testing.T, names ...string) *Board {
	t.Helper()
	list := make(map[string]string)
	for _, name := range names {
		list[name] = "https://" + name + ".crm.dynamics.com"
	}
	hosts, err := tenants.OrganizationHosts(nil)
	if err != nil {
		t.Fatal(err)
	}
	book, err := tenants.Open(list, "", &tenants.Rules{Organizations: hosts, Logins: tenants.AnyHost()})
	if err != nil {
		t.Fatal(err)
	}
	source, err := tokens.New(tokens.Options{
		Registration: tenants.Registration{ClientID: "11111111-1111-4111-8111-111111111111", Secret: secret.New("a secret of the app")}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	return &Board{Tenants: book, Tokens: source, Budget: func(*tenants.Tenant) (Budget, []Share) { return Budget{}, nil }}
}

// found is a report as a check makes it.
func found(ok bool, problem string) check.Report {
	r := check.Report{At: time.Now(), OK: ok, Links: []check.Link{{Name: check.Answer, State: check.OK}}}
	switch {
	case !ok:
		r.Error = problem
		r.Links = append(r.Links, check.Link{Name: check.Consent, State: check.Broken, Finding: "found", Next: "do"})
	case problem != "":
		r.Links = append(r.Links, check.Link{Name: check.Role, State: check.Warning, Finding: problem})
	}
	return r
}

// Whose fault a failure is decides whether it turns the tenant's state: at once,
// the third time in a row, or never.
func TestWhoseFaultAFailureIs(t *testing.T) {
	for name, x := range map[string]struct {
		Outcome
		turns int // how many of them it takes
	}{
		"consent":                {Outcome{Error: "consent_required", Status: 502}, 1},
		"credential":             {Outcome{Error: "credential_rejected", Status: 502}, 1},
		"settings":               {Outcome{Error: "tenant_misconfigured", Status: 502}, 1},
		"no token":               {Outcome{Error: "token_unavailable", Status: 503}, 1},
		"a token refused":        {Outcome{Error: "token_refused", Status: 502}, 1},
		"no application user":    {Outcome{Status: 403, Hint: "application_user_missing"}, 1},
		"a disabled user":        {Outcome{Status: 403, Hint: "user_disabled"}, 1},
		"a firewall":             {Outcome{Status: 403, Hint: "ip_firewall"}, 1},
		"an app blocked":         {Outcome{Status: 403, Hint: "app_access_denied"}, 1},
		"a page":                 {Outcome{Error: "not_an_answer", Status: 502}, 3},
		"no connection":          {Outcome{Error: "upstream_unreachable", Status: 502}, 3},
		"no answer":              {Outcome{Error: "upstream_timeout", Status: 504}, 3},
		"organization 500":       {Outcome{Status: 500}, 3},
		"organization 503":       {Outcome{Status: 503}, 3},
		"a caller's 404":         {Outcome{Status: 404}, 0},
		"a caller's 412":         {Outcome{Status: 412}, 0},
		"a caller's 400":         {Outcome{Status: 400}, 0},
		"another 403":            {Outcome{Status: 403}, 0},
		"one privilege":          {Outcome{Status: 403, Hint: "privilege_missing"}, 0},
		"throttled":              {Outcome{Status: 429, Hint: "throttled"}, 0},
		"our own 429":            {Outcome{Error: "limit_wait_exceeded", Status: 429}, 0},
		"a policy":               {Outcome{Error: "path_not_allowed", Status: 403}, 0},
		"a caller's bad request": {Outcome{Error: "bad_request", Status: 400}, 0},
		"one that left":          {Outcome{Error: "caller_left", Status: 499}, 0},
		"no room":                {Outcome{Error: "out_of_space", Status: 507}, 0},
		"a fault of ours":        {Outcome{Error: "internal_error", Status: 500}, 0},
		"cut off":                {Outcome{Status: 200}, 0},
	} {
		b := board(t, "contoso")
		x.Tenant, x.Failure = "contoso", "failure"
		for n := 1; n <= 2*inARow; n++ {
			b.traffic.note(&x.Outcome)
			want := Unchecked
			if x.turns > 0 && n >= x.turns {
				want = Broken
			}
			if got := b.State("contoso"); got != want {
				t.Errorf("%s, %d times: %s, want %s", name, n, got, want)
			}
		}
		b.traffic.note(&Outcome{Tenant: "contoso"})
		if got := b.State("contoso"); got != Ready {
			t.Errorf("%s, then a success: %s", name, got)
		}
	}
}

// What happened last says most: calls and checks turn a state by turns.
func TestCallsAndChecksTurnAState(t *testing.T) {
	b := board(t, "contoso")
	is := func(what string, want State) {
		t.Helper()
		if got := b.State("contoso"); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		time.Sleep(time.Millisecond) // what comes next is later, by a coarse clock too
	}
	call := func(o Outcome) { o.Tenant = "contoso"; b.traffic.note(&o) }
	checked := func(r check.Report) { b.reports.Store("contoso", r) }
	fails := Outcome{Failure: "status 503", Status: 503}
	is("nothing known", Unchecked)
	checked(found(false, "consent_required"))
	is("a check finds fault", Broken)
	call(Outcome{})
	is("a call succeeds since", Ready)
	call(fails)
	call(Outcome{})
	call(fails)
	call(fails)
	is("stray failures", Ready)
	call(fails)
	is("three in a row", Broken)
	checked(found(true, ""))
	is("a check finds all well, calls have failed", Attention)
	b.traffic.clear("contoso")
	call(fails)
	call(fails)
	is("two more fail", Attention)
	call(fails)
	is("as many fail again: a check does not do what callers do", Broken)
	checked(found(true, ""))
	b.traffic.clear("contoso")
	is("and is not believed again at once", Broken)
	later := found(true, "")
	later.At = time.Now().Add(believedAfter + time.Minute)
	checked(later)
	is("but is when nothing has failed for a while", Attention)
	later.At = time.Now().Add(forgottenAfter + time.Minute)
	checked(later)
	is("or for long", Ready)
	checked(found(false, "upstream_timeout"))
	is("the next check finds fault", Broken)
	call(Outcome{})
	is("a success", Ready)
	call(Outcome{Failure: "token_refused", Error: "token_refused", Status: 502})
	is("one failure that is certain", Broken)
	checked(found(true, ""))
	is("a check that finds it over", Ready)
	checked(found(true, "may not read accounts"))
	is("a warning", Attention)
}

// Every change is told once, with what is behind it; one that was over before
// it could be told is not.
func TestChangesAreTold(t *testing.T) {
	b := board(t, "contoso")
	told := make(chan Change, 10)
	b.OnChange = func(c Change) { told <- c }
	t.Cleanup(b.Close)
	next := func() Change {
		t.Helper()
		select {
		case c := <-told:
			return c
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is told")
			return Change{}
		}
	}
	b.Drain() // nothing to check here
	b.OnCallDone(Outcome{Tenant: "contoso"})
	if c := next(); c.From != Unchecked || c.To != Ready || c.Code != "" {
		t.Errorf("%+v", c)
	}
	b.OnCallDone(Outcome{Tenant: "contoso", Failure: "consent_required", Error: "consent_required", Status: 502})
	if c := next(); c.From != Ready || c.To != Broken || c.Code != "consent_required" || !strings.Contains(c.Next, "dynproxy consent-url contoso") {
		t.Errorf("%+v", c)
	}
	for range 5 {
		b.OnCallDone(Outcome{Tenant: "contoso", Failure: "consent_required", Error: "consent_required", Status: 502})
	}
	b.OnCallDone(Outcome{Tenant: "contoso"})
	if c := next(); c.From != Broken || c.To != Ready {
		t.Errorf("%+v", c)
	}
	r := found(false, "consent_required")
	b.reports.Store("contoso", r)
	b.Judge("contoso")
	if c := next(); c.To != Broken || c.Finding != "consent: found" || c.Next == "do" {
		t.Errorf("%+v", c) // its next step is a link that is not for everybody
	}
	b.OnCallDone(Outcome{Tenant: "nobody", Failure: "consent_required", Error: "consent_required", Status: 502})
	b.OnCallDone(Outcome{Tenant: "contoso"})
	if c := next(); c.Tenant != "contoso" || c.To != Ready {
		t.Errorf("%+v", c)
	}
	b.Retain()
	if b.traffic.trouble("nobody") != nil {
		t.Error("a stranger is remembered")
	}
}

func TestACallThatSucceedsCostsNoMemory(t *testing.T) {
	b := board(t, "contoso")
	t.Cleanup(b.Close)
	b.OnCallDone(Outcome{Tenant: "contoso"})
	if n := testing.AllocsPerRun(1000, func() { b.OnCallDone(Outcome{Tenant: "contoso"}) }); n > 0 {
		t.Errorf("%v", n)
	}
}
