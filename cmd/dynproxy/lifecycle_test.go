package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/daemon"
	"dynproxy/internal/emulator"
	"dynproxy/internal/logqueue"
	"dynproxy/internal/needs"
)

// startProcess runs "dynproxy serve" as a process of its own, and waits until
// it serves. change, if not nil, may change how it is started.
func startProcess(t *testing.T, settings map[string]string, change func(*exec.Cmd)) (*running, *exec.Cmd) {
	t.Helper()
	if runtime.GOOS == "windows" {
		needs.Missing(t, "signals")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "dynproxy")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" serve`, program)
	c.Env = append(os.Environ(), prefix+"LISTEN=127.0.0.1:0", prefix+"OPS_LISTEN=127.0.0.1:0")
	for name, value := range settings {
		c.Env = append(c.Env, name+"="+value)
	}
	if change != nil {
		change(c)
	}
	in, out := io.Pipe()
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, ended: make(chan error, 1), log: &logBuffer{lines: make(chan string, 1000)}}
	r.stop = func() { c.Process.Signal(syscall.SIGTERM) }
	go r.log.keep(in)
	go func() {
		err := c.Wait()
		out.Close()
		r.ended <- err
	}()
	t.Cleanup(func() { c.Process.Kill(); <-r.ended })
	r.awaitServing()
	return r, c
}

// over waits for the end of a process.
func (r *running) over() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatalf("the proxy does not end\n%s", r.log)
		return nil
	}
}

