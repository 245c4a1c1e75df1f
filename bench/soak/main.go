// Command soak runs the proxy for a long time under all that goes wrong in the
// field: tokens that end, are revoked or cannot be had, settings of tenants and
// callers that change, throttling, callers that leave, organizations that close
// and tear connections. It looks whether anything grows (heap, goroutines,
// descriptors), and whether any write is lost or done twice: each carries an id,
// by which the organization's records are counted.
//
//	go -C bench run ./soak             # half an hour
//	go -C bench run ./soak -for 2m
//
// It ends with 1 if something is wrong. All goes over loopback. What it finds
// does not depend on how fast the machine is.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

// lapTime is how long trouble lasts, until all is healed and counted.
const lapTime = 10 * time.Second

func main() {
	total := flag.Duration("for", 30*time.Minute, "how long it runs, at least a minute")
	flag.Parse()
	if err := soak(max(*total, time.Minute)); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(total time.Duration) error {
	w, err := open()
	if err != nil {
		return err
	}
	defer w.close()
	var all counters
	var samples []sample
	for began := time.Now(); time.Since(began) < total; {
		lap := len(samples)
		if err := w.reload(lap); err != nil {
			return err
		}
		sent := w.traffic(lap)
		w.heal()
		counted, err := w.count(lap)
		if err != nil {
			return fmt.Errorf("lap %d: count the records: %w", lap, err)
		}
		sum, err := sent.compare(counted)
		if err != nil {
			return fmt.Errorf("lap %d: %w", lap, err)
		}
		s, err := w.sample()
		if err != nil {
			return fmt.Errorf("lap %d: %w", lap, err)
		}
		all, samples = all.plus(sum), append(samples, s)
		fmt.Printf("%6v  %v; %v\n", time.Since(began).Round(time.Second), sum, s)
	}
	fmt.Printf("in all: %v\n", all)
	return flat(samples)
}
