package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
)

// eventually waits for something that comes about in the background.
func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 60*time.Second {
			r.t.Fatalf("%s does not come\n%s", what, r.log)
		}
	}
}

// together asks /api/cluster.
func (r *running) together() (report cluster.Report) {
	r.t.Helper()
	_, text := fetch(r.t, r.ops+"/api/cluster")
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		r.t.Fatal(err)
	}
	return report
}

func withRedis(settings map[string]string, url string) map[string]string {
	settings = maps.Clone(settings)
	settings[prefix+"REDIS_URL"] = url
	return settings
}

func TestProxiesWithOneRedisAreMembers(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	settings := withRedis(p.settings("contoso"), server.URL())
	a, b := start(t, settings), start(t, settings)
	a.eventually("two members", func() bool { return len(a.together().Members) == 2 && len(b.together().Members) == 2 })
	self := 0
	for _, m := range append(a.together().Members, b.together().Members...) {
		if m.Self {
			self++
		}
	}
	if self != 2 {
		t.Errorf("%d are themselves", self)
	}
	b.end()
	a.eventually("one member", func() bool { return len(a.together().Members) == 1 })
}

// A proxy starts and serves without its Redis, says so, and comes back.
func TestAProxyStartsWithoutItsRedis(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t, "--requirepass", "t0p-s3cret")
	server.Kill()
	address := "redis://:t0p-s3cret@" + server.Addr()
	r := start(t, withRedis(p.settings("contoso"), address))
	if resp, text := r.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.StatusCode, text)
	}
	ready := func(want string) func() bool {
		return func() bool {
			resp, text := fetch(t, r.ops+"/readyz")
			return resp.StatusCode == http.StatusOK && strings.Contains(text, `"redis":{"state":"`+want+`"`)
		}
	}
	r.eventually("being alone", ready(cluster.Alone))
	if why := r.together().Redis.Error; !strings.Contains(why, "cannot be reached") || !strings.Contains(r.log.String(), why) {
		t.Error(why)
	}
	if !strings.Contains(r.scrape(), "dynproxy_redis_state{state=\"alone\"} 1") {
		t.Error("no metric tells of it")
	}
	server.Again()
	r.eventually("Redis", ready(cluster.Shared))
	if text := r.log.String(); strings.Contains(text, "s3cret") || strings.Contains(text, server.URL()) {
		t.Errorf("the log tells of the address:\n%s", text)
	}
}

func TestAMalformedRedisURLIsABadSetting(t *testing.T) {
	_, err := loadConfig(with("REDIS_URL=redis://:s3cret@host:port", "REDIS_PREFIX={x}"))
	if err == nil || !strings.Contains(err.Error(), "DYNPROXY_REDIS_URL must be an address") || !strings.Contains(err.Error(), "DYNPROXY_REDIS_PREFIX must") || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

// An address of Redis that is none is a fault like others, told with them.
func TestAMalformedRedisURLIsAFault(t *testing.T) {
	for _, command := range []string{"serve", "config", "check"} {
		var out, errs bytes.Buffer
		err := run(t.Context(), []string{command}, []string{prefix + "REDIS_URL=redis://user:hidden-word@host:port", prefix + "CLIENT_ID=x", prefix + "TENANTS=a=https://a.crm.dynamics.com"}, &out, &errs)
		told := fmt.Sprint(err, out.String(), errs.String())
		if err == nil || !strings.Contains(told, prefix+"REDIS_URL") || strings.Contains(told, "hidden-word") {
			t.Errorf("%s: %s", command, told)
		}
	}
}
