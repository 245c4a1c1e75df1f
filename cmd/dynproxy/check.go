package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/check"
	"dynproxy/internal/problem"
	"dynproxy/tenants"
)

const (
	checksAtOnce = 32
	checkWithin  = time.Minute
)

func (w *world) check() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check [TENANT...]", Short: "Walk each tenant's chain and say what is missing, and the next step",
		Long: "Walks the chain of each tenant named, or of all: its settings, its organization, a token, an answer.\n" +
			"Exits with 0 when all is well and 1 when something is not.",
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, names []string) error { return w.runCheck(c.Context(), names, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}

func (w *world) runCheck(ctx context.Context, names []string, asJSON bool) error {
	cfg, err := w.config()
	if err != nil {
		return err
	}
	h, err := build(cfg, newLog(cfg, w.stderr).Level(quietest))
	if err != nil {
		return err
	}
	defer h.tokens.close()
	reports, err := h.checkAll(ctx, names)
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(w.stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(reports); err != nil {
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

// checkAll walks the chains of the tenants called names, or of all, side by
// side: one that hangs does not hide the others.
func (h *house) checkAll(ctx context.Context, names []string) ([]check.Report, error) {
	if len(names) == 0 {
		for t := range h.book.All() {
			names = append(names, t.Name)
		}
		for _, faulty := range slices.Sorted(maps.Keys(h.book.Faults())) {
			if !slices.Contains(names, faulty) {
				names = append(names, faulty)
			}
		}
	}
	reports := make([]check.Report, len(names))
	places := make(chan struct{}, checksAtOnce)
	var walks sync.WaitGroup
	for i, name := range names {
		t, fault := h.book.Lookup(name), h.book.Faults()[name]
		if fault != nil {
			reports[i] = check.Faulty(name, fault)
			continue
		}
		if t == nil {
			return nil, fmt.Errorf("there is no tenant %q; 'dynproxy tenant list' names them", name)
		}
		walks.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			within, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			reports[i] = h.doctor().Check(within, t)
		})
	}
	walks.Wait()
	return reports, nil
}

func (h *house) doctor() *check.Doctor {
	return &check.Doctor{
		Authority: func(ctx context.Context, t *tenants.Tenant) (string, string, error) {
			a, err := h.tokens.authority(ctx, t)
			return a.Login, a.TenantID, err
		},
		Named: func(ctx context.Context, t *tenants.Tenant) (string, string, error) {
			a, err := h.tokens.finder.Find(ctx, t.Org)
			return a.Login, a.TenantID, err
		},
		Token:        h.tokens.Token,
		Proof:        h.tokens.proof,
		ClientID:     h.tokens.ClientID,
		Advice:       advice,
		Organization: h.out.organizations,
		Login:        h.out.login,
	}
}

// advice is what a caller would be told of err.
func advice(err error) (code, message string) {
	if e, ok := errors.AsType[*problem.Error](err); ok {
		return string(e.Code), e.Message
	}
	return string(problem.UpstreamUnreachable), err.Error()
}

// plainly is the face of err: what a caller would be told.
func plainly(err error) error {
	_, message := advice(err)
	return errors.New(message)
}

func (w *world) printReports(reports []check.Report) {
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
