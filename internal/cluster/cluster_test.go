package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
	"dynproxy/internal/needs"
	"dynproxy/internal/secret"
)

func TestMain(m *testing.M) {
	needs.Waiting()
	m.Run()
}

// open returns a proxy's client, which runs until the test ends.
func open(t *testing.T, url string) *cluster.Client {
	t.Helper()
	c := client(t, url, zerolog.Nop())
	run(t, c)
	return c
}

func client(t *testing.T, url string, log zerolog.Logger) *cluster.Client {
	t.Helper()
	c, err := cluster.Open(cluster.Options{URL: secret.New(url), Prefix: "dynproxy", Version: "1.0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, c *cluster.Client) {
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { c.Run(ctx) })
	t.Cleanup(func() { stop(); ended.Wait(); c.Close() })
}

// until waits for something that comes about in the background.
func until(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > 60*time.Second {
			t.Fatalf("%s does not come", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

func in(c *cluster.Client, state string) func() bool {
	return func() bool { return c.State().State == state }
}

var increment = &cluster.Script{Source: `redis.call('PEXPIRE', KEYS[1], 60000) return redis.call('INCRBY', KEYS[1], ARGV[1])`}

// count is one exchange, and how long it took.
func count(c *cluster.Client) (any, time.Duration, error) {
	began := time.Now()
	got, err := c.Eval(context.Background(), increment, []string{c.Key("x", "count")}, 1)
	return got, time.Since(began), err
}

func TestProxiesKnowEachOther(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := open(t, server.URL()), open(t, server.URL())
	until(t, "two members", func() bool { return a.Size() == 2 && b.Size() == 2 })
	for _, m := range a.Members() {
		if m.Self != (m.Name == a.Name()) || m.Version != "1.0" || time.Since(m.Since) > time.Minute || time.Since(m.Seen) > 10*time.Second {
			t.Errorf("%+v", m)
		}
	}
	third := client(t, server.URL(), zerolog.Nop())
	third.Join(t.Context())
	until(t, "a third", func() bool { return a.Size() == 3 })
	third.Close()
	until(t, "its end", func() bool { return a.Size() == 2 })
	for _, k := range server.Dump() {
		if k.Life < 0 || !strings.HasPrefix(k.Name, "dynproxy:") {
			t.Errorf("%s lives for %d", k.Name, k.Life)
		}
	}
}

// A proxy that was killed is gone when its time is over.
func TestAMemberThatIsSilentGoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := open(t, server.URL())
	client(t, server.URL(), zerolog.Nop()).Join(t.Context())
	until(t, "a second", func() bool { return a.Size() == 2 })
	until(t, "its end", func() bool { return a.Size() == 1 })
}

func TestWithoutRedisNothingIsAsked(t *testing.T) {
	c := open(t, "")
	if s := c.State(); s.State != cluster.Off || c.On() || len(c.Members()) != 1 || !c.Members()[0].Self {
		t.Errorf("%+v", s)
	}
	if _, _, err := count(c); err == nil || !strings.Contains(err.Error(), "cannot be used") {
		t.Error(err)
	}
}

func TestNewsReachTheOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	heard := make(chan string, 10)
	listener := client(t, server.URL(), zerolog.Nop())
	listener.Hear("greeting", func(payload []byte) { heard <- string(payload) })
	listener.Missed(func() { heard <- "missed" })
	run(t, listener)
	a := open(t, server.URL())
	until(t, "two members", func() bool { return a.Size() == 2 && listener.Size() == 2 })
	await := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("heard %q, not %q", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%q is not heard", want)
		}
	}
	say := func(text string) {
		t.Helper()
		until(t, "the telling", func() bool { return a.Tell(t.Context(), "greeting", []byte(text)) == nil })
	}
	say("good day to\nall of you")
	await("good day to\nall of you")
	say("again")
	await("again")
	server.CLI("FLUSHALL")
	await("missed")
	say("after that")
	await("after that")
}

// A Redis that is gone, stalled or empty keeps nobody, and comes back by itself.
func TestNobodyWaitsForRedis(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ away, back func(*redistest.Server) }{
		"killed":  {(*redistest.Server).Kill, func(s *redistest.Server) { s.Again() }},
		"stopped": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			p := open(t, server.URL())
			until(t, "Redis", in(p, cluster.Shared))
			if got, _, err := count(p); err != nil || got != int64(1) {
				t.Fatal(got, err)
			}
			c.away(server)
			waits := make([]time.Duration, 40)
			var all sync.WaitGroup
			for i := range waits {
				all.Go(func() {
					time.Sleep(time.Duration(i) * 20 * time.Millisecond)
					_, waits[i], _ = count(p)
				})
			}
			all.Wait()
			until(t, "being alone", in(p, cluster.Alone))
			if why := p.State().Error; !strings.Contains(why, "cannot be reached") && !strings.Contains(why, "in time") && !strings.Contains(why, "closes") {
				t.Error(why)
			}
			_, took, err := count(p)
			if err == nil || !strings.Contains(err.Error(), "cannot be used") {
				t.Error(err)
			}
			t.Logf("the waits: %v, and then %v", waits, took)
			c.back(server)
			t.Logf("back after %v", until(t, "Redis again", in(p, cluster.Shared)))
			until(t, "an exchange", func() bool { _, _, err := count(p); return err == nil })
		})
	}
}

