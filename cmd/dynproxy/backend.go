package main

import (
	"context"
	"strings"
	"time"

	"dynproxy/consent"
	"dynproxy/internal/check"
	"dynproxy/internal/entra"
	"dynproxy/internal/limits"
	"dynproxy/internal/notify"
	"dynproxy/internal/problem"
	"dynproxy/internal/status"
	"dynproxy/internal/tokens"
	"dynproxy/proxy"
	"dynproxy/tenants"
)

// watchedAge is how old a report may be that an administrator sees who waits
// before a page.
const watchedAge = 3 * time.Second

// budget is how far t's budget is spent, and by whom.
func (h *server) budget(t *tenants.Tenant) (status.Budget, []status.Share) {
	return budgetOf(t, h.gate.Snapshot(proxy.BudgetKey(t, h.tokens.ClientID(t))))
}

func budgetOf(t *tenants.Tenant, s limits.State) (status.Budget, []status.Share) {
	b := status.Budget{
		Mode: t.Limits, Window: t.Window.Seconds(), Requests: s.Requests.Used + s.Requests.HeldBack, Limit: s.Requests.Limit,
		InFlight: s.Concurrency.Used, Places: s.Concurrency.Limit, Waiting: s.Waiting, ClosedFor: s.ClosedFor.Seconds(), Today: s.Operations,
	}
	b.Restraints = s.Restraints()
	for reason, n := range s.RefusedFor {
		if n > 0 {
			if b.Refused == nil {
				b.Refused = make(map[string]uint64)
			}
			b.Refused[limits.Reason(reason).String()] = n
		}
	}
	if b.Limit == 0 { // nobody has called yet
		b.Limit, b.Places = float64(t.Requests), float64(t.Concurrency)
	}
	var shares []status.Share
	for _, c := range s.Callers {
		shares = append(shares, status.Share{Name: c.Name, Used: c.Used, Waiting: c.Waiting})
	}
	return b, shares
}

// consentBackend is what an administrator's pages are made of.
type consentBackend struct {
	*app
	board   *status.Board
	notices *notify.Notifier
	tell    func(tenant string) // the other proxies, that access was granted
}

// ConsentLink is consent.Backend's.
func (b consentBackend) ConsentLink(ctx context.Context, name, state string) (string, bool) {
	t := b.book.Lookup(name)
	if t == nil {
		return "", false
	}
	authority, err := b.tokens.Authority(ctx, t)
	if err != nil {
		return "", false
	}
	return entra.ConsentURL(authority.Login, authority.TenantID, b.tokens.ClientID(t), t.Org, b.config().redirectURI(), state), true
}

// dataverseApp is Dataverse itself, in every tenant that has it: what stands in
// the scope where the organization is not known yet.
const dataverseApp = "00000007-0000-0000-c000-000000000000"

// NewcomerLink is consent.Backend's.
func (b consentBackend) NewcomerLink(ctx context.Context, state string) string {
	return entra.ConsentURL(b.login(ctx), "organizations", b.config().registration.ClientID, dataverseApp, b.config().redirectURI(), state)
}

// login is the login host of the cloud in which the app registration is: the
// setting's, else that of a tenant which uses the registration.
func (b consentBackend) login(ctx context.Context) string {
	if set := b.config().rules.Defaults["LOGIN_HOST"]; set != "" {
		return set
	}
	within, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for t := range b.book.All() {
		if b.tokens.ClientID(t) != b.config().registration.ClientID {
			continue
		}
		if authority, err := b.tokens.Authority(within, t); err == nil {
			return authority.Login
		}
		if within.Err() != nil {
			break
		}
	}
	return "login.microsoftonline.com"
}

// Welcome is consent.Backend's.
func (b consentBackend) Welcome(tenantID, from string) {
	if b.board.Welcome(tenantID, from) {
		b.log.Info().Str("tenant_id", strings.ToLower(tenantID)).Str("remote", from).
			Msg("an administrator says to have granted access; add the tenant to prove it")
		b.notices.Newcomer(strings.ToLower(tenantID), from)
	}
}

// Granted is consent.Backend's.
func (b consentBackend) Granted(name string) {
	b.tell(name)
	b.notices.ConsentGiven(name)
}

// Prove is consent.Backend's.
func (b consentBackend) Prove(ctx context.Context, name string) problem.Code {
	t := b.book.Lookup(name)
	if t == nil {
		return problem.TenantUnknown
	}
	b.tokens.Retry(t)
	_, err := b.tokens.Token(ctx, t)
	if err == nil {
		return ""
	}
	code, _, _ := tokens.Advice(err)
	return code
}

// Report is consent.Backend's.
func (b consentBackend) Report(ctx context.Context, name string) (check.Report, bool) {
	t := b.book.Lookup(name)
	if t == nil {
		return check.Report{}, false
	}
	return b.board.Report(ctx, t, watchedAge), true
}

// Facts is consent.Backend's.
func (b consentBackend) Facts(ctx context.Context, name string) (consent.Facts, bool) {
	t := b.book.Lookup(name)
	if t == nil {
		return consent.Facts{}, false
	}
	facts := consent.Facts{Organization: t.Org, ClientID: b.tokens.ClientID(t)}
	within, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if authority, err := b.tokens.Authority(within, t); err == nil {
		facts.TenantID = authority.TenantID
	}
	return facts, true
}
