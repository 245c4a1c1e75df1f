package cluster_test

import (
	"os"
	"path/filepath"
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
