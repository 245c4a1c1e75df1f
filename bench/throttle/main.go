// Command throttle shows what becomes of many callers before an organization
// that enforces its service protection limits: when they wait out each 429 by
// themselves, when they back off as DataverseServiceClient does, and when they
// go through the proxy. It prints one line a run, beside the time that nobody
// can beat.
//
//	go -C bench run ./throttle                # 20,000 requests of 64 callers, some 15 minutes
//	go -C bench run ./throttle -requests 3000 # the same in 3 minutes
//	go -C bench run ./throttle -together small # three proxies that share a Redis; also half and documented
//
// The limits are the documented ones at a hundredth: 600 requests and 12
// seconds of execution in any 3 seconds, 8 at once, and each request takes 10 ms. Retry-After
// is in whole seconds, as it always is.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	requests := flag.Int("requests", 20_000, "requests of the first three runs; the others send a third of them")
	only := flag.String("only", "", "run only what has this in its name")
	share := flag.String("together", "", "run only three proxies that share a Redis, at this scale: small (300 requests in 3 s), half (600 in 30 s), documented (6,000 in 5 minutes)")
	flag.Parse()
	err := error(nil)
	if *share != "" {
		err = together(*share)
	} else {
		err = compare(*requests, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "throttle:", err)
		os.Exit(1)
	}
}

func compare(requests int, only string) error {
	f, err := open(limits)
	if err != nil {
		return err
	}
	defer f.close()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "run\tserved\tgiven up\t429 seen by callers\t429 of the organization\tin 1,000\tseconds\tideal\tratio\t")
	for _, r := range f.runs(requests) {
		if !strings.Contains(r.name, only) {
			continue
		}
		fmt.Fprintln(os.Stderr, r.name, "...")
		o, err := r.do()
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%.2f\t%.1f\t%.1f\t%.3f\t\n", r.name, o.served, o.lost, o.seen, o.refused,
			1000*float64(o.refused)/float64(max(o.served, 1)), o.took.Seconds(), r.ideal.Seconds(), o.took.Seconds()/r.ideal.Seconds())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !strings.Contains("interactive", only) {
		return nil
	}
	fmt.Println()
	return f.interactive(os.Stdout, requests/3)
}

// run is one line of the table.
type run struct {
	name  string
	ideal time.Duration // no order of requests is served sooner
	do    func() (outcome, error)
}

// outcome is what came of a run.
type outcome struct {
	served  int
	lost    int // requests that a caller gave up
	seen    int // 429s that reached a caller
	refused int // 429s that the organization answered to them
	took    time.Duration
}

// ideal is when the last of n requests is due: a full window's worth goes at
// once, the next when that has left the window.
func ideal(n, perWindow int) time.Duration {
	return time.Duration((n-1)/perWindow) * limits.Window
}
