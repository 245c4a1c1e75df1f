package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/check"
)

const (
	checksAtOnce  = 32
	checkWithin   = time.Minute
	checkPatience = 15 * time.Second // for one of its answers
)

func (w *cli) check() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check [TENANT...]", Short: "Check each tenant and say what is missing, and what to do next",
		Long: "Checks each tenant named, or all: its settings, its organization, a token, an answer.\n" +
			"Exits with 0 when all is well and 1 when something is not.",
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, names []string) error { return w.runCheck(c.Context(), names, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}

func (w *cli) runCheck(ctx context.Context, names []string, asJSON bool) error {
	cfg, err := w.config()
	if err != nil {
		return err
	}
	a, err := newApp(cfg, newLog(cfg, w.stderr, w.stderr).Level(quietest))
	if err != nil {
		return err
	}
	defer a.close()
	reports, err := a.checkAll(ctx, names)
	if err != nil {
		return err
	}
	if asJSON {
		if err := w.printJSON(reports); err != nil {
			return err
		}
	} else {
		w.printReports(reports)
	}
	if slices.ContainsFunc(reports, func(r check.Report) bool { return !r.OK }) {
		return errNotWell
	}
	return nil
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
			return nil, fmt.Errorf("there is no tenant %q; 'dynproxy tenant list' names them", name)
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

func (w *cli) printReports(reports []check.Report) {
	marks := map[check.State]string{check.OK: "ok  ", check.Warning: "WARN", check.Broken: "FAIL", check.Unknown: " -  "}
	for _, r := range reports {
		fmt.Fprintln(w.stdout, r.Tenant)
		for _, l := range r.Links {
			fmt.Fprintf(w.stdout, "  %s %-16s %s (%d ms)\n", marks[l.State], l.Name, l.Finding, l.Millis)
			if l.Next != "" {
				fmt.Fprintf(w.stdout, "       next: %s\n", l.Next)
			}
		}
	}
}
