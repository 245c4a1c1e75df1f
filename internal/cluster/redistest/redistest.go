// Package redistest starts real Redis servers for tests.
package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// Server is a redis-server of Debian on a port of its own. It ends with the
// test.
type Server struct {
	t    testing.TB
	args []string
	dir  string
	host string
	port string
	attr *syscall.SysProcAttr // how it is started; nil: as anything is

	mu      sync.Mutex
	running *exec.Cmd
	ended   chan struct{}
}

// Start runs a redis-server that keeps nothing on disk, with further settings
// such as "--maxmemory", "2mb".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	needs.Tool(t, "Redis")
	s := newServer(t)
	for _, setting := range settings {
		s.args = append(s.args, strings.ReplaceAll(setting, "{port}", s.port))
	}
	s.Again()
	return s
}

func newServer(t testing.TB) *Server {
	s := &Server{t: t, dir: t.TempDir(), host: "127.0.0.1", port: freePort(t)}
	t.Cleanup(s.Kill)
	return s
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Addr is where it listens: 127.0.0.1:port, but for one that is Apart.
func (s *Server) Addr() string { return net.JoinHostPort(s.host, s.port) }

// URL is its address as a setting.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Again starts it after Kill, empty, at the same port, and waits until it
// answers. Further settings stand behind those of the start.
func (s *Server) Again(more ...string) {
	s.t.Helper()
	s.start(more...)
	s.awaitAnswer()
}

func (s *Server) start(more ...string) {
	s.t.Helper()
	s.run("redis-server", append(append([]string{"--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir, "--daemonize", "no"}, s.args...), more...))
}

func (s *Server) run(program string, args []string) {
	s.t.Helper()
	path, err := needs.Find(program)
	if err != nil {
		s.t.Fatal(err)
	}
	command := exec.Command(path, args...)
	command.Dir, command.SysProcAttr = s.dir, s.attr
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { command.Wait(); close(ended) }()
	s.mu.Lock()
	s.running, s.ended = command, ended
	s.mu.Unlock()
}

// awaitAnswer waits until something listens and speaks.
func (s *Server) awaitAnswer() {
	s.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Since(began) > 30*time.Second {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server does not start: %v\n%s", err, log)
		}
	}
}

// Kill ends it at once, as kill -9 does.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	s.running.Process.Kill()
	<-s.ended
	s.running = nil
}

// CLI runs a command of Redis by redis-cli and returns what it prints.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...)
	if err != nil {
		s.t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// IsPrimary reports whether it says so. One that becomes it closes its
// connections, and then says nothing.
func (s *Server) IsPrimary() bool {
	out, err := s.command("ROLE")
	return err == nil && strings.HasPrefix(out, "master")
}

func (s *Server) command(args ...string) (string, error) {
	base := []string{"-h", s.host, "-p", s.port, "--no-auth-warning"}
	out, err := exec.Command("redis-cli", append(base, args...)...).CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}

// Dump is everything that lies in it: each key with its type, its life in
// milliseconds (-1 for ever) and its bytes as DUMP tells them.
func (s *Server) Dump() []Key {
	s.t.Helper()
	var all []Key
	for name := range strings.Lines(s.CLI("--scan")) {
		name = strings.TrimRight(name, "\n")
		if name == "" {
			continue
		}
		k := Key{Name: name, Type: s.CLI("TYPE", name)}
		fmt.Sscan(s.CLI("PTTL", name), &k.Life)
		k.Bytes = s.CLI("--raw", "DUMP", name) + s.CLI("--raw", "EVAL", readable, "1", name)
		all = append(all, k)
	}
	return all
}

// readable returns what a key holds without Redis's own compression.
const readable = `
local t = redis.call('TYPE', KEYS[1]).ok
if t == 'string' then return redis.call('GET', KEYS[1]) end
if t == 'hash' then return table.concat(redis.call('HGETALL', KEYS[1]), ' ') end
if t == 'zset' then return table.concat(redis.call('ZRANGE', KEYS[1], 0, -1), ' ') end
if t == 'set' then return table.concat(redis.call('SMEMBERS', KEYS[1]), ' ') end
if t == 'list' then return table.concat(redis.call('LRANGE', KEYS[1], 0, -1), ' ') end
return ''
`

// Key is one key that lies in a Server.
type Key struct {
	Name, Type string
	Life       int64 // milliseconds, -1 for ever
	Bytes      string
}
