package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"dynproxy/bench/stand"
	"dynproxy/internal/emulator"
)

// together shows three proxies that are one through Redis: many callers who are
// spread over them evenly, and 80 to 10 to 10.
func together(scale string) error {
	s, known := scales[scale]
	if !known {
		return fmt.Errorf("there is no scale %q: small, half or documented", scale)
	}
	f, err := open(s.limits)
	if err != nil {
		return err
	}
	defer f.close()
	redis, err := f.redis()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "three proxies, one budget\tserved\tgiven up\t429 seen by callers\t429 of the organization\tseconds\tideal\tratio\t")
	for _, spread := range []struct {
		name  string
		parts []int // of the callers
	}{{"even", []int{1, 1, 1}}, {"80/10/10", []int{8, 1, 1}}} {
		o, err := f.together(s, redis, spread.parts)
		if err != nil {
			return err
		}
		best := s.ideal()
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%.3f\t\n", spread.name, o.served, o.lost, o.seen, o.refused, o.took.Seconds(), best.Seconds(), o.took.Seconds()/best.Seconds())
		table.Flush()
	}
	return nil
}

// scale is a size of the limits, and how many requests show them.
type scale struct {
	limits   emulator.Limits
	requests int
}

// ideal is when the last of its requests is due at best.
func (s scale) ideal() time.Duration {
	return time.Duration((s.requests-1)/s.limits.Requests) * s.limits.Window
}

// settings are those of a proxy that shares the limits through Redis.
func (s scale) settings(redis string) []string {
	return []string{
		"REDIS_URL=" + redis, "TENANT_QUEUE_WAIT=10m", fmt.Sprintf("TENANT_REQUESTS=%d", s.limits.Requests),
		"TENANT_WINDOW=" + s.limits.Window.String(), "TENANT_EXECUTION_TIME=" + s.limits.ExecutionTime.String(),
		fmt.Sprintf("TENANT_CONCURRENCY=%d", s.limits.Concurrency),
	}
}

var scales = map[string]scale{
	"small":      {emulator.Limits{Requests: 300, Window: 3 * time.Second, ExecutionTime: 12 * time.Second, Concurrency: 8}, 3066},
	"half":       {emulator.Limits{Requests: 600, Window: 30 * time.Second, ExecutionTime: 2 * time.Minute, Concurrency: 8}, 1866},
	"documented": {emulator.Limits{Requests: 6000, Window: 5 * time.Minute, ExecutionTime: 20 * time.Minute, Concurrency: 52}, 6066},
}

// redis starts Debian's redis-server and returns its address as a setting.
func (f *field) redis() (string, error) { return f.redisAt(stand.FreeAddress()) }

func (f *field) redisAt(address string) (string, error) {
	_, port, _ := net.SplitHostPort(address)
	server, err := f.Start(nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", f.Dir, "--logfile", f.Dir+"/redis.log")
	if err != nil {
		return "", err
	}
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			f.server = server
			return "redis://" + address, nil
		}
	}
	return "", errors.New("redis-server does not start")
}

// together sends through proxies that share a Redis, over as many connections
// to each as its part says.
func (f *field) together(s scale, redis string, parts []int) (outcome, error) {
	org, err := f.organization()
	if err != nil {
		return outcome{}, err
	}
	settings := s.settings(redis)
	var ways []way
	for _, part := range parts {
		base, err := f.proxy(settings, org)
		if err != nil {
			return outcome{}, err
		}
		for w := through(base, org); part > 0; part-- {
			ways = append(ways, w)
		}
	}
	time.Sleep(time.Second) // until each knows of the others
	o, err := crowd(s.requests, callers, resigned, ways...)
	o.refused = org.Answered(http.StatusTooManyRequests)
	return o, err
}
