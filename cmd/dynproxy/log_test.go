package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/panics"
)

// child is the program itself, as a process. Of its outputs it has pipes:
// standard output is read by who wants to, standard error by nobody.
type child struct {
	calls, ops string
	out        *os.File       // the read end of its standard output
	lines      *bufio.Scanner // of out
	cmd        *exec.Cmd
	ended      chan error
	killed     bool
}

func process(t *testing.T, settings map[string]string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, writes := pipe(t)
	errors, complains := pipe(t)
	t.Cleanup(func() { errors.Close() })
	c := &child{out: out, lines: bufio.NewScanner(out), ended: make(chan error, 1)}
	c.lines.Buffer(nil, 1<<20)
	c.cmd = &exec.Cmd{Path: self, Args: []string{"dynproxy", "serve"}, Env: environOf(settings), Stdout: writes, Stderr: complains}
	c.cmd.Env = append(c.cmd.Env, prefix+"LISTEN=127.0.0.1:0", prefix+"OPS_LISTEN=127.0.0.1:0")
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writes.Close()
	complains.Close()
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() { c.end(t) })
	var serving struct {
		Listen    string
		OpsListen string `json:"ops_listen"`
	}
	for c.lines.Scan() {
		if strings.Contains(c.lines.Text(), `"serving"`) {
			if err := json.Unmarshal(c.lines.Bytes(), &serving); err != nil {
				t.Fatal(err)
			}
			c.calls, c.ops = "http://"+serving.Listen, "http://"+serving.OpsListen
			return c
		}
	}
	t.Fatal("it does not serve")
	return nil
}

func pipe(t *testing.T) (out, in *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// end ends it as a service manager does, and wants that to go well.
func (c *child) end(t *testing.T) {
	c.out.Close()
	if c.killed {
		<-c.ended
		return
	}
	select {
	case err := <-c.ended:
		t.Errorf("it ended by itself: %v", err)
		return
	default:
	}
	c.cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		c.cmd.Process.Kill()
		t.Error("it does not end")
	}
}

// call makes n calls on one connection, each for a path of so many bytes that
// begins with its number. It reports what they were answered if not 404, as
// these must be.
func (c *child) call(t *testing.T, n, size int) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for i := range n {
		resp, err := client.Get(fmt.Sprintf("%s/nobody/%d/%s", c.calls, i, strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Fatal(resp.Status)
		}
	}
}

// dropped is what the metric says of lines that nobody read.
func (c *child) dropped(t *testing.T) (n int) {
	t.Helper()
	_, text := fetch(t, c.ops+"/metrics")
	_, value, found := strings.Cut(text, "\ndynproxy_log_lines_dropped_total ")
	if !found {
		t.Error("there is no metric")
	}
	fmt.Sscanf(value, "%d", &n)
	return n
}

// Nobody who reads the log can stop the proxy, by leaving or by standing still.
// Nobody reads what it says on standard error either.
func TestTheLogsReaderStopsNothing(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed()).settings("contoso")
	const calls, size = 3000, 4000 // 13 MB of lines: more than the queue and a pipe hold
	t.Run("it leaves", func(t *testing.T) {
		c := process(t, p)
		c.out.Close()
		c.call(t, 400, 400)
		if c.dropped(t) == 0 {
			t.Error("what nobody will read is not counted")
		}
	})
	t.Run("it stands still", func(t *testing.T) {
		c := process(t, p)
		c.call(t, calls, size)
		dropped := c.dropped(t)
		if dropped == 0 || dropped >= calls {
			t.Fatalf("%d lines of %d are counted as dropped", dropped, calls)
		}
		// It reads again: what was kept comes, and what was not is told.
		read, told := 0, 0
		for told == 0 && c.lines.Scan() {
			var line struct {
				Message, Path string
				Dropped       int
			}
			if err := json.Unmarshal(c.lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			if told = line.Dropped; strings.HasPrefix(line.Path, "/nobody/") {
				read++
			}
			if read == 1 { // there is room again once the first has been taken, and the next line tells
				c.call(t, 1, 1)
			}
		}
		if read+told < calls {
			t.Errorf("%d lines came and %d were told of as dropped, of %d", read, told, calls)
		}
	})
}

// A crash takes nothing of the log that is older than some milliseconds: what
// is queued goes out at once.
func TestACrashLosesNoLine(t *testing.T) {
	t.Parallel()
	c := process(t, startEmulator(t, demoSeed()).settings("contoso"))
	const calls = 100 // lines that a pipe holds, since it is read only at the end
	// The line of a call is queued before the next call of its connection is read.
	c.call(t, calls+1, 20)
	time.Sleep(10 * time.Millisecond) // which is what is promised
	c.killed = true
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for c.lines.Scan() {
		var line struct{ Path string }
		json.Unmarshal(c.lines.Bytes(), &line)
		seen[line.Path] = true
	}
	for i := range calls {
		if path := fmt.Sprintf("/nobody/%d/%s", i, strings.Repeat("x", 20)); !seen[path] {
			t.Errorf("the line of call %d is lost", i)
		}
	}
}

// A fault of a page costs that page.
func TestAFaultOfAPage(t *testing.T) {
	var log strings.Builder
	cfg := &config{verbosity: newVerbosity(1)}
	h := panics.Handler(newLog(cfg, &log, &log), "operators", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("canary") }), http.HandlerFunc(internalError))
	server := &http.Server{Handler: h}
	l, err := listenOr(nil, "", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l) // ends with Close
	defer server.Close()
	resp, text := fetch(t, "http://"+l.Addr().String()+"/")
	if resp.StatusCode != 500 || !strings.Contains(text, `"internal_error"`) || !strings.Contains(log.String(), `"level":"error"`) || strings.Contains(text+log.String(), "canary") {
		t.Errorf("%d %s\n%s", resp.StatusCode, text, log.String())
	}
}
