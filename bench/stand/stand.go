// Package stand holds up what a benchmark compares: the proxy, built from this
// tree, and its peers, as processes on loopback that end with the benchmark.
package stand

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience is how long a process may take until it answers.
const patience = 30 * time.Second

// Stand is a folder and the processes that run in it.
type Stand struct {
	Dir    string // for files; gone after Close
	Alive  bool   // whether a proxy that lives will do: one without a tenant is never ready
	Binary string // of the next proxy; one of this tree is built where it is empty

	mu      sync.Mutex // guards running
	running []*exec.Cmd
}

// New makes an empty stand.
func New() (*Stand, error) {
	dir, err := os.MkdirTemp("", "dynproxy-bench-")
	if err != nil {
		return nil, err
	}
	return &Stand{Dir: dir}, nil
}

// Close ends all processes, the last first, and removes the folder.
func (s *Stand) Close() {
	for {
		s.mu.Lock()
		n := len(s.running)
		if n == 0 {
			s.mu.Unlock()
			break
		}
		last := s.running[n-1].Process.Pid
		s.mu.Unlock()
		s.End(last)
	}
	os.RemoveAll(s.Dir)
}

// End ends one process before the others.
func (s *Stand) End(pid int) {
	s.mu.Lock()
	i := slices.IndexFunc(s.running, func(c *exec.Cmd) bool { return c.Process.Pid == pid })
	c := s.running[i]
	s.running = slices.Delete(s.running, i, i+1)
	s.mu.Unlock()
	c.Process.Signal(os.Interrupt)
	c.Wait()
}

// Start runs a program with further variables in its environment.
func (s *Stand) Start(environ []string, name string, args ...string) (*exec.Cmd, error) {
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), environ...)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, c)
	return c, nil
}

// Proxy is one that serves.
type Proxy struct {
	Calls string // the base for callers, http://127.0.0.1:port
	Ops   string // the base for operators, http://localhost:port
	PID   int
}

// Proxy runs one more proxy and waits until it serves. The settings are
// NAME=value without the prefix.
func (s *Stand) Proxy(settings ...string) (Proxy, error) {
	if s.Binary == "" {
		binary := filepath.Join(s.Dir, "dynproxy")
		if err := Build(binary); err != nil {
			return Proxy{}, err
		}
		s.Binary = binary
	}
	var proxy Proxy
	err := errors.New("not tried")
	for try := 0; err != nil && try < 3; try++ { // somebody may take an address that was free
		proxy, err = s.proxy(settings)
	}
	return proxy, err
}

func (s *Stand) proxy(settings []string) (Proxy, error) {
	callers, operators := FreeAddress(), FreeAddress()
	environ := []string{"DYNPROXY_LISTEN=" + callers, "DYNPROXY_OPS_LISTEN=" + operators, "DYNPROXY_LOG_LEVEL=warn"}
	for _, setting := range settings {
		environ = append(environ, "DYNPROXY_"+setting)
	}
	c, err := s.Start(environ, s.Binary, "serve")
	if err != nil {
		return Proxy{}, err
	}
	_, port, _ := net.SplitHostPort(operators)
	return Proxy{"http://" + callers, "http://localhost:" + port, c.Process.Pid}, Await("http://" + operators + map[bool]string{true: "/healthz", false: "/readyz"}[s.Alive])
}

// Build makes the program by its own module's rules, as a user gets it, not by
// those of the benchmarks' module.
func Build(binary string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "dynproxy").Output()
	if err != nil {
		return fmt.Errorf("find the proxy's module (run this in bench): %w", err)
	}
	if out, err := exec.Command("go", "-C", strings.TrimSpace(string(root)), "build", "-o", binary, "./cmd/dynproxy").CombinedOutput(); err != nil {
		return fmt.Errorf("build the proxy: %w\n%s", err, out)
	}
	return nil
}

// Await asks for url until it answers 200.
func Await(url string) error {
	last := ""
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			last = err.Error()
			continue
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = resp.Status + " " + string(text)
	}
	return fmt.Errorf("%s does not answer 200 within %v: %s", url, patience, last)
}

// AwaitFile returns what a process writes into a file.
func AwaitFile(file string) (string, error) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
			return string(text), nil
		}
	}
	return "", fmt.Errorf("%s was not written within %v", file, patience)
}

// FreeAddress is one on loopback where nothing listens.
func FreeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}
