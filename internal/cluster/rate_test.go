package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/callers"
	"dynproxy/internal/cluster"
	"dynproxy/internal/cluster/redistest"
)

// A caller that comes to three proxies at once has the rate of one; when Redis
// is gone each keeps to its share, and nobody waits for it.
func TestACallersRateIsOneAtAllProxies(t *testing.T) {
	server := redistest.Start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "erp.env"), []byte("CIDRS=10.0.0.0/8\nRATE=100\nBURST=20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type proxy struct {
		client *cluster.Client
		caller *callers.Caller
	}
	var all []proxy
	for range 3 {
		book, err := callers.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, proxy{open(t, server.URL()), book.Lookup("erp")})
	}
	for _, p := range all {
		until(t, "three members", func() bool { return p.client.Size() == 3 })
	}
	for _, c := range []struct {
		name        string
		least, most float64 // of what the rate allows
	}{{"shared", 0.2, 1.02}, {"alone", 0.2, 1.05}} {
		var let atomic.Int64
		var longest atomic.Int64
		var running sync.WaitGroup
		began := time.Now()
		for _, p := range all {
			running.Go(func() {
				for rates := p.client.Rates(); time.Since(began) < 2*time.Second; {
					asked := time.Now()
					wait := p.caller.Wait(t.Context(), rates)
					longest.Store(max(longest.Load(), int64(time.Since(asked))))
					if wait == 0 {
						let.Add(1)
					}
					time.Sleep(min(wait, 20*time.Millisecond))
				}
			})
		}
		running.Wait()
		allowed := 20 + 100*time.Since(began).Seconds()
		t.Logf("%s: %d let in, %.0f allowed; the longest wait for an answer %v", c.name, let.Load(), allowed, time.Duration(longest.Load()))
		if n := float64(let.Load()); n > c.most*allowed+3 || n < c.least*(allowed-20) {
			t.Errorf("%s: %v were let in, %.0f are allowed", c.name, n, allowed)
		}
		server.Kill()
		for _, p := range all {
			until(t, "being alone", in(p.client, cluster.Alone))
		}
	}
}

// One node of a cluster says nothing any more, and the others do. Nobody waits
// for a rate that lies there.
func TestARateAtASilentNodeKeepsNobody(t *testing.T) {
	t.Parallel()
	p, nodes := inCluster(t, "cluster-node-timeout", "60000")
	dir := t.TempDir()
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("erp%d.env", i)), fmt.Appendf(nil, "CIDRS=10.%d.0.0/16\nRATE=1000\nBURST=100\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	book, err := callers.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rates := p.Rates()
	var silent *redistest.Server
	var caller *callers.Caller
	for i := range 20 {
		name := fmt.Sprintf("erp%d", i)
		book.Lookup(name).Wait(t.Context(), rates)
		for _, n := range nodes {
			if keys := n.CLI("KEYS", "*"); strings.Contains(keys, "{caller/"+name+"}") && !strings.Contains(keys, "{fleet}") {
				silent, caller = n, book.Lookup(name)
			}
		}
	}
	elsewhere := ""
	for i := range 20 {
		elsewhere = fmt.Sprint("k", i)
		if p.Eval(t.Context(), increment, []string{p.Key(elsewhere, "count")}, 1); !strings.Contains(silent.CLI("KEYS", "*"), "{"+elsewhere+"}") {
			break
		}
	}
	time.Sleep(1100 * time.Millisecond) // what was taken ahead is given back
	silent.Pause()
	t.Cleanup(silent.Resume)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				p.Eval(t.Context(), increment, []string{p.Key(elsewhere, "count")}, 1)
			}
		}
	}()
	defer close(done)
	var mu sync.Mutex
	var longest time.Duration
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			began := time.Now()
			caller.Wait(t.Context(), rates)
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(began))
		})
	}
	all.Wait()
	t.Logf("%v at most", longest)
	if longest > time.Second {
		t.Errorf("a call waited for %v", longest)
	}
}
