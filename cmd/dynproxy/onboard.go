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

	"dynproxy/internal/check"
	"dynproxy/internal/entra"
	"dynproxy/internal/onboard"
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
	from       string
}

func (w *cli) onboard() *cobra.Command {
	var o onboarding
	c := &cobra.Command{
		Use: "onboard NAME ORG_URL | --from FILE", Short: "Take a tenant in: its file, consent, application user, first call",
		Long: "Goes the whole way of a tenant and waits where somebody has to do something: adds its file to TENANTS_DIR, finds\n" +
			"its tenant id and cloud, prints the link for its administrator, waits for consent and for the application user, and\n" +
			"ends with a line of curl that works. Run again it goes on where it was left. It may run beside the proxy.\n" +
			"With --from it takes in all tenants of a file, as far as that goes without waiting, and ends with a table.",
		Example: "  dynproxy onboard contoso https://contoso.crm.dynamics.com\n" +
			"  dynproxy onboard contoso https://contoso.crm.dynamics.com --create-application-user --role \"Basic User\"",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case o.from == "":
				return cobra.ExactArgs(2)(c, args)
			case len(args) > 0:
				return errFromAlone
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if o.within <= 0 {
				return &usageError{errors.New("--timeout must be above zero, such as 1h")}
			}
			if o.from != "" {
				return w.onboardMany(c.Context(), o.from, o)
			}
			return w.runOnboard(c.Context(), args[0], args[1], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "take in all tenants of `FILE`: lines of name,org_url as a spreadsheet writes them")
	f.StringArrayVar(&o.sets, "set", nil, "a further setting of the tenant, `NAME=VALUE` (may be repeated)")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object a step")
	f.DurationVar(&o.within, "timeout", time.Hour, "how long to wait for people in all")
	f.BoolVar(&o.createUser, "create-application-user", false, "let an administrator sign in by device code and create the application user")
	f.StringVar(&o.role, "role", "Basic User", "the security role of an application user that is created here")
	f.BoolVar(&o.noBrowser, "no-browser", false, "do not open the consent link")
	return c
}

// teller prints steps, each once for as long as nothing changes.
type teller struct {
	out    io.Writer
	asJSON bool
	last   onboard.Step
}

func (p *teller) tell(s onboard.Step) {
	told := s
	told.Link = "" // which is another one each time
	if told == p.last {
		return
	}
	p.last = told
	if p.asJSON {
		e := json.NewEncoder(p.out)
		e.SetEscapeHTML(false)
		e.Encode(s)
		return
	}
	fmt.Fprintf(p.out, "%-8s %s: %s\n", s.State, s.Step, s.Text)
	if s.Link != "" {
		fmt.Fprintf(p.out, "\n  %s\n\n", s.Link)
	}
}

func (w *cli) runOnboard(ctx context.Context, name, orgURL string, o onboarding) error {
	name, err := tenants.ValidName(name)
	if err != nil {
		return &usageError{err}
	}
	p := &teller{out: w.stdout, asJSON: o.asJSON}
	if err := w.ensureTenant(p, name, orgURL, o.sets); err != nil {
		return err
	}
	a, err := w.app()
	if err != nil {
		return err
	}
	defer a.close()
	t, err := a.find(name)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	err = w.guide(a, t, p, o).Run(waiting)
	if errors.Is(err, onboard.ErrStuck) {
		return errNotWell
	}
	if waiting.Err() != nil {
		fmt.Fprintf(w.stderr, "dynproxy: nothing is lost: run the same line again and it goes on from here\n")
		return errNotWell
	}
	return err
}

// ensureTenant writes the tenant's file, unless the tenant is there already.
func (w *cli) ensureTenant(p *teller, name, orgURL string, sets []string) error {
	rules, book, err := w.tenantBook()
	if err != nil {
		return err
	}
	asked, err := rules.rules.Read(name, map[string]string{"ORG_URL": orgURL})
	if err != nil {
		return err
	}
	if t := book.Lookup(name); t != nil && t.Org == asked.Org && len(sets) == 0 {
		p.tell(onboard.Step{Step: "settings", State: "done", Text: name + " is " + t.Org})
		return nil
	} else if t != nil && t.Org != asked.Org {
		return &usageError{fmt.Errorf("there is a tenant %s already, of %s; choose another name, or remove that one first", name, t.Org)}
	}
	quiet := *w
	quiet.stdout = io.Discard
	if err := quiet.tenantAdd(name, orgURL, sets, false); err != nil {
		return err
	}
	p.tell(onboard.Step{Step: "settings", State: "done", Text: name + " is " + asked.Org + "; a running proxy knows it within a second"})
	return nil
}

// guide goes t's way; what it tells goes to p.
func (w *cli) guide(a *app, t *tenants.Tenant, p *teller, o onboarding) *onboard.Guide {
	checker, opened := a.checker(), false
	return &onboard.Guide{
		Tenant: t, Tokens: a.tokens, Call: a.curlLine(t),
		Check: func(ctx context.Context, t *tenants.Tenant) check.Report {
			ctx, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			return checker.Check(ctx, t)
		},
		Consent: func(authority entra.Authority) string { return a.entraLink(t, authority) },
		Tell: func(s onboard.Step) {
			p.tell(s)
			if s.Step == check.Consent && !opened && !o.noBrowser && !o.asJSON && isatty.IsTerminal(os.Stdout.Fd()) {
				opened = true
				browse(s.Link)
			}
		},
		CreateUser: o.createUser, Role: o.role, Login: a.out.login, Organizations: a.out.organizations,
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
