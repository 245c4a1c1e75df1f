package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/calls"
)

func (w *cli) trace() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "trace ID", Short: "Tell all that the running proxy knows of one call",
		Long: "Tells what became of a call of the proxy that runs with the same settings, and what to do about it.\n" +
			"ID is the header Dynproxy-Request-Id of the answer, and the id of the access line.\n" +
			"Exits with 1 for a call that is not remembered: all failures are, until newer ones take their room,\nand a share of the successes.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := w.asker()
			if err != nil {
				return err
			}
			path := "/api/calls/" + url.PathEscape(args[0])
			if asJSON {
				var d any
				if err := a.Ask(c.Context(), http.MethodGet, path, nil, &d); err != nil {
					return err
				}
				return w.printJSON(d)
			}
			var d calls.Detail
			if err := a.Ask(c.Context(), http.MethodGet, path, nil, &d); err != nil {
				return err
			}
			if d.Call == nil {
				return a.Stranger(path)
			}
			printTrace(w.stdout, &d)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print what is known as JSON")
	return c
}

func printTrace(out io.Writer, d *calls.Detail) {
	c := d.Call
	fmt.Fprintf(out, "%s %s\n%s\n\n", c.Method, c.Path, outcome(c))
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, value)
		}
	}
	row("id", c.ID)
	if d.SameID > 1 {
		row("", fmt.Sprintf("the latest of %d calls with this id: the caller chose it", d.SameID))
	}
	row("ended", c.Time.Local().Format("2006-01-02 15:04:05.000 MST"))
	row("tenant", orDash(c.Tenant))
	row("caller", from(c))
	row("called as", c.Host)
	row("user agent", c.Agent)
	row("bytes", fmt.Sprintf("%d in, %d out", c.In, c.Out))
	if c.Operations > 0 {
		row("operations", strconv.Itoa(c.Operations))
	}
	row("reason", c.Reason)
	row("for Microsoft", c.Service)
	t.Flush()

	fmt.Fprintln(out)
	fmt.Fprintf(t, "stage\tat ms\tms\t\n")
	for _, s := range d.Stages {
		name := s.Name
		if s.Attempt > 1 {
			name += " " + strconv.Itoa(s.Attempt)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, inMillis(s.Begins()), inMillis(s.Lasted()), s.Say())
	}
	fmt.Fprintf(t, "own work\t\t%s\t\n", inMillis(c.Own))
	t.Flush()
	fmt.Fprintf(out, "\nNext: %s\n", d.Next)
}

// outcome says what the caller got.
func outcome(c *calls.Call) string {
	words := fmt.Sprintf("%d after %s ms", c.Status, inMillis(c.Total))
	switch {
	case c.Error == "caller_left":
		words = "no answer: the caller left after " + inMillis(c.Total) + " ms"
	case c.Error != "":
		words += ", refused by the proxy: " + c.Error
	case c.Status >= 400:
		words += ", the organization's own answer"
	}
	for _, more := range []string{c.OrgCode, c.Hint} {
		if more != "" {
			words += ", " + more
		}
	}
	if c.CutOff {
		words += ", cut off"
	}
	return words
}

func from(c *calls.Call) string {
	if c.Caller == c.Remote {
		return c.Caller
	}
	return strings.TrimSpace(c.Caller + " from " + c.Remote)
}

func inMillis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64)
}
