package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// table is what is found, a row each.
type table struct {
	short bool // the figures mean nothing
	rows  []row
}

type row struct {
	work, what        string
	low, median, high string // quartiles
	goal              string
}

// ratio adds quotients of rounds. goal is the most that they should be, 0 for
// none.
func (t *table) ratio(work, what string, values []float64, goal float64) {
	slices.Sort(values)
	t.add(work, what, values, "%.2f", goal)
}

// amount adds figures that have a unit, such as "%.1f KiB".
func (t *table) amount(work, what string, value float64, format string, goal float64) {
	t.add(work, what, []float64{value}, format, goal)
}

func (t *table) add(work, what string, sorted []float64, format string, goal float64) {
	r := row{work: work, what: what, median: fmt.Sprintf(format, at(sorted, 50))}
	if len(sorted) > 1 {
		r.low, r.high = fmt.Sprintf(format, at(sorted, 25)), fmt.Sprintf(format, at(sorted, 75))
	}
	if goal > 0 {
		r.goal = fmt.Sprintf("<= "+format, goal)
		switch {
		case t.short:
		case at(sorted, 50) > goal:
			r.goal += ", missed"
		default:
			r.goal += ", met"
		}
	}
	t.rows = append(t.rows, r)
}

// print writes Markdown.
func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| work\t| what\t| median\t| quartiles\t| goal\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range t.rows {
		quartiles := ""
		if r.low != "" {
			quartiles = r.low + " to " + r.high
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.work, r.what, r.median, quartiles, r.goal)
	}
	w.Flush()
}

// ratios divides round by round.
func ratios(of, by []time.Duration) []float64 {
	var all []float64
	for i := range of {
		all = append(all, float64(of[i])/float64(by[i]))
	}
	return all
}

func at(sorted []float64, percent int) float64 {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}
