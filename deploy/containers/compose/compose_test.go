// Package compose holds the compose file to what compose, the program and
// Prometheus take.
package compose

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"

	"dynproxy/internal/needs"
)

const folder = "../../compose"

// project reads the compose file with its own library, which refuses what it
// does not know, in a copy of deploy/ where the README's lines were followed.
func project(t *testing.T) *types.Project {
	t.Helper()
	deploy := t.TempDir()
	for _, dir := range []string{"compose", "prometheus", "grafana"} {
		if err := os.CopyFS(filepath.Join(deploy, dir), os.DirFS("../../"+dir)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(deploy, "compose")
	first := exec.Command("sh", "-eu", "-c", strings.ReplaceAll(guide(t), "docker ", ": "))
	first.Dir = dir
	if out, err := first.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yaml")}, cli.WithWorkingDirectory(dir), cli.WithResolvedPaths(true), cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// guide are the lines that the README tells to type.
func guide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```sh\n")
	lines, _, is := strings.Cut(rest, "```")
	if !is || !strings.Contains(lines, "docker compose up") {
		t.Fatalf("%q", lines)
	}
	return lines
}

func TestTheComposeFileIsWhole(t *testing.T) {
	p := project(t)
	if len(p.Services) != 3 {
		t.Errorf("%d services", len(p.Services))
	}
	for name, file := range p.Configs {
		if _, err := os.Stat(file.File); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, file := range p.Secrets {
		info, err := os.Stat(file.File)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		dir, err := os.Stat(filepath.Dir(file.File))
		if err != nil || info.Mode().Perm()&0o004 == 0 || dir.Mode().Perm() != 0o700 {
			t.Errorf("%s: its programs cannot read it, or everybody can: %v in %v", name, info.Mode(), dir.Mode())
		}
	}
	for name, s := range p.Services {
		if !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s has more rights than it needs", name)
		}
		for _, port := range s.Ports {
			if port.Published != "8080" && port.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to the world at %s", name, port.Published)
			}
		}
		for _, v := range s.Volumes {
			if _, is := p.Volumes[v.Source]; v.Type == "volume" && !is {
				t.Errorf("%s: there is no volume %s", name, v.Source)
			}
		}
	}
	proxy := p.Services["dynproxy"]
	if !proxy.ReadOnly || proxy.StopGracePeriod == nil || time.Duration(*proxy.StopGracePeriod) <= 30*time.Second {
		t.Errorf("%v, %v", proxy.ReadOnly, proxy.StopGracePeriod)
	}
	if want := []string{"CMD", "/dynproxy", "health"}; !slices.Equal(proxy.HealthCheck.Test, want) {
		t.Errorf("%q", proxy.HealthCheck.Test)
	}
}

// build makes the program of this tree.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dynproxy")
	if out, err := exec.Command("go", "-C", "../../..", "build", "-o", path, "./cmd/dynproxy").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// What the file sets is taken by the program, once the example's values are
// replaced.
func TestTheProgramTakesItsSettings(t *testing.T) {
	p := project(t)
	proxy := p.Services["dynproxy"]
	callers := t.TempDir()
	c := exec.Command(build(t), "config", "--json")
	c.Env = []string{"container=oci", "DYNPROXY_LISTEN=:8080", "DYNPROXY_OPS_LISTEN=:8081"}
	for name, value := range proxy.Environment {
		v := strings.NewReplacer(
			"00000000-0000-0000-0000-000000000000", "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b", "contoso=https://contoso.crm", "litware=https://litware.crm",
			"/run/secrets/", filepath.Dir(p.Secrets["client-secret"].File)+"/", "/etc/dynproxy/callers", callers).Replace(*value)
		c.Env = append(c.Env, name+"="+v)
	}
	out, err := c.Output()
	var told struct {
		Faults  []struct{ Setting, Fault string }
		Unknown []string
	}
	if err := json.Unmarshal(out, &told); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err != nil || len(told.Faults) > 0 || len(told.Unknown) > 0 {
		t.Errorf("%v: %+v", err, told)
	}
}

// Grafana finds Prometheus by its Service's name, and the dashboard where it
// is mounted.
func TestGrafanaIsProvisioned(t *testing.T) {
	p := project(t)
	read := func(config string, into any) {
		text, err := os.ReadFile(p.Configs[config].File)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Fatalf("%s: %v", config, err)
		}
	}
	var sources struct {
		APIVersion  int `json:"apiVersion"`
		Datasources []struct {
			Name      string            `json:"name"`
			UID       string            `json:"uid"`
			Type      string            `json:"type"`
			Access    string            `json:"access"`
			URL       string            `json:"url"`
			IsDefault bool              `json:"isDefault"`
			JSONData  map[string]string `json:"jsonData"`
		} `json:"datasources"`
	}
	read("datasource", &sources)
	if d := sources.Datasources[0]; !d.IsDefault || d.Type != "prometheus" || d.URL != "http://prometheus:9090" {
		t.Errorf("%+v", d)
	}
	var boards struct {
		APIVersion int `json:"apiVersion"`
		Providers  []struct {
			Name    string            `json:"name"`
			Type    string            `json:"type"`
			Options map[string]string `json:"options"`
		} `json:"providers"`
	}
	read("dashboards", &boards)
	mounted := false
	for _, c := range p.Services["grafana"].Configs {
		mounted = mounted || filepath.Dir(c.Target) == boards.Providers[0].Options["path"]
	}
	if !mounted {
		t.Errorf("no dashboard lies in %s", boards.Providers[0].Options["path"])
	}
}

