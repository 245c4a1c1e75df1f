package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
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

	"dynproxy/internal/needs"
)

const (
	rulesFile     = "../../deploy/prometheus/dynproxy.rules.yaml"
	rulesTests    = "../../deploy/prometheus/dynproxy.rules.test.yaml"
	dashboardFile = "../../deploy/grafana/dynproxy.json"
)

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// panelQuery is an expression of a panel.
type panelQuery struct{ panel, expr string }

func dashboard(t *testing.T) []panelQuery {
	t.Helper()
	var read struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, dashboardFile)), &read); err != nil {
		t.Fatal(err)
	}
	var all []panelQuery
	for _, p := range read.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q asks nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, panelQuery{p.Title, target.Expr})
		}
	}
	if len(all) < 30 {
		t.Fatalf("only %d", len(all))
	}
	return all
}

// Rules and dashboard ask for metrics that there are.
func TestAlertsAndPanelsAskForMetricsThatThereAre(t *testing.T) {
	there := make(map[string]bool)
	for _, m := range describedMetrics(t) {
		there[m.name] = true
	}
	asked := readText(t, rulesFile)
	for _, q := range dashboard(t) {
		asked += "\n" + q.expr
	}
	for _, name := range regexp.MustCompile(`dynproxy_[a-z_]+`).FindAllString(asked, -1) {
		if base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, ""); !there[name] && !there[base] {
			t.Errorf("%s is asked for, and no such metric", name)
		}
	}
}

func promtool(t *testing.T, stdin io.Reader, args ...string) {
	t.Helper()
	c := exec.Command("promtool", args...)
	c.Stdin = stdin
	if said, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, said)
	}
}

// Each alert is shown to fire, and not to.
func TestAlertRules(t *testing.T) {
	tests := readText(t, rulesTests)
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\S+)$`).FindAllStringSubmatch(readText(t, rulesFile), -1)
	if len(alerts) < 15 {
		t.Fatalf("only %v", alerts)
	}
	for _, a := range alerts {
		for _, name := range []string{a[1] + " fires", a[1] + " does not fire"} {
			if !strings.Contains(tests, "name: "+name+"\n") {
				t.Errorf("there is no test: %s", name)
			}
		}
	}
	needs.Tool(t, "Prometheus")
	promtool(t, nil, "check", "rules", rulesFile)
	promtool(t, nil, "check", "config", "../../deploy/prometheus/prometheus.yaml")
	promtool(t, nil, "test", "rules", rulesTests)
}

// startDemo runs the demo, and calls each of its tenants.
func startDemo(t *testing.T) *running {
	t.Helper()
	r := startArgs(t, []string{"demo"}, []string{prefix + "LISTEN=127.0.0.1:0", prefix + "OPS_LISTEN=127.0.0.1:0"})
	r.callDemo()
	return r
}

func (r *running) callDemo() {
	for _, tenant := range []string{"contoso", "fabrikam", "northwind", "nobody"} {
		r.get("/" + tenant + "/api/data/v9.2/accounts?$top=1")
	}
}

func TestMetricsAreAsPrometheusWantsThem(t *testing.T) {
	needs.Tool(t, "Prometheus")
	r := startDemo(t)
	_, text := fetch(t, r.ops+"/metrics")
	promtool(t, strings.NewReader(text), "check", "metrics")
}

// startPrometheus runs Prometheus, which asks r every second, and returns its
// address.
func startPrometheus(t *testing.T, r *running) string {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(dir, "prometheus.yaml"), fmt.Appendf(nil,
		"global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\nscrape_configs:\n  - job_name: dynproxy\n    static_configs: [{targets: [%q]}]\n",
		rules, strings.TrimPrefix(r.ops, "http://")))
	c := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	address := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(said); s.Scan(); {
			if found := regexp.MustCompile(`msg="Listening on" address=(\S+)`).FindStringSubmatch(s.Text()); found != nil {
				address <- found[1]
			}
		}
	}()
	late := time.After(30 * time.Second)
	var at string
	select {
	case at = <-address:
	case <-late:
		t.Fatal("Prometheus does not start")
	}
	for {
		if resp, _ := fetch(t, "http://"+at+"/-/ready"); resp.StatusCode == http.StatusOK {
			return "http://" + at
		}
		select {
		case <-late:
			t.Fatal("Prometheus is not ready")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Every panel has something to show of a running demo, and every rule can be
// worked out.
func TestEveryPanelIsAnswered(t *testing.T) {
	needs.Tool(t, "Prometheus")
	needs.Long(t)
	r := startDemo(t)
	prometheus := startPrometheus(t, r)
	asks := dashboard(t)
	grafana := strings.NewReplacer("$__rate_interval", "10s", "$tenant", ".*")
	deadline := time.Now().Add(time.Minute)
	for len(asks) > 0 {
		r.callDemo()
		var answer struct {
			Status, Error string
			Data          struct{ Result []any }
		}
		asks = slices.DeleteFunc(asks, func(q panelQuery) bool {
			askPrometheus(t, prometheus+"/api/v1/query?query="+url.QueryEscape(grafana.Replace(q.expr)), &answer)
			if answer.Status == "error" {
				t.Errorf("%s: %s: %s", q.panel, q.expr, answer.Error)
				return true
			}
			return answer.Status == "success" && len(answer.Data.Result) > 0
		})
		if time.Now().After(deadline) {
			t.Fatalf("these show nothing: %q", asks)
		}
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	for {
		askPrometheus(t, prometheus+"/api/v1/rules", &rules)
		unknown := 0
		for _, rule := range rules.Data.Groups[0].Rules {
			switch rule.Health {
			case "ok":
			case "unknown":
				unknown++
			default:
				t.Errorf("%s: %s", rule.Name, rule.LastError)
			}
		}
		if unknown == 0 || time.Now().After(deadline) {
			break
		}
	}
	if n := len(rules.Data.Groups[0].Rules); n < 15 {
		t.Errorf("only %d rules were worked out", n)
	}
}

func askPrometheus(t *testing.T, url string, answer any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatal(err)
	}
}
