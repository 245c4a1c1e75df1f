//go:build unix

package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// Redis forgets all, stands still for five seconds, and is killed and started
// anew, under load: no caller sees a failed call, and the organization has to
// refuse few.
func TestNoCallFailsForRedis(t *testing.T) {
	needs.Tool(t, "Redis")
	needs.Long(t)
	s := scales["small"]
	f, err := open(s.limits)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	redis, err := f.redis()
	if err != nil {
		t.Fatal(err)
	}
	server := f.server
	_, port, _ := strings.Cut(strings.TrimPrefix(redis, "redis://"), ":")
	events := make(chan error, 1)
	go func() {
		time.Sleep(8 * time.Second)
		out := exec.Command("redis-cli", "-p", port, "flushall").Run()
		time.Sleep(7 * time.Second)
		server.Process.Signal(syscall.SIGSTOP)
		time.Sleep(5 * time.Second)
		server.Process.Signal(syscall.SIGCONT)
		time.Sleep(7 * time.Second)
		server.Process.Kill()
		time.Sleep(3 * time.Second)
		if _, err := f.redisAt("127.0.0.1:" + port); err != nil {
			out = err
		}
		events <- out
	}()
	s.requests = 14*s.limits.Requests + 1
	o, err := f.together(s, redis, []int{2, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-events; err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", o)
	if o.served != s.requests || o.seen != 0 || o.lost != 0 {
		t.Errorf("%+v, want all of %d served", o, s.requests)
	}
}