// wait reads what a process prints until it matches.
func wait(t *testing.T, c *exec.Cmd, wanted *regexp.Regexp) string {
	t.Helper()
	out, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = c.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Signal(os.Interrupt); c.Wait() })
	found := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := wanted.FindStringSubmatch(s.Text()); m != nil {
				select {
				case found <- m[1]:
				default:
				}
			}
		}
	}()
	select {
	case m := <-found:
		return m
	case <-time.After(60 * time.Second):
		t.Fatalf("%s does not start", c.Path)
		return ""
	}
}

// A Prometheus with this configuration scrapes a proxy that wants its password.
func TestPrometheusScrapesTheProxy(t *testing.T) {
	needs.Tool(t, "Prometheus")
	p := project(t)
	password := p.Secrets["ops-password"].File
	proxy := exec.Command(build(t), "serve")
	proxy.Env = []string{
		"DYNPROXY_LISTEN=127.0.0.1:0", "DYNPROXY_OPS_LISTEN=127.0.0.1:0", "DYNPROXY_OPS_PASSWORD_FILE=" + password,
		"DYNPROXY_CLIENT_ID=6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b", "DYNPROXY_CLIENT_SECRET=not-a-secret", "DYNPROXY_TENANTS=litware=https://litware.crm.dynamics.com",
		"HTTPS_PROXY=http://127.0.0.1:1", // nothing leaves this machine
	}
	ops := wait(t, proxy, regexp.MustCompile(`"ops_listen":"([^"]+)"`))
	if resp, err := http.Get("http://" + ops + "/metrics"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("the proxy wants no password: %v, %v", resp, err)
	}
	text, err := os.ReadFile(p.Configs["prometheus"].File)
	if err != nil {
		t.Fatal(err)
	}
	rules := ""
	for _, c := range p.Services["prometheus"].Configs {
		if c.Source == "rules" {
			rules = c.Target
		}
	}
	there := strings.NewReplacer("dynproxy:8081", ops, "/run/secrets/ops-password", password, rules, p.Configs["rules"].File, "scrape_interval: 15s", "scrape_interval: 1s").Replace(string(text))
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(config, []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "config", config).CombinedOutput(); err != nil || !strings.Contains(string(out), "rules found") {
		t.Errorf("%v: %s", err, out)
	}
	at := wait(t, exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0"),
		regexp.MustCompile(`msg="Listening on" address=(\S+)`))
	var last string
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Get("http://" + at + "/api/v1/query?query=" + url.QueryEscape(`up{job="dynproxy"} == 1`))
		if err != nil {
			continue
		}
		var answer struct {
			Data struct{ Result []any }
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err == nil && len(answer.Data.Result) == 1 {
			return
		}
		last = fmt.Sprint(answer, err)
	}
	t.Errorf("the proxy is not scraped: %s", last)
}
