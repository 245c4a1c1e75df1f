package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"dynproxy/bench/stand"
	"dynproxy/internal/needs"
)

// peer is a program that does the work, as a process and an address.
type peer struct {
	name     string
	address  string // host:port
	root     int    // the process, whose children count too
	rewrites bool   // links in bodies
	does     string // where it does less than others, or more
}

func (p *peer) base() string { return "http://" + p.address + "/contoso" }

// starter starts one more of a kind.
type starter struct {
	name  string
	start func(*field) (*peer, error)
}

const us = "dynproxy"

var starters = []starter{
	{"nginx", (*field).nginx},
	{"nginx again", (*field).nginx},
	{"HAProxy", (*field).haproxy},
	{"Caddy", (*field).caddy},
	{"bare ReverseProxy", (*field).bare},
	{us, func(f *field) (*peer, error) { return f.proxy() }},
}

// field is where peers stand before one organization.
type field struct {
	*stand.Stand
	plan
	self         string
	organization string // its address
	peers        []*peer
}

// open starts all of them.
func open(p plan) (*field, error) {
	s, err := stand.New()
	if err != nil {
		return nil, err
	}
	f := &field{Stand: s, plan: p}
	if err := f.open(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *field) open() error {
	var err error
	if f.self, err = os.Executable(); err != nil {
		return err
	}
	// Workers of peers run as nobody else than who started them.
	if err := os.Chmod(f.Dir, 0o755); err != nil {
		return err
	}
	if _, err := f.Start([]string{"GOGC=400"}, f.self, "-organization", f.Dir); err != nil {
		return err
	}
	if f.organization, err = stand.AwaitFile(filepath.Join(f.Dir, "address")); err != nil {
		return err
	}
	for _, s := range starters {
		if f.short && s.name == "Caddy" {
			continue // it takes minutes to build where it never was
		}
		peer, err := f.begin(s)
		if err != nil {
			return err
		}
		f.peers = append(f.peers, peer)
	}
	return nil
}

func (f *field) begin(s starter) (*peer, error) {
	peer, err := s.start(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	peer.name = s.name
	if err := stand.Await(peer.base() + "/api/data/v9.2/small"); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return peer, nil
}

func (f *field) ca() string { return filepath.Join(f.Dir, "ca.pem") }

// proxy starts ours with further settings.
func (f *field) proxy(settings ...string) (*peer, error) {
	run, err := f.Proxy(append([]string{
		"CLIENT_ID=bench", "CLIENT_SECRET=bench", "TENANTS=contoso=https://" + f.organization,
		// Of the addresses of loopback that end in 1 each is an organization.
		"ALLOWED_ORG_HOSTS=" + f.organization + ",*.1:*", "ALLOWED_LOGIN_HOSTS=" + f.organization, "TRUSTED_CA_FILE=" + f.ca(),
		"TENANT_REQUESTS=1000000000", "TENANT_EXECUTION_TIME=100000h", "TENANT_CONCURRENCY=100000",
		"MAX_CONNECTIONS_PER_ADDRESS=20000", "LOG_LEVEL=info",
	}, settings...)...)
	if err != nil {
		return nil, err
	}
	return &peer{
		address: strings.TrimPrefix(run.Calls, "http://"), root: run.PID, rewrites: true,
		does: "the whole product: budgets, retries, a body kept for a second try, links of every kind in requests and answers",
	}, nil
}

// nginxConfig is as good as nginx does it: kept connections to the
// organization, buffers that hold a page.
const nginxConfig = `
daemon off; worker_processes 1; pid %[1]s/%[3]s.pid; error_log %[1]s/error.log crit; worker_rlimit_nofile 20000;
events { worker_connections 16000; }
http {
  log_format line escape=json '{"time":"$time_iso8601","id":"$request_id","tenant":"$tenant","remote":"$remote_addr","method":"$request_method","path":"$uri",'
    '"status":$status,"in":$request_length,"out":$body_bytes_sent,"ms":$request_time,"upstream_ms":"$upstream_response_time","agent":"$http_user_agent"}';
  access_log /dev/null line; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0; client_body_buffer_size 1m;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  map $request_uri $tenant { "~^/(?<name>[^/?]+)" $name; }
  limit_req_zone $tenant zone=requests:1m rate=1000000r/s;
  limit_conn_zone $tenant zone=concurrency:1m;
  upstream organization { server %[2]s; keepalive 64; keepalive_requests 100000000; keepalive_timeout 600; }
  server {
    listen %[3]s backlog=4096;
    location /contoso/ {
      limit_req zone=requests burst=100000 nodelay; limit_conn concurrency 60000;
      proxy_pass https://organization/; proxy_read_timeout 600;
      proxy_ssl_trusted_certificate %[4]s; proxy_ssl_verify on; proxy_ssl_name %[5]s; proxy_ssl_protocols TLSv1.2 TLSv1.3;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host %[2]s; proxy_set_header Accept-Encoding "";
      proxy_set_header Authorization "Bearer %[6]s";
      proxy_redirect https://%[2]s/ http://%[3]s/contoso/;
      proxy_buffers 128 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;
      sub_filter "https://%[2]s" "http://%[3]s/contoso"; sub_filter_once off; sub_filter_types *;
    }
  }
}
`

func (f *field) nginx() (*peer, error) {
	program, err := needs.Find("nginx")
	if err != nil {
		return nil, fmt.Errorf("apt install nginx: %w", err)
	}
	p := &peer{address: stand.FreeAddress(), rewrites: true, does: "sub_filter: one text of the whole body for another; asks for no gzip, since it cannot read it"}
	file := filepath.Join(f.Dir, p.address+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, f.Dir, f.organization, p.address, f.ca(), organizationName, token), 0o600); err != nil {
		return nil, err
	}
	c, err := f.Start(nil, program, "-p", f.Dir, "-c", file, "-e", filepath.Join(f.Dir, "error.log"))
	return p, p.is(c, err)
}

const haproxyConfig = `
global
  nbthread 1
  maxconn 9000
  tune.maxrewrite 4096
  log stdout format raw local0 info
defaults
  mode http
  timeout connect 10s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
  log global
  log-format '{"time":"%%T","tenant":"%%[var(txn.tenant)]","remote":"%%ci","method":"%%HM","path":"%%HPO","status":%%ST,"in":%%U,"out":%%B,"ms":%%Ta,"upstream_ms":%%Tr}'
frontend calls
  bind %[2]s
  stick-table type string len 64 size 100k expire 5m store http_req_rate(5m),conn_cur
  http-request set-var(txn.tenant) path,field(2,/)
  http-request track-sc0 var(txn.tenant)
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 2000000000 } || { sc_conn_cur(0) gt 60000 }
  http-request replace-path ^/contoso(/.*) \1
  http-request set-header Host %[1]s
  http-request set-header Authorization "Bearer %[5]s"
  http-response replace-header Location ^https://%[1]s(/.*) http://%[2]s/contoso\1
  default_backend organization
backend organization
  server organization %[1]s pool-max-conn 64 ssl ca-file %[3]s verify required verifyhost %[4]s ssl-min-ver TLSv1.2
`

func (f *field) haproxy() (*peer, error) {
	program, err := needs.Find("haproxy")
	if err != nil {
		return nil, fmt.Errorf("apt install haproxy: %w", err)
	}
	p := &peer{address: stand.FreeAddress(), does: "cannot rewrite bodies, so links in them lead past it"}
	file := filepath.Join(f.Dir, "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, f.organization, p.address, f.ca(), organizationName, token), 0o600); err != nil {
		return nil, err
	}
	c, err := f.Start(nil, program, "-db", "-f", file)
	return p, p.is(c, err)
}

// caddyVersion is fixed, so that two tables compare the same program.
const caddyVersion = "v2.11.9"

const caddyConfig = `
{
	admin off
	auto_https off
	persist_config off
	log default {
		level ERROR
	}
}
http://%[2]s {
	bind 127.0.0.1
	log {
		output stdout
		format json
	}
	handle_path /contoso/* {
		reverse_proxy https://%[1]s {
			header_up Host %[1]s
			header_up Authorization "Bearer %[5]s"
			header_down Location "^https://%[1]s" "http://%[2]s/contoso"
			transport http {
				tls_trust_pool file %[3]s
				tls_server_name %[4]s
				versions 1.1
				dial_timeout 60s
				compression off
				keepalive_idle_conns_per_host 64
			}
		}
	}
}
`

func (f *field) caddy() (*peer, error) {
	install := exec.Command("go", "install", "github.com/caddyserver/caddy/v2/cmd/caddy@"+caddyVersion)
	install.Dir, install.Env = f.Dir, append(os.Environ(), "GOBIN="+f.Dir)
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", caddyVersion, err, out)
	}
	p := &peer{address: stand.FreeAddress(), does: "as released, without plug-ins: it has no limits and cannot rewrite bodies"}
	file := filepath.Join(f.Dir, "Caddyfile")
	if err := os.WriteFile(file, fmt.Appendf(nil, caddyConfig, f.organization, p.address, f.ca(), organizationName, token), 0o600); err != nil {
		return nil, err
	}
	c, err := f.Start([]string{"XDG_DATA_HOME=" + f.Dir + "/data", "XDG_CONFIG_HOME=" + f.Dir + "/config"}, filepath.Join(f.Dir, "caddy"), "run", "--adapter", "caddyfile", "--config", file)
	return p, p.is(c, err)
}

func (f *field) bare() (*peer, error) {
	p := &peer{address: stand.FreeAddress(), does: "knows nothing of links in bodies, budgets, retries or callers"}
	c, err := f.Start(nil, f.self, "-bare", "-listen", p.address, "-to", f.organization, "-ca", f.ca())
	return p, p.is(c, err)
}

func (p *peer) is(c *exec.Cmd, err error) error {
	if err == nil {
		p.root = c.Process.Pid
	}
	return err
}