// A socket that systemd opens off loopback is held to the rules of LISTEN, and
// one that means nothing is refused.
func TestSocketsOfSystemdAreJudged(t *testing.T) {
	if runtime.GOOS == "windows" {
		needs.Missing(t, "socket activation")
	}
	p := startEmulator(t, demoSeed())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for names, want := range map[string]string{
		"listen":         "DYNPROXY_LISTEN is not loopback",
		"ops_listen":     "DYNPROXY_OPS_LISTEN is not loopback",
		"":               "DYNPROXY_LISTEN is not loopback", // by its order
		"http:listen":    "means nothing here",
		"listen:listen":  "two sockets named",
		"dynproxy.sock2": "DYNPROXY_LISTEN is not loopback",
	} {
		program := filepath.Join(t.TempDir(), "dynproxy")
		if err := os.Symlink(self, program); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve`, program)
		n := 1 + strings.Count(names, ":")
		for range n {
			c.ExtraFiles = append(c.ExtraFiles, passable(t, "0.0.0.0:0"))
		}
		c.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", n), "LISTEN_FDNAMES="+names)
		for name, value := range p.settings("contoso") {
			c.Env = append(c.Env, name+"="+value)
		}
		said, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(said), want) {
			t.Errorf("%q: %v %s", names, err, said)
		}
	}
}

func TestWhatSystemdHearsOfTheProxy(t *testing.T) {
	p := startEmulator(t, demoSeed())
	at := filepath.Join(t.TempDir(), "notify")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		needs.Missing(t, err.Error())
	}
	defer told.Close()
	heard := func(want string) {
		t.Helper()
		for text := make([]byte, 4<<10); ; {
			told.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, err := told.Read(text)
			if err != nil {
				t.Fatalf("%s was not said: %v", want, err)
			}
			if strings.Contains(string(text[:n]), want) {
				return
			}
		}
	}
	r, _ := startProcess(t, p.settings("contoso"), func(c *exec.Cmd) {
		c.Env = append(c.Env, "NOTIFY_SOCKET="+at, "WATCHDOG_USEC=2000000")
	})
	heard("READY=1\nSTATUS=serving 1 tenants at " + strings.TrimPrefix(r.calls, "http://"))
	heard("WATCHDOG=1")
	heard("WATCHDOG=1")
	r.stop()
	heard("STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000") // DRAIN_TIMEOUT and what comes behind it
	if err := r.over(); err != nil {
		t.Error(err)
	}
	if strings.Contains(r.log.String(), `"message":"call"`) || strings.Contains(r.log.String(), "not fed") {
		t.Errorf("the log tells of what the proxy asks itself\n%s", r.log)
	}
}

// The watchdog's question is answered through every kind of listener, and not
// by a proxy that accepts and does not serve.
func TestTheProxyAsksItself(t *testing.T) {
	p, ca := startEmulator(t, demoSeed()), newTestCA(t)
	for _, kind := range []string{"plain", "TLS", "callers' certificates", "shared", "hangs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			settings := p.settings("contoso")
			settings[prefix+"LISTEN"], settings[prefix+"OPS_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
			if kind == "TLS" || kind == "callers' certificates" {
				overTLS(t, ca, settings)
			}
			if kind == "callers' certificates" {
				settings[prefix+"CALLER_CA_FILE"] = write(t, filepath.Join(t.TempDir(), "ca.pem"), ca.pem)
			}
			if kind == "shared" {
				if !daemon.CanShare {
					needs.Missing(t, "a system on which processes share a port")
				}
				settings[prefix+"REUSE_PORT"] = "true"
			}
			cfg, err := loadConfig(settings)
			if err != nil {
				t.Fatal(err)
			}
			lines := logqueue.New(io.Discard, 1<<20)
			defer lines.Close(0)
			h, err := newServer(cfg, zerolog.Nop(), lines)
			if err != nil {
				t.Fatal(err)
			}
			defer h.close()
			in := &entrances{}
			if err := in.open(cfg); err != nil {
				t.Fatal(err)
			}
			defer in.close()
			cfg.Listen = in.callers.Addr().String()
			h.guard(in.callers, in.operators)
			look := newSelfLook(h)
			s := h.callersServer()
			s.Handler = look.before(s.Handler)
			if kind != "hangs" {
				go h.guards.callers.Serve(s)
			}
			defer s.Close()
			if kind == "shared" { // another process, which answers otherwise
				other, err := daemon.Listen(cfg.Listen, true)
				if err != nil {
					t.Fatal(err)
				}
				another := &http.Server{Handler: http.NotFoundHandler()}
				go another.Serve(other)
				defer another.Close()
			}
			within := 20 * time.Second
			if kind == "hangs" {
				within = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			if err := look.alive(ctx); (err != nil) != (kind == "hangs") {
				t.Error(err)
			}
		})
	}
}

// A second signal ends at once.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	p := startEmulator(t, demoSeed())
	r, c := startProcess(t, p.settings("contoso"), nil)
	p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Slow, Delay: time.Minute, Path: "/api/data/v9.2/accounts"})
	cut := make(chan error, 1)
	go func() {
		resp, err := http.Get(r.calls + "/contoso/api/data/v9.2/accounts")
		if err == nil {
			resp.Body.Close()
		}
		cut <- err
	}()
	for !strings.Contains(fmt.Sprint(p.Organization("contoso").Requests()), "/accounts") {
		time.Sleep(time.Millisecond)
	}
	r.stop()
	r.await("draining", func(line string) bool { return strings.Contains(line, "draining") })
	if resp, _ := fetch(t, r.ops+"/readyz"); resp.StatusCode != 503 {
		t.Errorf("while it drains /readyz says %s", resp.Status)
	}
	r.stop()
	r.over()
	if state, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !state.Signaled() || state.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", c.ProcessState)
	}
	if err := <-cut; err == nil {
		t.Error("the call in flight was answered")
	}
}

// keptConn is a caller's connection that is used again.
type keptConn struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func (r *running) connect() *keptConn {
	r.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.calls, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &keptConn{r.t, c, bufio.NewReader(c)}
}

func (c *keptConn) answer() (status int, ends bool) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		c.t.Errorf("no answer: %v", err)
		return 0, false
	}
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close
}

// Connections that are kept end with an answer that says so, or while they are
// idle; a request of which something has come is served.
func TestKeptConnectionsEndWithoutLoss(t *testing.T) {
	const head = "GET " + whoAmIPath + " HTTP/1.1\r\nHost: localhost\r\n"
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"DRAIN_DELAY"] = "400ms"
	r := start(t, settings)
	used, idle, half := r.connect(), r.connect(), r.connect()
	for _, c := range []*keptConn{used, idle, half} {
		io.WriteString(c, head+"\r\n")
		if status, ends := c.answer(); status != 200 || ends {
			t.Fatalf("before: %d, ends: %v", status, ends)
		}
	}
	r.stop()
	r.await("draining", func(line string) bool { return strings.Contains(line, "draining") })
	io.WriteString(used, head+"\r\n")
	if status, ends := used.answer(); status != 200 || !ends {
		t.Errorf("within DRAIN_DELAY: %d, ends: %v", status, ends)
	}
	io.WriteString(half, head)
	if n, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection: %d bytes, %v", n, err)
	}
	io.WriteString(half, "\r\n")
	if status, ends := half.answer(); status != 200 || !ends {
		t.Errorf("half a head: %d, ends: %v", status, ends)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// Who was let in and has said nothing yet may call for a moment, and then ends.
func TestFirstCallsMayStillCome(t *testing.T) {
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	early, late := r.connect(), r.connect()
	r.stop()
	r.await("draining", func(line string) bool { return strings.Contains(line, "draining") })
	io.WriteString(early, "GET "+whoAmIPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if status, ends := early.answer(); status != 200 || !ends {
		t.Errorf("early: %d, ends: %v", status, ends)
	}
	if n, err := late.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("late: %d bytes, %v", n, err)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}