// The start does not need Redis.
func TestTheStartIsAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	p := open(t, server.URL())
	until(t, "a reason", func() bool { return strings.Contains(p.State().Error, "cannot be reached") })
	server.Again()
	until(t, "Redis", in(p, cluster.Shared))
}

// One that leaves while Redis is asked is no failure of Redis's.
func TestWhoLeavesProvesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := open(t, server.URL())
	until(t, "Redis", in(p, cluster.Shared))
	for range 20 {
		left, leave := context.WithCancel(t.Context())
		leave()
		if _, err := p.Eval(left, increment, []string{p.Key("x", "count")}, 1); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if s := p.State(); s.State != cluster.Shared {
		t.Errorf("%+v", s)
	}
}

// A script that is wrong is its own affair.
func TestAWrongScriptIsNoFailureOfRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := open(t, server.URL())
	until(t, "Redis", in(p, cluster.Shared))
	wrong := &cluster.Script{Source: `return redis.call('INCR', KEYS[1], 'one', 'too many')`}
	for range 5 {
		_, err := p.Eval(t.Context(), wrong, []string{p.Key("x", "y")})
		if err == nil || !strings.Contains(err.Error(), "Redis has answered with ERR") {
			t.Fatal(err)
		}
	}
	server.CLI("SCRIPT", "FLUSH")
	if got, _, err := count(p); err != nil || p.State().State != cluster.Shared {
		t.Error(got, err)
	}
}

func TestAddressesAreJudgedAndNotQuoted(t *testing.T) {
	for address, want := range map[string]string{
		"redis://:s3cret@host:6379/0":                                        "",
		"rediss://user:s3cret@host":                                          "",
		"redis://s1:26379?master_name=main&addr=s2:26379&password=s3cret":    "",
		"redis://:s3cret@n1:6379?addr=n2:6379&addr=n3:6379":                  "",
		"redis://[::1]:6379":                                                 "",
		"redis://:s3cret@host:65535/15":                                      "",
		"redis://:s3cret@n1/0?addr=n2:6379":                                  "",
		"redis://u:s3cret@host:99999":                                        "1 to 65535",
		"redis://u:s3cret@host:0":                                            "1 to 65535",
		"redis://:s3cret@n1:99999?addr=n2:6379":                              "1 to 65535",
		"redis://:s3cret@n1:6379?addr=127.0.0.1:99999":                       "1 to 65535",
		"redis://:s3cret@n1:6379?addr=n2:6379&addr=n3:s3cret":                "1 to 65535",
		"redis://s1:0?master_name=main&password=s3cret":                      "1 to 65535",
		"redis://s1?master_name=main&addr=s2:-1&password=s3cret":             "1 to 65535",
		"redis://s1?master_name=main&addr=:26379&password=s3cret":            "parameters",
		"redis://:s3cret@host/-1":                                            "below 0",
		"redis://:s3cret@host?db=-1":                                         "below 0",
		"redis://s1/-1?master_name=main&password=s3cret":                     "below 0",
		"redis://:s3cret@n1/-1?addr=n2:6379":                                 "below 0",
		"redis://n1/s3cret?addr=n2:6379":                                     "parameters",
		"host:6379":                                                          "must be an address",
		"http://:s3cret@host":                                                "must be an address",
		"redis://":                                                           "must be an address",
		"redis://:s3/cret@host:6379":                                         "must be an address",
		"redis://:s3cret@host:port/0":                                        "must be an address",
		"redis://host/s3cret":                                                "parameters",
		"redis://host?s3cret=1":                                              "parameters",
		"redis://host?addr=s3cret":                                           "parameters",
		"redis://host?master_name=x&replica_only=true":                       "replicas",
		"redis://:s3cret@n1:6379?addr=n2:6379&read_only=true":                "replicas",
		"redis://:s3cret#@host:6379":                                         "must be an address",
		"redis://host?master_name=x&addr=s3cret":                             "parameters",
		"redis://host/0?db=s3cret":                                           "parameters",
		"redis://s1:26379?master_name=main&sentinel_password=s3cret&addr=s2": "parameters",
	} {
		err := cluster.CheckURL(secret.New(address))
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) || strings.Contains(got, "s3") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A proxy does not wait for a Redis that takes its time; a command, which has
// nothing else to go by, does.
func TestACommandIsMorePatientThanAProxy(t *testing.T) {
	server := redistest.Start(t)
	observer, err := cluster.Open(cluster.Options{URL: secret.New(server.URL()), Prefix: "dynproxy", Log: zerolog.Nop(), Observer: true})
	if err != nil {
		t.Fatal(err)
	}
	defer observer.Close()
	proxy := client(t, server.URL(), zerolog.Nop())
	defer proxy.Close()
	proxy.Join(t.Context())
	observer.Join(t.Context())
	server.CLI("CLIENT", "PAUSE", "500", "ALL")
	asked := make(chan error)
	for _, c := range []*cluster.Client{proxy, observer} {
		go func() {
			_, err := c.Once(context.Background(), "test", c.Name(), time.Minute)
			asked <- err
		}()
	}
	if err := <-asked; err == nil {
		t.Error("a proxy waits")
	}
	if err := <-asked; err != nil {
		t.Errorf("a command gives up: %v", err)
	}
}
