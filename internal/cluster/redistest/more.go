package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Replica starts a server that follows of, and waits until it does.
func Replica(t testing.TB, of *Server) *Server {
	t.Helper()
	s := Start(t, "--replicaof", "127.0.0.1", of.port)
	s.await("the link to its primary", func() bool {
		out, err := s.command("INFO", "replication")
		return err == nil && strings.Contains(out, "master_link_status:up")
	})
	return s
}

// Sentinel starts a sentinel that watches primary under name, and replaces it
// when it has been silent for a second.
func Sentinel(t testing.TB, primary *Server, name string) *Server {
	t.Helper()
	s := newServer(t)
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %s 1\nsentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 3000\n", s.port, s.dir, name, primary.port)
	path := filepath.Join(s.dir, "sentinel.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("redis-sentinel", []string{path})
	s.awaitAnswer()
	s.await("its replica", func() bool {
		out, err := s.command("SENTINEL", "REPLICAS", name)
		return err == nil && strings.Contains(out, "master-link-status\nok")
	})
	return s
}

// Cluster starts three servers that are a cluster.
func Cluster(t testing.TB) []*Server {
	t.Helper()
	var nodes []*Server
	create := []string{"--cluster", "create"}
	for range 3 {
		n := Start(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "2000")
		nodes = append(nodes, n)
		create = append(create, n.Addr())
	}
	if out, err := nodes[0].command(append(create, "--cluster-yes")...); err != nil {
		t.Fatalf("no cluster comes about: %v\n%s", err, out)
	}
	for _, n := range nodes {
		n.await("the cluster", func() bool {
			out, err := n.command("CLUSTER", "INFO")
			return err == nil && strings.Contains(out, "cluster_state:ok")
		})
	}
	return nodes
}

func (s *Server) await(what string, ok func() bool) {
	s.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 60*time.Second {
			s.t.Fatalf("%s does not come", what)
		}
	}
}
