package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sample reads what the proxy holds once nothing is in flight.
func (w *world) sample() (sample, error) {
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		figures, err := w.metrics()
		if err != nil {
			return sample{}, err
		}
		inFlight, counted := figures["dynproxy_requests_in_flight"]
		switch {
		case !counted:
			return sample{}, fmt.Errorf("there is no metric of calls in flight")
		case inFlight == 0:
			// The heap itself swings between two collections; the size at which
			// the next one comes moves with what lives. The calls that are
			// remembered fill a bound of their own in the first minutes.
			return sample{figures["go_memstats_next_gc_bytes"] - figures["dynproxy_calls_remembered_bytes"], figures["go_goroutines"], figures["process_open_fds"]}, nil
		case time.Since(began) > patient:
			return sample{}, fmt.Errorf("%.0f calls are still in flight, and nobody has sent any for a minute", inFlight)
		}
	}
}

func (w *world) metrics() (map[string]float64, error) {
	resp, err := http.Get(w.proxy.Ops + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	figures := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			figures[name] = n
		}
	}
	return figures, lines.Err()
}
