package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"dynproxy/internal/check"
	"dynproxy/internal/textfile"
	"dynproxy/tenants"
)

// newcomer is one line of a list of tenants, and what came of it.
type newcomer struct {
	Line   int    `json:"line"`
	Name   string `json:"name"`
	OrgURL string `json:"org_url"`
	Result string `json:"result"` // ready, waiting or failed
	Text   string `json:"text"`   // what was found, or what is wrong with the line
	Next   string `json:"next,omitempty"`
}

const (
	newcomerReady   = "ready"
	newcomerWaiting = "waiting" // for somebody to do something
	newcomerFailed  = "failed"
)

// readNewcomers reads a file of lines "name,org_url" as any tool writes it:
// separated by commas, semicolons or tabs, with or without a heading.
func readNewcomers(path string) ([]*newcomer, error) {
	text, err := textfile.Read(path)
	if err != nil {
		return nil, err
	}
	var all []*newcomer
	seen := make(map[string]int)
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); strings.Trim(line, ";,\"\t ") == "" || strings.HasPrefix(strings.ToLower(line), "sep=") {
			continue
		}
		n := readNewcomer(line)
		n.Line = i + 1
		if len(all) == 0 && strings.EqualFold(n.Name, "name") {
			continue // a heading
		}
		if first, twice := seen[n.Name]; twice && n.Result == "" {
			n.Result, n.Text = newcomerFailed, fmt.Sprintf("stands in line %d already", first)
		}
		seen[n.Name] = n.Line
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no line of name,org_url", path)
	}
	return all, nil
}

func readNewcomer(line string) *newcomer {
	reader := csv.NewReader(strings.NewReader(line))
	reader.TrimLeadingSpace = true
	for _, separator := range "\t;" {
		if strings.ContainsRune(line, separator) {
			reader.Comma = separator
			break
		}
	}
	fields, err := reader.Read()
	for len(fields) > 2 && strings.TrimSpace(fields[len(fields)-1]) == "" {
		fields = fields[:len(fields)-1] // columns that a spreadsheet leaves behind
	}
	n := &newcomer{}
	if err != nil || len(fields) != 2 {
		n.Name, n.Result, n.Text = "?", newcomerFailed, "is not name,org_url"
		return n
	}
	n.Name, n.OrgURL = strings.ToLower(strings.TrimSpace(fields[0])), strings.TrimSpace(fields[1])
	return n
}

// onboardMany takes in all tenants of a file, as far as it goes without waiting
// for anybody. A line that is wrong does not stop the others.
func (w *cli) onboardMany(ctx context.Context, path string, o onboarding) error {
	all, err := readNewcomers(path)
	if err != nil {
		return &usageError{err}
	}
	if _, err := w.tenantsDir(); err != nil {
		return err
	}
	p := &teller{out: io.Discard}
	for _, n := range all {
		if n.Result != "" {
			continue
		}
		if _, err := tenants.ValidName(n.Name); err != nil {
			n.Result, n.Text = newcomerFailed, err.Error()
		} else if err := w.ensureTenant(p, n.Name, n.OrgURL, o.sets); err != nil {
			n.Result, n.Text = newcomerFailed, strings.ReplaceAll(err.Error(), "\n", "; ")
		}
	}
	if err := w.checkNewcomers(ctx, all); err != nil {
		return err
	}
	return w.printNewcomers(all, o.asJSON)
}

// checkNewcomers finds out how those are that were taken in.
func (w *cli) checkNewcomers(ctx context.Context, all []*newcomer) error {
	a, err := w.app()
	if err != nil {
		return err
	}
	defer a.close()
	var names []string
	for _, n := range all {
		if n.Result == "" {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	reports, err := a.checkAll(ctx, names)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.Result != "" {
			continue
		}
		report := reports[slices.IndexFunc(reports, func(r check.Report) bool { return r.Tenant == n.Name })]
		n.Result, n.Text = newcomerReady, "calls go through"
		if problem := report.FirstProblem(); !report.OK {
			n.Result, n.Text, n.Next = newcomerWaiting, problem.Name+": "+problem.Finding, problem.Next
		}
	}
	return nil
}

func (w *cli) printNewcomers(all []*newcomer, asJSON bool) error {
	count := make(map[string]int)
	for _, n := range all {
		count[n.Result]++
	}
	if asJSON {
		if err := w.printJSON(all); err != nil {
			return err
		}
	} else {
		table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		for _, n := range all {
			fmt.Fprintf(table, "line %d\t%s\t%s\t%s\n", n.Line, n.Name, n.Result, n.Text)
		}
		table.Flush()
		for _, n := range all {
			if n.Next != "" {
				fmt.Fprintf(w.stdout, "\n%s, next: %s\n", n.Name, n.Next)
			}
		}
		fmt.Fprintf(w.stdout, "\n%d ready, %d waiting, %d failed\n", count[newcomerReady], count[newcomerWaiting], count[newcomerFailed])
	}
	if count[newcomerReady] < len(all) {
		return errNotWell
	}
	return nil
}

var errFromAlone = &usageError{errors.New("--from takes the tenants from its file: name none beside it")}
