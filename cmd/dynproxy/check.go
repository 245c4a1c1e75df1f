package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/check"
	"dynproxy/internal/status"
	"dynproxy/tenants"
)

const (
	checksAtOnce  = 32
	checkWithin   = time.Minute
	checkPatience = 15 * time.Second // for one of its answers
)

// checkForm is what of the findings is printed, and how.
type checkForm struct {
	asJSON, all bool
	only        string
}

func (w *cli) check() *cobra.Command {
	var form checkForm
	c := &cobra.Command{
		Use: "check [TENANT...]", Short: "Check each tenant and say what is missing, and what to do next",
		Long: "Checks each tenant named, or all: its settings, its organization, a token, an answer. It prints one line a tenant,\n" +
			"below it what is not as it should be, and a sum at the end.\n" +
			"Exits with 0 when all is well and 1 when something is not.",
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, names []string) error {
			if form.only != "" && !slices.Contains(onlyForms, form.only) {
				return &usageError{fmt.Errorf("--only takes one of %s", strings.Join(onlyForms, ", "))}
			}
			return w.runCheck(c.Context(), names, form)
		},
	}
	c.Flags().BoolVar(&form.asJSON, "json", false, "print the findings as JSON")
	c.Flags().BoolVar(&form.all, "all", false, "print every link of each tenant, those that are well too")
	c.Flags().StringVar(&form.only, "only", "", "print only tenants in `STATE`: broken, attention (something is to be looked at) or ready")
	return c
}

// onlyForms are the states that a report has, as status and portal call them.
var onlyForms = []string{string(status.Broken), string(status.Attention), string(status.Ready)}

func stateOf(r check.Report) string {
	switch {
	case !r.OK:
		return string(status.Broken)
	case r.FirstProblem().Name != "":
		return string(status.Attention)
	}
	return string(status.Ready)
}

func (w *cli) runCheck(ctx context.Context, names []string, form checkForm) error {
	a, err := w.app()
	if err != nil {
		return err
	}
	defer a.close()
	for _, e := range a.exposures() {
		w.warn(e.String())
	}
	reports, err := a.checkAll(ctx, a.each(names))
	if err != nil {
		return err
	}
	shown := reports
	if form.only != "" {
		shown = slices.DeleteFunc(slices.Clone(reports), func(r check.Report) bool { return stateOf(r) != form.only })
	}
	if form.asJSON {
		if err := w.printJSON(shown); err != nil {
			return err
		}
	} else {
		w.printReports(shown, form.all)
		w.printSum(reports)
	}
	if slices.ContainsFunc(reports, func(r check.Report) bool { return !r.OK }) {
		return errNotWell
	}
	return nil
}

// each is every name once, as tenants and faulty files have it.
func (a *app) each(names []string) []string {
	var all []string
	for _, name := range names {
		if name = a.book.Canonical(name); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// checkAll checks the tenants called names, or of all, side by
// side: one that hangs does not hide the others.
func (a *app) checkAll(ctx context.Context, names []string) ([]check.Report, error) {
	if len(names) == 0 {
		for t := range a.book.All() {
			names = append(names, t.Name)
		}
		for _, faulty := range slices.Sorted(maps.Keys(a.book.Faults())) {
			if !slices.Contains(names, faulty) {
				names = append(names, faulty)
			}
		}
	}
	reports := make([]check.Report, len(names))
	places := make(chan struct{}, checksAtOnce)
	var running sync.WaitGroup
	for i, name := range names {
		t, fault := a.book.Lookup(name), a.book.Faults()[name]
		if fault != nil {
			reports[i] = check.Faulty(name, fault)
			continue
		}
		if t == nil {
			return nil, &tenants.UnknownError{Name: name}
		}
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			within, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			reports[i] = a.checker().Check(within, t)
		})
	}
	running.Wait()
	return reports, nil
}

// printReports prints a line for each tenant, and the links that are not as
// they should be, or all.
func (w *cli) printReports(reports []check.Report, all bool) {
	marks := map[check.State]string{check.OK: "ok  ", check.Warning: "WARN", check.Broken: "FAIL", check.Unknown: " -  "}
	words := map[string]string{string(status.Ready): "ok", string(status.Attention): "ok, but look below", string(status.Broken): "BROKEN"}
	width := 0
	for _, r := range reports {
		width = max(width, len(r.Tenant))
	}
	for _, r := range reports {
		fmt.Fprintf(w.stdout, "%-*s  %s\n", width, oneLine(r.Tenant), words[stateOf(r)])
		for _, l := range r.Links {
			if !all && (l.State == check.OK || l.State == check.Unknown) {
				continue
			}
			fmt.Fprintf(w.stdout, "  %s %-16s %s (%d ms)\n", marks[l.State], l.Name, inLine(l.Finding), l.Millis)
			if l.Next != "" {
				fmt.Fprintf(w.stdout, "       next: %s\n", oneLine(l.Next))
			}
		}
	}
}

// printSum ends the print: how many tenants are how.
func (w *cli) printSum(reports []check.Report) {
	count := make(map[string]int)
	for _, r := range reports {
		count[stateOf(r)]++
	}
	tenants := "tenants"
	if len(reports) == 1 {
		tenants = "tenant"
	}
	fmt.Fprintf(w.stdout, "%d %s: %d ok", len(reports), tenants, count[string(status.Ready)])
	if n := count[string(status.Attention)]; n > 0 {
		fmt.Fprintf(w.stdout, ", %d to look at", n)
	}
	fmt.Fprintf(w.stdout, ", %d broken\n", count[string(status.Broken)])
}
