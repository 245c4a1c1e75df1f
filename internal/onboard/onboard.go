// Package onboard goes the whole way of a tenant with the people who have to do
// something on it: it checks the tenant until all is well, and says each time
// who has to do what.
package onboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/entra"
	"dynproxy/internal/problem"
	"dynproxy/internal/tokens"
	"dynproxy/tenants"
)

// Step is one thing that is told.
type Step struct {
	Step  string `json:"step"`  // settings, then names of checks, then done
	State string `json:"state"` // done, waiting, failed
	Text  string `json:"text"`
	Link  string `json:"link,omitempty"`
}

// ErrStuck says that something is wrong that waiting does not cure. It has been
// told.
var ErrStuck = errors.New("the tenant is not ready, and waiting is no cure")

// Guide takes one tenant in.
type Guide struct {
	Tenant  *tenants.Tenant
	Tokens  *tokens.Source
	Check   func(ctx context.Context, t *tenants.Tenant) check.Report
	Consent func(a entra.Authority) string // the link for the tenant's administrator
	Call    string                         // a line that works when all is done
	Tell    func(Step)

	// CreateUser lets an administrator sign in by device code and creates the
	// application user, with the security role Role.
	CreateUser           bool
	Role                 string
	Login, Organizations http.RoundTripper

	created bool
}

const (
	firstPause   = time.Second
	longestPause = 10 * time.Second
)

// Run checks again and again until all is well. It ends with ctx's cause, or
// with ErrStuck.
func (g *Guide) Run(ctx context.Context) error {
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		g.Tokens.Retry(g.Tenant)
		report := g.Check(ctx, g.Tenant)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if report.OK {
			g.arrived(report)
			return nil
		}
		if err := g.help(ctx, report.Error, report.FirstProblem()); err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// arrived tells of the end of the way.
func (g *Guide) arrived(report check.Report) {
	for _, l := range report.Links {
		if l.State == check.Warning {
			g.Tell(Step{Step: l.Name, State: "done", Text: l.Finding + ". " + l.Next})
		}
	}
	g.Tell(Step{Step: "done", State: "done", Text: g.Tenant.Name + " is ready. With the proxy running:", Link: g.Call})
}

// help does what can be done about a problem, and says what somebody else has
// to do. An error ends the way: waiting is no cure.
func (g *Guide) help(ctx context.Context, code string, l check.Link) error {
	user := l.Name == check.ApplicationUser || l.Name == check.Role
	switch {
	case l.Name == check.Consent:
		return g.askForConsent(ctx)
	case user && g.CreateUser && !g.created:
		g.created = true
		return g.createUser(ctx)
	case user, passes(code), l.Name == check.Answer && code != string(problem.TokenRefused):
		g.Tell(Step{Step: l.Name, State: "waiting", Text: l.Finding + ". " + l.Next})
		return nil
	}
	g.Tell(Step{Step: l.Name, State: "failed", Text: l.Finding + ". Next: " + l.Next})
	return ErrStuck
}

// passes reports whether a problem goes by itself: Entra ID that is busy, a
// service protection limit.
func passes(code string) bool {
	return code == string(problem.TokenUnavailable) || strings.HasPrefix(code, "0x8007232")
}

func (g *Guide) askForConsent(ctx context.Context) error {
	authority, err := g.Tokens.Authority(ctx, g.Tenant)
	if err != nil {
		return nil // the next check says what is wrong
	}
	g.Tell(Step{
		Step: check.Consent, State: "waiting", Text: "let an administrator of the tenant open this link and accept",
		Link: g.Consent(authority),
	})
	return nil
}

// createUser lets an administrator sign in and sets the application user up.
func (g *Guide) createUser(ctx context.Context) error {
	authority, err := g.Tokens.Authority(ctx, g.Tenant)
	if err != nil {
		_, finding, next := tokens.Advice(err)
		return fmt.Errorf("%s %s", finding, next)
	}
	clientID := g.Tokens.ClientID(g.Tenant)
	header, err := entra.SignIn(ctx, g.Login, authority, clientID, g.Tenant.Org, func(message string) {
		g.Tell(Step{Step: "sign-in", State: "waiting", Text: message})
	})
	if err != nil {
		return fmt.Errorf("sign in as an administrator: %w", err)
	}
	who := administrator{organization: g.Tenant.Org, header: header, transport: g.Organizations}
	id, err := who.create(ctx, clientID, g.Role)
	if err != nil {
		return fmt.Errorf("set up the application user: %w", err)
	}
	g.Tell(Step{Step: check.ApplicationUser, State: "done", Text: id + " with the role " + g.Role})
	return nil
}
