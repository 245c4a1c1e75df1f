// Command nginx compares the whole proxy with nginx that rewrites links by
// sub_filter: processor time a request, on pages of 5 MB and of 60 KB, both
// before the same organization over TLS, in one run, in turn, medians of seven.
// It prints a table of ratios, and the proxy's memory while eight callers read
// 5 MB pages.
//
//	go -C bench run ./nginx
//
// It needs Linux and nginx with sub_filter on the PATH.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"dynproxy/bench/stand"
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
	s, err := stand.New()
	if err != nil {
		return err
	}
	defer s.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := s.Start(nil, self, "-upstream", s.Dir); err != nil {
		return err
	}
	organization, err := stand.AwaitFile(filepath.Join(s.Dir, "address"))
	if err != nil {
		return err
	}
	ours, err := startProxy(s, organization)
	if err != nil {
		return err
	}
	theirs, err := startNginx(s, organization)
	if err != nil {
		return err
	}
	return measure(ours, theirs)
}

func startProxy(s *stand.Stand, organization string) (*contender, error) {
	proxy, err := s.Proxy(
		"CLIENT_ID=bench", "CLIENT_SECRET=bench", "TENANTS=contoso=https://"+organization,
		"ALLOWED_ORG_HOSTS="+organization, "ALLOWED_LOGIN_HOSTS="+organization,
		"TRUSTED_CA_FILE="+filepath.Join(s.Dir, "ca.pem"), "TENANT_LIMITS=off",
	)
	return &contender{"dynproxy", proxy.Calls + "/contoso", []int{proxy.PID}}, err
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

func startNginx(s *stand.Stand, organization string) (*contender, error) {
	address := stand.FreeAddress()
	file := filepath.Join(s.Dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, s.Dir, organization, address), 0o600); err != nil {
		return nil, err
	}
	// The workers run as nobody else than who started it.
	os.Chmod(s.Dir, 0o755)
	c, err := s.Start(nil, "nginx", "-p", s.Dir, "-c", file, "-e", filepath.Join(s.Dir, "error.log"))
	if err != nil {
		return nil, fmt.Errorf("nginx is needed: %w", err)
	}
	theirs := &contender{"nginx", "http://" + address + "/contoso", []int{c.Process.Pid}}
	if err := stand.Await(theirs.base + "/api/data/v9.2/small"); err != nil {
		return nil, err
	}
	theirs.pids = append(theirs.pids, children(c.Process.Pid)...)
	return theirs, nil
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
