package main

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"dynproxy/consent"
	"dynproxy/internal/check"
	"dynproxy/internal/entra"
	"dynproxy/internal/limits"
	"dynproxy/internal/problem"
	"dynproxy/portal"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

const (
	reportAge   = 5 * time.Minute // after which a report is made anew when somebody looks
	watchedAge  = 3 * time.Second // likewise, for an administrator who waits before a page
	looksAtOnce = 8
)

// looks are the last reports of tenants, by name, and what is being looked at.
// Nothing is looked at unless somebody looks: an organization's budget is for
// callers.
type looks struct {
	reports sync.Map // string to check.Report
	flights sync.Map // string to struct{}

	once   sync.Once
	places chan struct{}
}

func (l *looks) forget(name string) { l.reports.Delete(name) }

func (l *looks) last(name string) *check.Report {
	if r, ok := l.reports.Load(name); ok {
		report := r.(check.Report)
		return &report
	}
	return nil
}

// look walks t's chain now.
func (h *house) look(ctx context.Context, t *tenants.Tenant) check.Report {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	report := h.doctor().Check(ctx, t)
	h.looks.reports.Store(t.Name, report)
	return report
}

// lookSoon walks the chains of those whose report is missing or old, in the
// background. A call that has just succeeded says more than a check would.
func (h *house) lookSoon(names []string) {
	l := &h.looks
	l.once.Do(func() { l.places = make(chan struct{}, looksAtOnce) })
	for _, name := range names {
		t := h.book.Lookup(name)
		last := l.last(name)
		if t == nil || last != nil && time.Since(last.At) < reportAge {
			continue
		}
		if _, flies := l.flights.LoadOrStore(name, struct{}{}); flies {
			continue
		}
		go func() {
			defer l.flights.Delete(name)
			l.places <- struct{}{}
			defer func() { <-l.places }()
			h.look(h.tokens.ending, t)
		}()
	}
}

func (h *house) portalHouse() portal.House {
	return portal.House{
		Names: h.names, State: h.stateOf, Tenant: h.facts, Look: h.lookSoon,
		Check: func(r *http.Request, name string) bool {
			t := h.book.Lookup(name)
			if t == nil {
				return h.book.Faults()[name] != nil
			}
			h.tokens.retry(t)
			h.look(r.Context(), t)
			return true
		},
		ConsentLink: func(name string) string { return h.cfg.opsURL() + "/consent/" + name },
	}
}

// names are those of all tenants, faulty ones included.
func (h *house) names() []string {
	names := slices.Collect(maps.Keys(h.book.Faults()))
	for t := range h.book.All() {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stateOf sums up what is remembered of a tenant.
func (h *house) stateOf(name string) portal.State {
	if h.book.Faults()[name] != nil {
		return portal.Broken
	}
	report := h.looks.last(name)
	worked := h.traffic.Success(name)
	switch {
	case report == nil && worked.IsZero():
		return portal.Unchecked
	case report == nil, !report.OK && worked.After(report.At):
		return portal.Ready
	case !report.OK:
		return portal.Broken
	case report.Ailing().Name != "":
		return portal.Attention
	}
	return portal.Ready
}

// facts is all that is remembered of a tenant.
func (h *house) facts(name string) (portal.Tenant, bool) {
	t, fault := h.book.Lookup(name), h.book.Faults()[name]
	if t == nil && fault == nil {
		return portal.Tenant{}, false
	}
	facts := portal.Tenant{Name: name, State: h.stateOf(name), Traffic: make([]int, 0)}
	if fault != nil {
		facts.Fault = fault.Error()
	}
	if t == nil {
		report := check.Faulty(name, fault)
		facts.Report = &report
		return facts, true
	}
	facts.Name, facts.Organization, facts.Report = t.Name, t.Org, h.looks.last(t.Name)
	view := h.traffic.View(t.Name)
	facts.Traffic, facts.Success = view.Calls, view.Success
	for _, f := range view.Failures {
		facts.Failures = append(facts.Failures, portal.Failure(f))
	}
	facts.Proof, facts.ProofEnds = h.tokens.proof(t)
	if s, ok := h.tokens.held.Load(t); ok {
		facts.TokenEnds, _ = s.(*entra.Source).Held()
	}
	facts.Budget, facts.Callers = budgetFacts(t, h.gate.Snapshot(proxy.BudgetKey(t, h.tokens.ClientID(t))))
	return facts, true
}

func budgetFacts(t *tenants.Tenant, s limits.State) (portal.Budget, []portal.Share) {
	b := portal.Budget{
		Mode: t.Limits, Requests: s.Requests.Used + s.Requests.HeldBack, Limit: s.Requests.Limit,
		InFlight: s.Concurrency.Used, Places: s.Concurrency.Limit, Waiting: s.Waiting, ClosedFor: s.ClosedFor.Seconds(), Today: s.Operations,
	}
	if b.Limit == 0 { // nobody has called yet
		b.Limit, b.Places = float64(t.Requests), float64(t.Concurrency)
	}
	var shares []portal.Share
	for _, c := range s.Callers {
		shares = append(shares, portal.Share{Name: c.Name, Used: c.Used, Waiting: c.Waiting})
	}
	return b, shares
}

// consentHouse is what an administrator's pages are made of.
func (h *house) consentHouse() consent.House {
	return consent.House{
		Key: h.tokens.key,
		Link: func(r *http.Request, name, state string) (string, bool) {
			t := h.book.Lookup(name)
			if t == nil {
				return "", false
			}
			authority, err := h.tokens.authority(r.Context(), t)
			if err != nil {
				return "", false
			}
			return entra.ConsentURL(authority.Login, authority.TenantID, h.tokens.ClientID(t), t.Org, h.cfg.redirectURI(), state), true
		},
		Prove: func(r *http.Request, name string) string {
			t := h.book.Lookup(name)
			if t == nil {
				return "the tenant is gone."
			}
			h.tokens.retry(t)
			if _, err := h.tokens.Token(r.Context(), t); err != nil {
				code, _ := advice(err)
				if code == string(problem.ConsentRequired) {
					return "access has not been granted, or not to this app."
				}
				return "the app's owner must look at it (" + code + ")."
			}
			return ""
		},
		Report: func(r *http.Request, name string) (check.Report, bool) {
			t := h.book.Lookup(name)
			if t == nil {
				return check.Report{}, false
			}
			if last := h.looks.last(t.Name); last != nil && time.Since(last.At) < watchedAge {
				return *last, true
			}
			return h.look(r.Context(), t), true
		},
		Facts: func(name string) consent.Facts {
			t := h.book.Lookup(name)
			if t == nil {
				return consent.Facts{}
			}
			return consent.Facts{Organization: t.Org, ClientID: h.tokens.ClientID(t), Call: h.curlLine(t)}
		},
	}
}

// curlLine is a call that works when the tenant is ready.
func (h *house) curlLine(t *tenants.Tenant) string {
	base := h.cfg.PublicURL
	if base == "" {
		base = "http://" + h.cfg.Listen
		if h.cfg.TLSCertFile != "" {
			base = "https://" + h.cfg.Listen
		}
	}
	return "curl " + base + "/" + t.Name + "/api/data/v9.2/WhoAmI"
}

// consentKey is the same in every proxy and command of one registration, so
// that a link may be printed here and answered there.
func consentKey(r tenants.Registration) consent.Key {
	for _, file := range []string{r.CertificateFile, r.SecretFile} {
		if file != "" {
			if text, err := os.ReadFile(file); err == nil {
				return consent.NewKey(text)
			}
		}
	}
	return consent.NewKey([]byte(r.Secret.Reveal()))
}
