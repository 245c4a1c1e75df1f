package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/panics"
)

// process is the program itself, with a pipe for its standard output.
func process(t *testing.T, settings map[string]string) (calls, ops string, out *os.File) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, writes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &exec.Cmd{Path: self, Args: []string{"dynproxy", "serve"}, Env: environOf(settings), Stdout: writes}
	c.Env = append(c.Env, prefix+"LISTEN=127.0.0.1:0", prefix+"OPS_LISTEN=127.0.0.1:0")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	writes.Close()
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		in.Close()
		select {
		case err := <-ended:
			t.Errorf("it ended by itself: %v", err)
			return
		default:
		}
		c.Process.Signal(os.Interrupt)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			c.Process.Kill()
			t.Error("it does not end")
		}
	})
	var serving struct {
		Listen    string
		OpsListen string `json:"ops_listen"`
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if strings.Contains(lines.Text(), `"serving"`) {
			if err := json.Unmarshal(lines.Bytes(), &serving); err != nil {
				t.Fatal(err)
			}
			return "http://" + serving.Listen, "http://" + serving.OpsListen, in
		}
	}
	t.Fatal("it does not serve")
	return "", "", nil
}

// Nobody who reads the log can stop the proxy, by leaving or by standing still.
func TestTheLogsReaderStopsNothing(t *testing.T) {
	p := startEmulator(t, demoSeed()).settings("contoso")
	for name, inject := range map[string]func(*os.File){
		"it leaves":       func(out *os.File) { out.Close() },
		"it stands still": func(*os.File) {},
	} {
		t.Run(name, func(t *testing.T) {
			calls, ops, out := process(t, p)
			inject(out)
			client := &http.Client{Timeout: 20 * time.Second}
			for range 400 { // some 200 KB of lines: more than a pipe holds
				resp, err := client.Get(calls + "/nobody/api/data/v9.2/" + strings.Repeat("x", 400))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusNotFound {
					t.Fatal(resp.Status)
				}
			}
			_, text := fetch(t, ops+"/metrics")
			if !strings.Contains(text, "dynproxy_log_lines_dropped_total") {
				t.Error("there is no metric")
			}
			if name == "it leaves" && strings.Contains(text, "dynproxy_log_lines_dropped_total 0\n") {
				t.Error("what nobody will read is not counted")
			}
		})
	}
}

// A fault of a page costs that page.
func TestAFaultOfAPage(t *testing.T) {
	var log strings.Builder
	cfg := &config{}
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

// What net/http itself says of a panic is an error; the rest is for those who
// look for it. The value of a panic may quote anything.
func TestPanicsThatNetHTTPTellsAreErrors(t *testing.T) {
	var log strings.Builder
	out := quiet(newLog(&config{}, &log, &log))
	out.Printf("http: panic serving %v: %v\n%s", "127.0.0.1:1", "canary", "goroutine 7 [running]:\nmain.go:1")
	out.Print("http: TLS handshake error")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"level":"error"`) || !strings.Contains(lines[0], "main.go:1") || strings.Contains(lines[0], "canary") || !strings.Contains(lines[1], `"level":"debug"`) {
		t.Errorf("%s", log.String())
	}
}
