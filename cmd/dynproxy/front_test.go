package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/needs"
	"dynproxy/internal/problem"
)

// unused is an address on loopback where nothing listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// front is a server that people put before the proxy. It logs one line of
// JSON a request that it understood: the method, the target and the status
// that the proxy answered, if it was asked.
type front struct {
	name string
	// config is the text of the configuration: %[1]s is where to listen, %[2]s
	// the proxy, %[3]s a folder.
	config  string
	command func(folder string) *exec.Cmd
}

var fronts = []front{
	{
		"nginx", `
daemon off; worker_processes 1; pid %[3]s/nginx.pid; error_log %[3]s/error.log crit;
events { worker_connections 512; }
http {
  log_format one escape=json '{"method":"$request_method","target":"$request_uri","answered":"$upstream_status"}';
  access_log %[3]s/access.log one;
  client_body_temp_path %[3]s/a; proxy_temp_path %[3]s/b; fastcgi_temp_path %[3]s/c; uwsgi_temp_path %[3]s/d; scgi_temp_path %[3]s/e;
  large_client_header_buffers 8 128k; lingering_close off;
  upstream proxy { server %[2]s; keepalive 4; }
  server {
    listen %[1]s;
    location / {
      proxy_pass http://proxy; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_next_upstream off; proxy_request_buffering off;
    }
  }
}`,
		func(folder string) *exec.Cmd {
			return exec.Command(program("nginx"), "-p", folder, "-c", filepath.Join(folder, "config"), "-e", filepath.Join(folder, "error.log"))
		},
	},
	{
		"haproxy", `
global
  log stdout format raw local0
  tune.bufsize 200000
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 30s
  retries 0
  http-reuse always
  option http-keep-alive
frontend calls
  bind %[1]s
  log global
  log-format '{"method":"%%HM","target":"%%[capture.req.uri,json]","answered":"%%[srv_name]%%ST"}'
  default_backend proxy
backend proxy
  server one %[2]s
`,
		func(folder string) *exec.Cmd {
			return exec.Command(program("haproxy"), "-db", "-f", filepath.Join(folder, "config"))
		},
	},
}

// logged is a line of a front's log.
type logged struct{ Method, Target, Answered string }

// start runs the front before the proxy at address and returns where it
// listens, and how to end it and read its log.
func (f front) start(t *testing.T, address string) (listens string, log func() []logged) {
	t.Helper()
	folder := t.TempDir()
	os.Chmod(folder, 0o755) // nginx's workers may run as nobody
	listens = unused(t)
	if err := os.WriteFile(filepath.Join(folder, "config"), fmt.Appendf(nil, f.config, listens, address, folder), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(folder, "out"))
	if err != nil {
		t.Fatal(err)
	}
	c := f.command(folder)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
		out.Close()
	})
	t.Cleanup(end)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", listens); err == nil {
			conn.Close()
			break
		}
		if time.Since(began) > 10*time.Second {
			text, _ := os.ReadFile(out.Name())
			t.Fatalf("%s does not start: %s", f.name, text)
		}
	}
	return listens, func() (lines []logged) {
		end()
		for _, file := range []string{"access.log", "out"} {
			text, _ := os.ReadFile(filepath.Join(folder, file))
			for line := range strings.Lines(string(text)) {
				var one logged
				if json.Unmarshal([]byte(line), &one) == nil && one.Method != "" {
					lines = append(lines, one)
				}
			}
		}
		return lines
	}
}

// Behind another server the proxy must take for a request just what that
// server took for one, whatever a stranger sends; else the second half of one
// caller's request would become the first half of another's.
func TestHostileRequestsBehindAnotherServer(t *testing.T) {
	t.Parallel()
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			needs.Tool(t, f.name)
			p := startEmulator(t, demoSeed())
			r := start(t, p.settings("contoso"))
			listens, log := f.start(t, strings.TrimPrefix(r.calls, "http://"))
			through := &running{t: t, calls: "http://" + listens}
			if resp, body := through.get(whoAmIPath); resp.StatusCode != http.StatusOK {
				t.Fatalf("a good call gets %d %s", resp.StatusCode, body)
			}
			var strangers sync.WaitGroup
			for _, h := range hostileRequests() {
				strangers.Go(func() { through.raw(h.raw) })
			}
			strangers.Wait()
			if resp, body := through.get(whoAmIPath); resp.StatusCode != http.StatusOK {
				t.Errorf("afterwards a good call gets %d %s", resp.StatusCode, body)
			}
			http.DefaultClient.CloseIdleConnections()

			forwarded := map[string]int{}
			for _, one := range log() {
				if one.Answered != "" && one.Answered != "-" && one.Method != "<BADREQ>" {
					forwarded[one.Method+" "+pathOf(one.Target)]++
				}
			}
			if len(forwarded) < 4 {
				t.Fatalf("%s forwarded only %v: the comparison shows nothing", f.name, forwarded)
			}
			r.end()
			taken := r.accessLines()
			for request, n := range taken {
				// What was refused is logged with as much of its path as was sound.
				if request != refusedRequest && n > forwarded[request] {
					t.Errorf("the proxy took %d of %q for requests, %s %d", n, request, f.name, forwarded[request])
				}
			}
			if a, b := total(taken), total(forwarded); a != b {
				t.Errorf("the proxy took %d requests, %s forwarded %d:\n%v\n%v", a, f.name, b, sorted(taken), sorted(forwarded))
			}
		})
	}
}

// refusedRequest stands for all requests that were refused as ambiguous.
const refusedRequest = "refused"

// program is the path of a server that may stand where only root looks.
func program(name string) string {
	if path, err := needs.Find(name); err == nil {
		return path
	}
	return name
}

// accessLines counts the requests in the proxy's access log.
func (r *running) accessLines() map[string]int {
	count := map[string]int{}
	for line := range strings.Lines(r.log.String()) {
		var access struct {
			Message, Method, Path, Error string
			Status                       int
		}
		switch {
		case json.Unmarshal([]byte(line), &access) != nil || access.Status == 0:
		case access.Error == string(problem.BadRequest):
			count[refusedRequest]++
		default:
			count[access.Method+" "+access.Path]++
		}
	}
	return count
}

func pathOf(target string) string {
	if i := strings.Index(target, "://"); i > 0 && !strings.HasPrefix(target, "/") {
		rest := target[i+3:]
		if j := strings.IndexByte(rest, '/'); j >= 0 {
			target = rest[j:]
		}
	}
	path, _, _ := strings.Cut(target, "?")
	return strings.ReplaceAll(path, `\`, "%5C") // as the access log writes it
}

func total(count map[string]int) (sum int) {
	for _, n := range count {
		sum += n
	}
	return sum
}

func sorted(count map[string]int) []string {
	var list []string
	for name, n := range count {
		list = append(list, fmt.Sprintf("%d %.80s", n, name))
	}
	slices.Sort(list)
	return list
}
