package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/bench/stand"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
)

// drill is three proxies that are one through Redis, before an organization
// whose budget their callers use up, and a quiet one that shows how long a call
// takes that has to wait for nothing.
type drill struct {
	t          *testing.T
	field      *field
	scale      scale
	org, quiet *emulator.Organization
	proxies    []stand.Proxy
	ways       []way
	load       *load
	calm       time.Duration        // longest wait of a quiet call before anything happened
	stop       func() time.Duration // ends the quiet calls, and is the longest wait of one
}

// newDrill starts a proxy for each address of Redis, before limits of that scale.
func newDrill(t *testing.T, s scale, redis ...string) *drill {
	t.Helper()
	d := &drill{t: t, scale: s}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	d.field, err = open(d.scale.limits)
	must(err)
	t.Cleanup(d.field.close)
	d.org, err = d.field.organization()
	must(err)
	d.quiet, err = d.field.organization()
	must(err)
	for _, url := range redis {
		d.join(url)
	}
	return d
}

// withRedis starts a Redis by some settings of its own, and so many proxies that
// share it.
func withRedis(t *testing.T, s scale, proxies int, settings ...string) (*drill, *redistest.Server) {
	t.Helper()
	needs.Tool(t, "Redis")
	needs.Long(t)
	redis := redistest.Start(t, settings...)
	return newDrill(t, s, slices.Repeat([]string{redis.URL()}, proxies)...), redis
}

// join starts one more proxy.
func (d *drill) join(redis string, more ...string) {
	d.t.Helper()
	p, err := d.field.Proxy(slices.Concat(d.field.settings(d.org, d.quiet), d.scale.settings(redis), more)...)
	if err != nil {
		d.t.Fatal(err)
	}
	d.proxies = append(d.proxies, p)
	d.ways = append(d.ways, through(p.Calls, d.org))
}

// overshoot is how many calls the organization has refused.
func (d *drill) overshoot() int { return d.org.Answered(http.StatusTooManyRequests) }

// begin lets callers call, and returns when they have used up two windows.
func (d *drill) begin() {
	d.t.Helper()
	d.until("three proxies that are one", func() bool {
		return d.each(func(d *drill, i int) bool {
			return isShared(d, i) && int(d.gauge(i, "dynproxy_cluster_members", "")) == len(d.proxies)
		})
	})
	for _, p := range d.proxies { // who has no token yet waits for it
		if served, _, err := through(p.Calls, d.quiet).one(resigned); !served {
			d.t.Fatal("the first call of the quiet organization failed: ", err)
		}
	}
	d.load = newLoad(d.ways)
	d.stop = d.probe(d.proxies)
	d.until("load", func() bool { return int(d.load.served.Load()) > 2*d.scale.limits.Requests })
	d.calm = d.stop()
	d.stop = d.probe(d.proxies)
}

// probe calls the quiet organization through each of the proxies ten times a
// second, until the function returned is called.
func (d *drill) probe(proxies []stand.Proxy) (stop func() (longest time.Duration)) {
	end := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	var longest time.Duration
	for _, p := range proxies {
		w := through(p.Calls, d.quiet)
		all.Go(func() {
			refused, took := w.steady(100*time.Millisecond, end)
			d.load.quietFailed.Add(int64(refused))
			mu.Lock()
			defer mu.Unlock()
			for _, one := range took {
				longest = max(longest, one-work)
			}
		})
	}
	return func() time.Duration {
		close(end)
		all.Wait()
		return longest
	}
}

// end lets the callers come to the end of a window, and says what came of it.
// No call may have failed, and the organization may have refused so many.
func (d *drill) end(refusals int, ideal func(n int) time.Duration) {
	d.t.Helper()
	longest := d.stop()
	n, took := d.load.finish(d.scale.limits.Requests)
	if ideal == nil {
		ideal = func(n int) time.Duration { return scale{d.scale.limits, n}.ideal() }
	}
	failed, quiet := d.load.failed.Load(), d.load.quietFailed.Load()
	overshoot := d.overshoot()
	d.t.Logf("%d calls, %d torn with their proxy, %d failed, %d refused by the organization, longest extra wait %v (before: %v), %.3f of the ideal time of %v",
		n, d.load.torn.Load(), failed+quiet, overshoot, longest.Round(time.Millisecond), d.calm.Round(time.Millisecond), took.Seconds()/ideal(n).Seconds(), ideal(n))
	if failed+quiet != 0 {
		d.t.Errorf("%d calls failed (the last: %v), and %d of the quiet organization", failed, d.load.why.Load(), quiet)
	}
	if longest > time.Second+d.calm {
		d.t.Errorf("a call waited for %v that had nothing to wait for", longest)
	}
	if n := d.quiet.Answered(http.StatusTooManyRequests); n != 0 {
		d.t.Errorf("the quiet organization refused %d calls", n)
	}
	for _, n := range d.failures() {
		if n > 1 { // on a busy machine Redis may be late: then that proxy was alone
			refusals = max(refusals, 2*d.share())
		}
	}
	if overshoot > refusals {
		d.t.Errorf("the organization refused %d calls, want at most %d", overshoot, refusals)
	}
}

