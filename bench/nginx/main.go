// Command nginx compares the whole proxy with nginx that rewrites links by
// sub_filter: processor time a request, on pages of 5 MB and of 60 KB, both
// before the same organization over TLS, in one run, in turn, medians of seven.
// It prints a table of ratios, and the proxy's memory while eight callers read
// 5 MB pages.
//
//	go run ./bench/nginx
//
// It needs Linux and nginx with sub_filter on the PATH.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

const rounds = 7

func main() {
	upstream := flag.String("upstream", "", "serve as the organization, writing its address and CA into this `directory`")
	flag.Parse()
	var err error
	if *upstream != "" {
		err = serveOrganization(*upstream)
	} else {
		err = compare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nginx:", err)
		os.Exit(1)
	}
}

// contender is one of the two, as processes and an address.
type contender struct {
	name string
	base string
	pids []int
}

func compare() error {
	dir, err := os.MkdirTemp("", "dynproxy-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var running []*exec.Cmd
	defer func() {
		for _, c := range running {
			c.Process.Signal(os.Interrupt)
			c.Wait()
		}
	}()
	run := func(environ []string, name string, args ...string) (*exec.Cmd, error) {
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), environ...)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return nil, err
		}
		running = append(running, c)
		return c, nil
	}

	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := run(nil, self, "-upstream", dir); err != nil {
		return err
	}
	organization, err := await(filepath.Join(dir, "address"))
	if err != nil {
		return err
	}
	ours, err := startProxy(dir, organization, run)
	if err != nil {
		return err
	}
	theirs, err := startNginx(dir, organization, run)
	if err != nil {
		return err
	}
	return measure(ours, theirs)
}

func startProxy(dir, organization string, run func([]string, string, ...string) (*exec.Cmd, error)) (*contender, error) {
	binary := filepath.Join(dir, "dynproxy")
	if out, err := exec.Command("go", "build", "-o", binary, "dynproxy/cmd/dynproxy").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the proxy: %w\n%s", err, out)
	}
	address := freeAddress()
	c, err := run([]string{
		"DYNPROXY_LISTEN=" + address, "DYNPROXY_OPS_LISTEN=" + freeAddress(), "DYNPROXY_LOG_LEVEL=warn",
		"DYNPROXY_CLIENT_ID=bench", "DYNPROXY_CLIENT_SECRET=bench", "DYNPROXY_TENANTS=contoso=https://" + organization,
		"DYNPROXY_ALLOWED_ORG_HOSTS=" + organization, "DYNPROXY_ALLOWED_LOGIN_HOSTS=" + organization,
		"DYNPROXY_TRUSTED_CA_FILE=" + filepath.Join(dir, "ca.pem"), "DYNPROXY_TENANT_LIMITS=off",
	}, binary, "serve")
	if err != nil {
		return nil, err
	}
	ours := &contender{"dynproxy", "http://" + address + "/contoso", []int{c.Process.Pid}}
	return ours, ours.ready()
}

// nginxConfig is as good as nginx does it: one worker, kept connections to the
// organization, buffers that hold a page.
const nginxConfig = `
daemon off; worker_processes 1; pid %[1]s/nginx.pid; error_log %[1]s/error.log crit;
events { worker_connections 512; }
http {
  access_log off; keepalive_requests 100000;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  upstream organization { server %[2]s; keepalive 16; keepalive_requests 100000; }
  server {
    listen %[3]s;
    location /contoso/ {
      proxy_pass https://organization/;
      proxy_http_version 1.1; proxy_ssl_session_reuse on;
      proxy_set_header Connection ""; proxy_set_header Host %[2]s; proxy_set_header Accept-Encoding "";
      proxy_set_header Authorization "Bearer bench";
      proxy_buffers 128 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;
      sub_filter "https://%[2]s" "http://%[3]s/contoso"; sub_filter_once off; sub_filter_types application/json;
    }
  }
}
`

func startNginx(dir, organization string, run func([]string, string, ...string) (*exec.Cmd, error)) (*contender, error) {
	address := freeAddress()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, organization, address), 0o600); err != nil {
		return nil, err
	}
	// The workers run as nobody else than who started it.
	os.Chmod(dir, 0o755)
	c, err := run(nil, "nginx", "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"))
	if err != nil {
		return nil, fmt.Errorf("nginx is needed: %w", err)
	}
	theirs := &contender{"nginx", "http://" + address + "/contoso", []int{c.Process.Pid}}
	if err := theirs.ready(); err != nil {
		return nil, err
	}
	theirs.pids = append(theirs.pids, children(c.Process.Pid)...)
	return theirs, nil
}

func (c *contender) ready() error {
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(c.base + "/api/data/v9.2/small")
		if err != nil {
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer", c.name)
}

// spent returns the processor time that the contender has used.
func (c *contender) spent() time.Duration {
	var ticks int64
	for _, pid := range c.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, field := range fields[11:13] {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // 100 ticks a second
}

// load reads the page n times, one after the other, and returns the processor
// time of each.
func (c *contender) load(page string, n int) (time.Duration, error) {
	before := c.spent()
	for range n {
		if err := c.read(page); err != nil {
			return 0, err
		}
	}
	return (c.spent() - before) / time.Duration(n), nil
}

func (c *contender) read(page string) error {
	r, _ := http.NewRequest(http.MethodGet, c.base+"/api/data/v9.2/"+page, nil)
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n < 1000) {
		err = fmt.Errorf("%s answers %s with %d bytes", c.name, resp.Status, n)
	}
	return err
}

func measure(ours, theirs *contender) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "page\tdynproxy, ms of CPU\tnginx, ms of CPU\tratio\t")
	for _, page := range []struct {
		name, label string
		n           int
	}{{"large", "5 MB, 5,000 links", 40}, {"small", "60 KB, 60 links", 1500}, {"large-gzip", "5 MB, gzip from the organization", 40}} {
		peer := page.name
		if peer == "large-gzip" {
			peer = "large" // sub_filter cannot read gzip, so nginx does not ask for it
		}
		var a, b, ratios []float64
		for range rounds {
			x, err := ours.load(page.name, page.n)
			if err != nil {
				return err
			}
			y, err := theirs.load(peer, page.n)
			if err != nil {
				return err
			}
			a, b, ratios = append(a, ms(x)), append(b, ms(y)), append(ratios, ms(x)/ms(y))
		}
		fmt.Fprintf(table, "%s\t%.3f\t%.3f\t%.2f\t\n", page.label, median(a), median(b), median(ratios))
	}
	table.Flush()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 10 {
				ours.read("large")
			}
		})
	}
	callers.Wait()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", ours.pids[0]))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") {
			fmt.Printf("memory at the most, 8 callers of 5 MB pages: %s", strings.TrimSpace(strings.TrimPrefix(line, "VmHWM:"))+"\n")
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

func await(file string) (string, error) {
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
			return string(text), nil
		}
	}
	return "", fmt.Errorf("%s was not written", file)
}

func children(pid int) []int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var all []int
	for _, field := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(field); err == nil {
			all = append(all, n)
		}
	}
	return all
}
