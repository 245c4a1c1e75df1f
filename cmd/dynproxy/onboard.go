package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"dynproxy/consent"
	"dynproxy/internal/appuser"
	"dynproxy/internal/check"
	"dynproxy/internal/entra"
	"dynproxy/tenants"
)

// onboarding is what the command was asked for.
type onboarding struct {
	sets       []string
	asJSON     bool
	within     time.Duration
	createUser bool
	role       string
	noBrowser  bool
}

func (w *world) onboard() *cobra.Command {
	var o onboarding
	c := &cobra.Command{
		Use: "onboard NAME ORG_URL", Short: "Take a tenant in: its file, consent, application user, first call",
		Long: "Goes the whole way of a tenant and waits where somebody has to do something: adds its file to TENANTS_DIR, finds\n" +
			"its tenant id and cloud, prints the link for its administrator, waits for consent and for the application user, and\n" +
			"ends with a line of curl that works. Run again it goes on where it was left. It may run beside the proxy.",
		Example: "  dynproxy onboard contoso https://contoso.crm.dynamics.com\n" +
			"  dynproxy onboard contoso https://contoso.crm.dynamics.com --create-application-user --role \"Basic User\"",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return w.runOnboard(c.Context(), args[0], args[1], o) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.sets, "set", nil, "a further setting of the tenant, `NAME=VALUE` (may be repeated)")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object a step")
	f.DurationVar(&o.within, "timeout", time.Hour, "how long to wait for people in all")
	f.BoolVar(&o.createUser, "create-application-user", false, "let an administrator sign in by device code and create the application user")
	f.StringVar(&o.role, "role", "Basic User", "the security role of an application user that is created here")
	f.BoolVar(&o.noBrowser, "no-browser", false, "do not open the consent link")
	return c
}

// step is one line of what onboard tells.
type step struct {
	Step  string `json:"step"`  // settings, then names of links, then done
	State string `json:"state"` // done, waiting, failed
	Text  string `json:"text"`
	Link  string `json:"link,omitempty"`
}

// guide tells of steps, each once for as long as nothing changes.
type guide struct {
	out    io.Writer
	asJSON bool
	last   step
}

func (g *guide) tell(s step) {
	told := s
	told.Link = "" // which is another one each time
	if told == g.last {
		return
	}
	g.last = told
	if g.asJSON {
		e := json.NewEncoder(g.out)
		e.SetEscapeHTML(false)
		e.Encode(s)
		return
	}
	fmt.Fprintf(g.out, "%-8s %s: %s\n", s.State, s.Step, s.Text)
	if s.Link != "" {
		fmt.Fprintf(g.out, "\n  %s\n\n", s.Link)
	}
}

func (w *world) runOnboard(ctx context.Context, name, orgURL string, o onboarding) error {
	name, err := tenants.ValidName(name)
	if err != nil {
		return &usageError{err}
	}
	g := &guide{out: w.stdout, asJSON: o.asJSON}
	if err := w.ensureTenant(g, name, orgURL, o.sets); err != nil {
		return err
	}
	cfg, err := w.config()
	if err != nil {
		return err
	}
	h, err := build(cfg, newLog(cfg, w.stderr).Level(quietest))
	if err != nil {
		return err
	}
	defer h.tokens.close()
	t, err := h.find(name)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	v := &visit{h: h, t: t, g: g, o: o}
	err = v.goOn(waiting)
	if waiting.Err() != nil && !errors.Is(err, errNotWell) {
		fmt.Fprintf(w.stderr, "dynproxy: nothing is lost: run the same line again and it goes on from here\n")
		return errNotWell
	}
	return err
}

// ensureTenant writes the tenant's file, unless the tenant is there already.
func (w *world) ensureTenant(g *guide, name, orgURL string, sets []string) error {
	rules, err := w.tenantRules()
	if err != nil {
		return err
	}
	asked, err := rules.rules.Read(name, map[string]string{"ORG_URL": orgURL})
	if err != nil {
		return err
	}
	book, err := tenants.Open(rules.list, rules.TenantsDir, rules.rules)
	if err != nil {
		return err
	}
	if t := book.Lookup(name); t != nil && t.Org == asked.Org && len(sets) == 0 {
		g.tell(step{Step: "settings", State: "done", Text: name + " is " + t.Org})
		return nil
	} else if t != nil && t.Org != asked.Org {
		return &usageError{fmt.Errorf("there is a tenant %s already, of %s; choose another name, or remove that one first", name, t.Org)}
	}
	quiet := *w
	quiet.stdout = io.Discard
	if err := quiet.tenantAdd(name, orgURL, sets); err != nil {
		return err
	}
	g.tell(step{Step: "settings", State: "done", Text: name + " is " + asked.Org + "; a running proxy knows it within a second"})
	return nil
}

