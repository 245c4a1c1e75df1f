package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"dynproxy/internal/opsclient"
	"dynproxy/internal/status"
	"dynproxy/tenants"
)

func (w *cli) tenantList() *cobra.Command {
	var asJSON bool
	var state string
	c := &cobra.Command{
		Use: "list", Short: "List the tenants, and what is wrong with whose file",
		Long: "Lists the tenants of TENANTS and TENANTS_DIR, and what is wrong with whose file. With --state or --json it asks the\n" +
			"running proxy how each is: ready, attention, broken or unchecked.",
		RunE: func(c *cobra.Command, _ []string) error { return w.runTenantList(c.Context(), state, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	c.Flags().StringVar(&state, "state", "", "only those in `STATE`, of which a running proxy knows")
	return c
}

// listed is one tenant of the list.
type listed struct {
	Name         string       `json:"name"`
	Organization string       `json:"organization,omitempty"`
	State        status.State `json:"state,omitempty"` // where a proxy runs
	Fault        string       `json:"fault,omitempty"`
}

func (w *cli) runTenantList(ctx context.Context, state string, asJSON bool) error {
	if state != "" && !slices.Contains(status.States(), status.State(state)) {
		return &usageError{fmt.Errorf("--state takes one of %s", strings.Trim(strings.ReplaceAll(fmt.Sprint(status.States()), " ", ", "), "[]"))}
	}
	_, book, err := w.tenantBook()
	if err != nil {
		return err
	}
	var states map[string]status.State
	if state != "" || asJSON {
		states, err = w.states(ctx)
		if err != nil && (state != "" || !errors.Is(err, opsclient.ErrNotRunning)) {
			return err
		}
	}
	all := []listed{}
	for t := range book.All() {
		all = append(all, listed{t.Name, t.Org, states[t.Name], ""})
	}
	for name, fault := range book.Faults() {
		told := strings.ReplaceAll(fault.Error(), "\n", "; ")
		if at := slices.IndexFunc(all, func(l listed) bool { return l.Name == name }); at >= 0 {
			all[at].Fault = told
			continue
		}
		all = append(all, listed{name, "", status.Broken, told})
	}
	slices.SortFunc(all, func(a, b listed) int { return strings.Compare(a.Name, b.Name) })
	if state != "" {
		all = slices.DeleteFunc(all, func(l listed) bool { return l.State != status.State(state) })
	}
	return w.printList(all, state == "", asJSON)
}

// printList prints tenants; with judged, one that has a fault is not well.
func (w *cli) printList(all []listed, judged, asJSON bool) error {
	faulty := judged && slices.ContainsFunc(all, func(l listed) bool { return l.Fault != "" })
	if asJSON {
		if err := w.printJSON(all); err != nil {
			return err
		}
	} else {
		table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		for _, l := range all {
			if l.Organization != "" {
				fmt.Fprintf(table, "%s\t%s\n", l.Name, strings.TrimSpace(l.Organization+"\t"+string(l.State)))
			}
		}
		table.Flush()
		for _, l := range all {
			if l.Fault != "" {
				w.warn(l.Name + ": " + l.Fault)
			}
		}
	}
	if faulty {
		return errNotWell
	}
	return nil
}

// states asks the running proxy how each tenant is.
func (w *cli) states(ctx context.Context) (map[string]status.State, error) {
	asker, err := w.asker()
	if err != nil {
		return nil, err
	}
	states := make(map[string]status.State)
	for page, pages := 1, 1; page <= pages; page++ {
		var answer struct {
			Tenants []struct {
				Name  string
				State status.State
			}
			Pages int
		}
		if err := asker.Ask(ctx, http.MethodGet, fmt.Sprintf("/api/tenants?limit=1000&page=%d", page), nil, &answer); err != nil {
			return nil, err
		}
		for _, t := range answer.Tenants {
			states[t.Name] = t.State
		}
		pages = answer.Pages
	}
	return states, nil
}

func (w *cli) tenantShow() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a tenant's settings in force, and where each comes from", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return w.runTenantShow(args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return c
}

func (w *cli) runTenantShow(name string, asJSON bool) error {
	c, book, err := w.tenantBook()
	if err != nil {
		return err
	}
	t := book.Lookup(name)
	if fault := book.Faults()[book.Canonical(name)]; fault != nil {
		return fmt.Errorf("the settings of tenant %q have a fault: %w", name, fault)
	}
	if t == nil {
		return &tenants.UnknownError{Name: name}
	}
	all := c.tenantSettings(t)
	if asJSON {
		return w.printJSON(all)
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, s.Value, s.Source)
	}
	return table.Flush()
}

// tenantSettings are the settings of t in force, and where each comes from.
func (c *config) tenantSettings(t *tenants.Tenant) []tenants.Setting {
	source := t.Name + ".env"
	if _, is := c.list[t.Name]; is {
		source = prefix + "TENANTS"
	}
	return c.rules.Settings(t, source)
}

func (w *cli) tenantSet() *cobra.Command {
	var replace bool
	c := &cobra.Command{
		Use: "set NAME KEY=VALUE ...", Short: "Change settings of a tenant; KEY= removes one", Args: cobra.MinimumNArgs(2),
		Long: "Changes settings in the tenant's file; KEY= removes one, so that the default holds again. A running proxy takes it\n" +
			"up within a second. Settings: " + strings.Join(tenants.SettingNames(), ", ") + ".",
		Example: "  dynproxy tenant set contoso READ_ONLY=true RATE=",
		RunE: func(_ *cobra.Command, args []string) error {
			settings, err := readSets(args[1:])
			if err != nil {
				return &usageError{errors.New("settings are given as KEY=VALUE; KEY= removes one")}
			}
			c, err := w.tenantsDir()
			if err != nil {
				return err
			}
			return w.editTenant(c, args[0], tenants.Edit{Set: settings, Replace: replace})
		},
	}
	c.Flags().BoolVar(&replace, "replace", false, "allow that the tenant gets another address")
	return c
}