// oneAgain waits until all proxies share Redis, and ends it a window later.
func (d *drill) oneAgain(refusals int) {
	d.t.Helper()
	d.t.Logf("one again after %v", d.until("sharing", func() bool { return d.each(isShared) }))
	time.Sleep(d.scale.limits.Window)
	d.end(refusals, nil)
}

// leave ends the first proxy, after its last call.
func (d *drill) leave() {
	d.t.Helper()
	old := d.proxies[0]
	d.load.first.Add(1)
	d.until("the end of its calls", func() bool { return d.gauge(0, "dynproxy_requests_in_flight", "") == 0 })
	d.field.End(old.PID)
	d.proxies = d.proxies[1:]
}

// until waits for something that comes about, and returns how long it took.
func (d *drill) until(what string, ok func() bool) time.Duration {
	d.t.Helper()
	began := time.Now()
	for ; !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			d.t.Fatalf("%s does not come", what)
		}
	}
	return time.Since(began).Round(10 * time.Millisecond)
}

func (d *drill) each(is func(*drill, int) bool) bool {
	for i := range d.proxies {
		if !is(d, i) {
			return false
		}
	}
	return true
}

// ask is what a proxy tells operators.
func (d *drill) ask(i int, path string) string {
	d.t.Helper()
	resp, err := http.Get(d.proxies[i].Ops + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.t.Fatal(path, resp.Status, err)
	}
	return string(text)
}

// failures are the exchanges with Redis that each proxy has made in vain.
func (d *drill) failures() (n []float64) {
	for i := range d.proxies {
		n = append(n, d.gauge(i, "dynproxy_redis_failures_total", ""))
	}
	return n
}

// gauge is a metric of a proxy, the one of the loaded tenant where there are
// several; -1 where there is none.
func (d *drill) gauge(i int, name, label string) float64 {
	d.t.Helper()
	lines := bufio.NewScanner(strings.NewReader(d.ask(i, "/metrics")))
	for lines.Scan() {
		metric, value, _ := strings.Cut(lines.Text(), " ")
		if (metric == name || strings.HasPrefix(metric, name+"{")) && strings.Contains(metric, label) &&
			(!strings.Contains(metric, "tenant=") || strings.Contains(metric, fmt.Sprintf("tenant=%q", d.org.Name()))) {
			f, _ := strconv.ParseFloat(value, 64)
			return f
		}
	}
	return -1
}

// load is callers who go on until they are told the last call.
type load struct {
	ways   []way
	mortal atomic.Int32 // the way whose proxy is killed; -1: none
	first  atomic.Int32 // those before it are taken by nobody any more

	sent, last                        atomic.Int64
	served, failed, quietFailed, torn atomic.Int64
	why                               atomic.Value
	began                             time.Time
	all                               sync.WaitGroup
}

func newLoad(ways []way) *load {
	l := &load{ways: ways, began: time.Now()}
	l.mortal.Store(-1)
	l.last.Store(1 << 40)
	for i := range callers {
		l.all.Go(func() { l.call(i % len(ways)) })
	}
	return l
}

// call sends by one way, and by the next when its proxy has been killed.
func (l *load) call(way int) {
	for l.sent.Add(1) <= l.last.Load() {
		way = max(way, int(l.first.Load()))
		served, refusals, err := l.ways[way].one(resigned)
		switch {
		case served:
			l.served.Add(1)
		case err != nil && way == int(l.mortal.Load()):
			way = (way + 1 + int(l.torn.Add(1))%2) % len(l.ways)
		default:
			l.failed.Add(1)
			l.why.Store(fmt.Sprintf("%d refusals, error %v", refusals, err))
		}
	}
}

// pacer says how many calls a second were served since.
func (l *load) pacer() func() float64 {
	served, began := l.served.Load(), time.Now()
	return func() float64 { return float64(l.served.Load()-served) / time.Since(began).Seconds() }
}

// finish ends it with the first call of a window, and returns how many calls
// there were and how long they took.
func (l *load) finish(perWindow int) (n int, took time.Duration) {
	n = (int(l.sent.Load())/perWindow+2)*perWindow + 1
	l.last.Store(int64(n))
	l.all.Wait()
	return n, time.Since(l.began)
}

// relay passes bytes on to a server, and stops doing so as a network does that
// has lost its way: nothing is refused, and nothing comes.
type relay struct {
	listener net.Listener
	open     sync.RWMutex // held by whoever passes bytes on
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &relay{listener: l}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go r.connect(client, server)
		}
	}()
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }
func (r *relay) cut()         { r.open.Lock() }
func (r *relay) heal()        { r.open.Unlock() }

func (r *relay) connect(client net.Conn, server string) {
	defer client.Close()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer upstream.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
		go func() { r.pass(way[0], way[1]); ended <- struct{}{} }()
	}
	<-ended
}

func (r *relay) pass(from, to net.Conn) {
	bytes := make([]byte, 32<<10)
	for {
		n, err := from.Read(bytes)
		r.open.RLock()
		if n > 0 && err == nil {
			_, err = to.Write(bytes[:n])
		}
		r.open.RUnlock()
		if err != nil {
			return
		}
	}
}