// visit is one tenant on its way in.
type visit struct {
	h *house
	t *tenants.Tenant
	g *guide
	o onboarding

	opened, created bool
}

const (
	firstPause   = time.Second
	longestPause = 10 * time.Second
)

// goOn looks at the chain again and again until it holds.
func (v *visit) goOn(ctx context.Context) error {
	for pause := firstPause; ; pause = min(pause*3/2, longestPause) {
		v.h.tokens.retry(v.t)
		report := v.h.look(ctx, v.t)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if report.OK {
			v.arrived(report)
			return nil
		}
		ailing := report.Ailing()
		if err := v.stands(ctx, report.Error, ailing); err != nil {
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
func (v *visit) arrived(report check.Report) {
	for _, l := range report.Links {
		if l.State == check.Warning {
			v.g.tell(step{Step: l.Name, State: "done", Text: l.Finding + ". " + l.Next})
		}
	}
	v.g.tell(step{Step: "done", State: "done", Text: v.t.Name + " is ready. With the proxy running:", Link: v.h.curlLine(v.t)})
}

// stands does what can be done about the link where the chain ends, and says
// what somebody else has to do. An error ends the visit: waiting is no cure.
func (v *visit) stands(ctx context.Context, code string, l check.Link) error {
	switch {
	case l.Name == check.Consent:
		v.askForConsent(ctx)
		return nil
	case (l.Name == check.ApplicationUser || l.Name == check.Role) && v.o.createUser && !v.created:
		v.created = true
		return v.createUser(ctx)
	case l.Name == check.ApplicationUser, l.Name == check.Role:
		v.g.tell(step{Step: l.Name, State: "waiting", Text: l.Finding + ". " + l.Next})
		return nil
	case code == "token_unavailable", code == "0x80072322", code == "0x80072321", code == "0x80072326", l.Name == check.Answer && code != "token_refused":
		v.g.tell(step{Step: l.Name, State: "waiting", Text: l.Finding + ". " + l.Next})
		return nil
	}
	v.g.tell(step{Step: l.Name, State: "failed", Text: l.Finding + ". Next: " + l.Next})
	return errNotWell
}

func (v *visit) askForConsent(ctx context.Context) {
	authority, err := v.h.tokens.authority(ctx, v.t)
	if err != nil {
		return // the next look says what is wrong
	}
	k := v.h.tokens
	link := entra.ConsentURL(authority.Login, authority.TenantID, k.ClientID(v.t), v.t.Org, k.back(), k.key.State(v.t.Name, consent.MailLife))
	v.g.tell(step{Step: check.Consent, State: "waiting", Text: "let an administrator of the tenant open this link and accept (it is good for seven days)", Link: link})
	if !v.opened && !v.o.noBrowser && !v.o.asJSON && isatty.IsTerminal(os.Stdout.Fd()) {
		v.opened = true
		browse(link)
	}
}

// browse opens link where there is a browser; where not, it has been printed.
func browse(link string) {
	name, args := "xdg-open", []string{link}
	switch runtime.GOOS {
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", link}
	case "darwin":
		name = "open"
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return
		}
	}
	if c := exec.Command(name, args...); c.Start() == nil {
		go c.Wait()
	}
}

// createUser lets an administrator sign in and sets the application user up.
func (v *visit) createUser(ctx context.Context) error {
	authority, err := v.h.tokens.authority(ctx, v.t)
	if err != nil {
		return plainly(err)
	}
	clientID := v.h.tokens.ClientID(v.t)
	header, err := entra.SignIn(ctx, v.h.out.login, authority, clientID, v.t.Org, func(message string) {
		v.g.tell(step{Step: "sign-in", State: "waiting", Text: message})
	})
	if err != nil {
		return fmt.Errorf("sign in as an administrator: %w", err)
	}
	who := appuser.Administrator{Organization: v.t.Org, Header: header, Transport: v.h.out.organizations}
	id, err := who.Create(ctx, clientID, v.o.role)
	if err != nil {
		return fmt.Errorf("set up the application user: %w", err)
	}
	v.g.tell(step{Step: check.ApplicationUser, State: "done", Text: id + " with the role " + v.o.role})
	return nil
}
