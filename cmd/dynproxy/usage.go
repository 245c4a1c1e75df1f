package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/usage"
)

func (w *cli) usage() *cobra.Command {
	q := url.Values{}
	var since, by, tenant, caller string
	var asCSV, asJSON bool
	c := &cobra.Command{
		Use: "usage", Short: "Tell who called what, per tenant, caller, service and API version",
		Long: "Tells what the proxy that runs with the same settings has counted: who called which service of which tenant,\n" +
			"what of it Microsoft has withdrawn or is about to, and what today comes to beside the daily entitlement (DAILY_REQUESTS).\n" +
			"With STATE_DIR the counts survive a restart.",
		Example: "  dynproxy usage --since 7d\n" +
			"  dynproxy usage --since 31d --by day --csv > usage.csv",
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := usage.ParseSince(since); err != nil {
				return &usageError{fmt.Errorf("--%w", err)}
			}
			if by != "" && by != "hour" && by != "day" {
				return &usageError{errors.New("--by takes one of hour, day")}
			}
			for name, value := range map[string]string{"since": since, "by": by, "tenant": tenant, "caller": caller} {
				if value != "" {
					q.Set(name, value)
				}
			}
			a, err := w.asker()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := a.Ask(c.Context(), http.MethodGet, "/api/usage?"+q.Encode(), nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return w.printJSON(raw)
			}
			var found used
			if err := json.Unmarshal(raw, &found); err != nil || found.Usage == nil {
				return a.Stranger("/api/usage")
			}
			if asCSV {
				return usage.WriteCSV(w.stdout, found.Usage)
			}
			found.print(w.stdout, by)
			return nil
		},
	}
	c.Flags().StringVar(&since, "since", "24h", "how far back, such as 90m, 24h or 7d; at most 31d")
	c.Flags().StringVar(&by, "by", "", "tell hours or days apart: hour or day")
	c.Flags().StringVar(&tenant, "tenant", "", "only this `TENANT`")
	c.Flags().StringVar(&caller, "caller", "", "only this `CALLER`: its name, or its address where it has none")
	c.Flags().BoolVar(&asCSV, "csv", false, "print a table for spreadsheets")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("csv", "json")
	return c
}

// used is an answer of /api/usage.
type used struct {
	Usage    []usage.Row
	Forecast []usage.Forecast
}

func (u *used) print(out io.Writer, by string) {
	if len(u.Usage) == 0 {
		fmt.Fprintln(out, "Nothing was called.")
		return
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if by != "" {
		fmt.Fprint(t, by, " (UTC)\t")
	}
	fmt.Fprintln(t, "tenant\tcaller\tservice\tversion\trequests\toperations\terrors\tlast\t")
	retired := make(map[string]int64)
	var order []string
	for _, r := range u.Usage {
		switch by {
		case "hour":
			fmt.Fprint(t, r.At.Format("2006-01-02 15:04"), "\t")
		case "day":
			fmt.Fprint(t, r.At.Format(time.DateOnly), "\t")
		}
		mark := ""
		if r.Retired {
			mark = "RETIRED"
		}
		if r.Next != "" {
			if retired[r.Next] == 0 {
				order = append(order, r.Next)
			}
			retired[r.Next] += r.Requests
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", r.Tenant, r.Caller, r.Service, r.Version, r.Requests, r.Operations, r.Errors, r.Last.Local().Format(time.DateTime), mark)
	}
	t.Flush()
	for _, next := range order {
		fmt.Fprintf(out, "\n%d requests: %s\n", retired[next], next)
	}
	u.printForecast(out)
}

func (u *used) printForecast(out io.Writer) {
	if len(u.Forecast) == 0 {
		return
	}
	fmt.Fprintln(out, "\nToday's operations since midnight (UTC), and what they come to by the next at the same rate:")
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, f := range u.Forecast {
		of := "DAILY_REQUESTS is not set"
		if f.Entitlement > 0 {
			of = fmt.Sprintf("%d %% of the entitlement of %d", f.Percent, f.Entitlement)
		}
		fmt.Fprintf(t, "  %s\t%d\tforecast %d\t%s\n", f.Tenant, f.Today, f.Forecast, of)
	}
	t.Flush()
}
