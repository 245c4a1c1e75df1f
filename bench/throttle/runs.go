package main

import (
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"
)

// runs are the lines of the table, with n requests in each of the first three.
func (f *field) runs(n int) []run {
	third := n / 3
	right := []string{"TENANT_REQUESTS=600", "TENANT_QUEUE_WAIT=60s"}
	set := func(requests string) []string { return []string{"TENANT_REQUESTS=" + requests, right[1]} }
	return []run{
		{"direct, obeying Retry-After", ideal(n, 600), func() (outcome, error) { return f.withoutProxy(n, obedient) }},
		{"direct, as DataverseServiceClient", ideal(n, 600), func() (outcome, error) { return f.withoutProxy(n, serviceClient) }},
		{"through the proxy", ideal(n, 600), func() (outcome, error) { return f.withProxies(n, 1, right, 0) }},
		{"proxy, set twice too high", ideal(third, 600), func() (outcome, error) { return f.withProxies(third, 1, set("1200"), 0) }},
		{"proxy, set to half of it", ideal(third, 300), func() (outcome, error) { return f.withProxies(third, 1, set("300"), 0) }},
		{"proxy, a stranger takes half", ideal(third, 300), func() (outcome, error) { return f.withProxies(third, 1, right, 10*time.Millisecond) }},
		{"two proxies that share nothing", ideal(third, 600), func() (outcome, error) { return f.withProxies(third, 2, right, 0) }},
		{"two proxies, each set to half", ideal(third, 600), func() (outcome, error) {
			return f.withProxies(third, 2, append(set("300"), "TENANT_CONCURRENCY=4"), 0)
		}},
	}
}

func (f *field) withoutProxy(n int, p patience) (outcome, error) {
	org, err := f.organization()
	if err != nil {
		return outcome{}, err
	}
	w, err := f.direct(org)
	if err != nil {
		return outcome{}, err
	}
	o, err := crowd(n, callers, p, w)
	o.refused = org.Answered(http.StatusTooManyRequests)
	return o, err
}

// withProxies sends through so many proxies, while a stranger with the same
// application user sends by another way, every pause unless that is zero.
func (f *field) withProxies(n, proxies int, settings []string, pause time.Duration) (outcome, error) {
	org, err := f.organization()
	if err != nil {
		return outcome{}, err
	}
	var ways []way
	for range proxies {
		base, err := f.proxy(settings, org)
		if err != nil {
			return outcome{}, err
		}
		ways = append(ways, through(base, org))
	}
	strangers := func() int { return 0 }
	if pause > 0 {
		w, err := f.direct(org)
		if err != nil {
			return outcome{}, err
		}
		strangers = w.meanwhile(pause)
		time.Sleep(limits.Window) // until it has its half
	}
	o, err := crowd(n, callers, resigned, ways...)
	o.refused = -strangers() + org.Answered(http.StatusTooManyRequests)
	return o, err
}

// interactive measures a caller that sends a request a second: alone, and
// beside an import of n requests over 64 connections; and beside the import of
// another tenant.
func (f *field) interactive(w io.Writer, n int) error {
	mine, err := f.organization()
	if err != nil {
		return err
	}
	theirs, err := f.organization()
	if err != nil {
		return err
	}
	base, err := f.proxy([]string{"TENANT_REQUESTS=600", "TENANT_QUEUE_WAIT=60s", "ALLOW_CIDRS=127.0.0.0/8"}, mine, theirs)
	if err != nil {
		return err
	}
	form, importer, other := through(base, mine), through(base, mine), through(base, theirs)
	importer.client = from("127.0.0.2") // a caller is known by its address
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "a request a second\tcalls\trefused\tp50 ms\tp95 ms\tbeside unloaded p95\t")
	quiet := ideal(n, 600)
	load := func() error {
		o, err := crowd(n, callers, resigned, importer)
		if err == nil && o.served != n {
			err = fmt.Errorf("of the import's %d requests %d were served", n, o.served)
		}
		return err
	}
	var unloaded time.Duration
	for _, c := range []struct {
		name   string
		with   way
		during func() error
	}{
		{"alone", form, func() error { time.Sleep(quiet); return nil }},
		{"beside an import of 64 connections", form, load},
		{"beside the import of another tenant", other, load},
	} {
		refused, took, err := c.with.beside(c.during)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if len(took) == 0 {
			return fmt.Errorf("%s: no call was served", c.name)
		}
		p95 := took[len(took)*95/100]
		if unloaded == 0 {
			unloaded = p95
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%.1f\t%.2f\t\n", c.name, len(took), refused,
			float64(took[len(took)/2])/1e6, float64(p95)/1e6, float64(p95)/float64(unloaded))
	}
	return table.Flush()
}
