package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/daemon"
	"dynproxy/internal/needs"
)

// load makes calls at a steady rate: half of them by connections that are kept
// and used ten times a second, half by a connection each.
type load struct {
	asked, lost, closed atomic.Int64
	stop                chan struct{}
	done                sync.WaitGroup
}

// aCall is one that a load makes again and again.
type aCall struct{ method, url, body string }

// startLoad makes so many calls a second, of which half are writes, which no
// client sends twice by itself.
func startLoad(t *testing.T, base string, rate int) *load {
	return startCalls(t, rate, aCall{http.MethodGet, base + whoAmIPath, ""}, aCall{http.MethodPost, base + "/contoso/api/data/v9.2/accounts", `{"name":"x"}`})
}

func startCalls(t *testing.T, rate int, calls ...aCall) *load {
	l := &load{stop: make(chan struct{})}
	for n := range rate / 10 {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: 1, DisableKeepAlives: n%2 == 0}}
		l.done.Go(func() {
			defer client.CloseIdleConnections()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-l.stop:
					return
				case <-tick.C:
				}
				l.call(t, client, calls[n/2%len(calls)])
			}
		})
	}
	return l
}

func (l *load) call(t *testing.T, client *http.Client, c aCall) {
	q, _ := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
	q.Header.Set("Content-Type", "application/json")
	l.asked.Add(1)
	answer, err := client.Do(q)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err == nil && answer.StatusCode >= 300 {
			err = errors.New(answer.Status + " " + answer.Header.Get("Dynproxy-Error"))
		}
		if answer.Close {
			l.closed.Add(1)
		}
	}
	if err != nil {
		l.lost.Add(1)
		t.Errorf("%s: %v", c.method, err)
	}
}

// more waits until so many more calls have been made.
func (l *load) more(n int64) {
	for until := l.asked.Load() + n; l.asked.Load() < until; {
		time.Sleep(time.Millisecond)
	}
}

func (l *load) end(t *testing.T, what string) {
	close(l.stop)
	l.done.Wait()
	t.Logf("%s: %d calls, %d lost; %d answers ended their connection", what, l.asked.Load(), l.lost.Load(), l.closed.Load())
	if l.asked.Load() < 100 {
		t.Error("too few to tell")
	}
}

// generous are settings under which a load is not held back.
func generous(p *localEmulator) map[string]string {
	settings := p.settings("contoso")
	settings[prefix+"TENANT_LIMITS"] = "off"
	settings[prefix+"LOG_LEVEL"] = "info"
	return settings
}

// A new process comes before the old one goes, twenty times, under load.
func TestRollingRestartsLoseNoCall(t *testing.T) {
	if !daemon.CanShare {
		needs.Missing(t, "a system on which processes share a port")
	}
	needs.Long(t)
	p := startEmulator(t, demoSeed())
	settings := generous(p)
	settings[prefix+"REUSE_PORT"], settings[prefix+"DRAIN_DELAY"] = "true", "1s"
	old, _ := startProcess(t, settings, nil)
	settings[prefix+"LISTEN"] = strings.TrimPrefix(old.calls, "http://")
	settings[prefix+"OPS_LISTEN"] = strings.TrimPrefix(old.ops, "http://")
	l := startLoad(t, old.calls, 300)
	for range 20 {
		next, _ := startProcess(t, settings, nil)
		old.stop()
		if err := old.over(); err != nil {
			t.Errorf("the old one ended with %v\n%s", err, old.log)
		}
		old = next
	}
	l.end(t, "20 restarts")
}

// systemd's sockets outlive the process: who comes while there is none waits
// for the next.
func TestSocketsOfSystemdSurviveARestart(t *testing.T) {
	p := startEmulator(t, demoSeed())
	settings := generous(p)
	settings[prefix+"DRAIN_DELAY"] = "1s"
	calls, ops := passable(t, "127.0.0.1:0"), passable(t, "127.0.0.1:0")
	given := func(c *exec.Cmd) {
		c.ExtraFiles = []*os.File{ops, calls}
		c.Env = append(c.Env, "LISTEN_FDS=2", "LISTEN_FDNAMES=ops_listen:listen")
	}
	address := localAddress(t, calls)
	l := startLoad(t, "http://"+address, 50) // before there is any process
	for range 3 {
		r, _ := startProcess(t, settings, given)
		if r.calls != "http://"+address {
			t.Fatalf("serves at %s, not at %s", r.calls, address)
		}
		if resp, _ := fetch(t, r.ops+"/healthz"); resp.StatusCode != 200 {
			t.Errorf("operators get %s", resp.Status)
		}
		for began := l.asked.Load(); l.asked.Load() < began+50; {
			time.Sleep(10 * time.Millisecond)
		}
		r.stop()
		if err := r.over(); err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	startProcess(t, settings, given)
	l.end(t, "3 restarts by systemd's sockets")
}

// passable returns a listening socket as a process can be given it.
func passable(t *testing.T, address string) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func localAddress(t *testing.T, f *os.File) string {
	t.Helper()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
