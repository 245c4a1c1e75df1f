package main

import (
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// way leads to an organization.
type way struct {
	client        *http.Client
	base          string
	authorization string // empty: the proxy sees to it
}

// reply is what matters of an answer.
type reply struct {
	status int
	after  time.Duration // Retry-After
	code   string        // of a refusal: the facet
}

func (w way) ask() (reply, error) {
	r, err := http.NewRequest(http.MethodGet, w.base+"/api/data/v9.2/WhoAmI", nil)
	if err != nil {
		return reply{}, err
	}
	if w.authorization != "" {
		r.Header.Set("Authorization", w.authorization)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	a := reply{status: resp.StatusCode}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.after = time.Duration(seconds) * time.Second
	}
	if a.status == http.StatusTooManyRequests && strings.Contains(string(body), "0x80072326") {
		a.code = "concurrency"
	}
	return a, nil
}

// patience says how long to wait after the n-th refusal of a request, and
// whether to try it again at all.
type patience func(n int, a reply) (time.Duration, bool)

// obedient waits as long as it is told, for ever.
func obedient(_ int, a reply) (time.Duration, bool) { return max(a.after, time.Millisecond), true }

// serviceClient backs off as DataverseServiceClient documents it: ten tries,
// Retry-After, and for concurrency the growing pause of
// UseExponentialRetryDelayForConcurrencyThrottle, at the scale of the limits.
func serviceClient(n int, a reply) (time.Duration, bool) {
	if a.code == "concurrency" || a.after == 0 {
		return time.Duration((5 + math.Pow(2, float64(n))) * float64(time.Second) / 100), n <= 10
	}
	return a.after, n <= 10
}

// resigned takes what it gets: it never heard of 429.
func resigned(int, reply) (time.Duration, bool) { return 0, false }

// crowd sends n requests over so many connections, each over the ways in turn.
func crowd(n, connections int, p patience, ways ...way) (outcome, error) {
	var served, lost, seen, sent atomic.Int64
	var failed atomic.Value
	began := time.Now()
	var all sync.WaitGroup
	for i := range connections {
		w := ways[i%len(ways)]
		all.Go(func() {
			for sent.Add(1) <= int64(n) {
				ok, refusals, err := w.one(p)
				seen.Add(int64(refusals))
				switch {
				case err != nil:
					failed.Store(err)
					return
				case ok:
					served.Add(1)
				default:
					lost.Add(1)
				}
			}
		})
	}
	all.Wait()
	o := outcome{served: int(served.Load()), lost: int(lost.Load()), seen: int(seen.Load()), took: time.Since(began)}
	if err, ok := failed.Load().(error); ok {
		return o, err
	}
	return o, nil
}

// one sends a request until it is answered by anything but a 429, or given up.
func (w way) one(p patience) (served bool, refusals int, err error) {
	for {
		a, err := w.ask()
		if err != nil || a.status != http.StatusTooManyRequests {
			return a.status == http.StatusOK, refusals, err
		}
		refusals++
		pause, again := p(refusals, a)
		if !again {
			return false, refusals, nil
		}
		time.Sleep(pause)
	}
}

// steady sends a request every pause until stop is closed, whatever comes
// back, and returns how many were refused and how long the others took.
func (w way) steady(pause time.Duration, stop <-chan struct{}) (refused int, took []time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var mu sync.Mutex
	var all sync.WaitGroup
	for {
		select {
		case <-stop:
			all.Wait()
			return refused, took
		case <-tick.C:
			all.Go(func() {
				began := time.Now()
				a, err := w.ask()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil || a.status == http.StatusTooManyRequests:
					refused++
				default:
					took = append(took, time.Since(began))
				}
			})
		}
	}
}

// meanwhile sends steadily until the function returned is called, which says
// how many were refused.
func (w way) meanwhile(pause time.Duration) (stop func() (refused int)) {
	end, result := make(chan struct{}), make(chan int)
	go func() {
		refused, _ := w.steady(pause, end)
		result <- refused
	}()
	return func() int {
		close(end)
		return <-result
	}
}

// beside sends a request a second while during runs, and returns how many were
// refused and, sorted, how long the others took.
func (w way) beside(during func() error) (refused int, took []time.Duration, err error) {
	end, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		refused, took = w.steady(time.Second, end)
	}()
	err = during()
	close(end)
	<-gone
	slices.Sort(took)
	return refused, took, err
}

// from is a client that calls from another address of loopback: a caller
// without a key is known by its address.
func from(address string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: callers}}
}
