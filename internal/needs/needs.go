// Package needs knows what tests need beside Go, and leaves out those whose
// need is not met. With DYNPROXY_TEST_REQUIRE=all nothing is left out: what is
// missing is a failure, and what takes long runs too.
package needs

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tool is something that tests drive or are driven by.
type tool struct {
	name     string
	programs []string   // which must be on the PATH or where Debian keeps servers
	probes   [][]string // commands which must succeed
	from     string     // how to have it
}

var tools = []tool{
	{name: "shell", programs: []string{"bash", "curl"}, probes: [][]string{{"script", "--version"}}, from: "apt install bash curl bsdutils"},
	{name: "node", programs: []string{"node", "npm"}, from: "apt install nodejs npm"},
	{name: "PHP", probes: [][]string{{"php", "-r", "exit(extension_loaded('curl') && class_exists('SoapClient') && class_exists('DOMDocument') ? 0 : 1);"}}, from: "apt install php-cli php-curl php-soap php-xml"},
	{name: "Java", programs: []string{"java"}, probes: [][]string{{"javac", "-version"}}, from: "apt install openjdk-17-jdk-headless"},
	{name: "Perl", probes: [][]string{{"perl", "-MLWP", "-MSOAP::Lite", "-e", "1"}}, from: "apt install libwww-perl libsoap-lite-perl"},
	{name: "Mono", programs: []string{"mcs", "mono"}, from: "apt install --no-install-recommends mono-mcs mono-runtime libmono-system-servicemodel4.0a-cil"},
	{name: "Python", probes: [][]string{{"/usr/bin/python3", "-c", "import requests, zeep"}}, from: "apt install python3-requests python3-zeep"},
	{name: "nginx", programs: []string{"nginx"}, from: "apt install nginx"},
	{name: "haproxy", programs: []string{"haproxy"}, from: "apt install haproxy"},
	{name: "Kerberos", programs: []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kvno", "curl"}, from: "apt install krb5-kdc krb5-admin-server krb5-user curl"},
	{name: "h2spec", programs: []string{"h2spec"}, from: "go install github.com/summerwind/h2spec/cmd/h2spec@latest"},
	{name: "slowhttptest", programs: []string{"slowhttptest"}, from: "apt install slowhttptest"},
	{name: "Redis", programs: []string{"redis-server", "redis-cli", "redis-sentinel"}, from: "apt install redis-server redis-sentinel"},
	{name: "network namespace", programs: []string{"ip", "nsenter"}, probes: [][]string{{"unshare", "--net", "true"}}, from: "apt install iproute2, and run the tests as root"},
	{name: "helm", programs: []string{"helm"}, from: "go install helm.sh/helm/v4/cmd/helm@v4.3.1"},
	{name: "Prometheus", programs: []string{"prometheus", "promtool"}, from: "apt install prometheus"},
	{name: "openssl", programs: []string{"openssl"}, from: "apt install openssl"},
	{name: "chromium", probes: [][]string{{"sh", "-c", "command -v chromium || command -v chromium-browser || command -v google-chrome"}}, from: "apt install chromium"},
}

// ByTransport reports whether tests shall send upstream by net/http's Transport:
// with DYNPROXY_TEST_UPSTREAM_CLIENT=go.
func ByTransport() bool { return os.Getenv("DYNPROXY_TEST_UPSTREAM_CLIENT") == "go" }

// all reports whether nothing may be left out.
func all() bool { return os.Getenv("DYNPROXY_TEST_REQUIRE") == "all" }

// Tool leaves the test out where a tool, by its name here, is missing.
func Tool(t testing.TB, name string) {
	t.Helper()
	for _, tool := range tools {
		if tool.name != name {
			continue
		}
		if !tool.here() {
			Missing(t, name+" is missing ("+tool.from+")")
		}
		return
	}
	t.Fatalf("nobody knows how to have %s", name)
}

// Missing leaves the test out for a reason that only the test could find.
func Missing(t testing.TB, why string) {
	t.Helper()
	if all() {
		t.Fatal(why + ", and DYNPROXY_TEST_REQUIRE demands it")
	}
	t.Skip(why)
}

// Long leaves the test out where not everything is asked for: it takes longer
// than somebody wants to wait between two changes.
func Long(t testing.TB) {
	t.Helper()
	if !all() {
		t.Skip("takes long: DYNPROXY_TEST_REQUIRE=all runs it")
	}
}

// Waiting says for all tests of a package, from its TestMain, that they wait
// more than they work: more of them run at once than there are processors, if
// -parallel does not say otherwise.
func Waiting() { flag.Set("test.parallel", "8") }

// absent are the tools that are missing, each with how to have it.
func absent() []string {
	var absent []string
	for _, tool := range tools {
		if !tool.here() {
			absent = append(absent, tool.name+" ("+tool.from+")")
		}
	}
	return absent
}

func (w tool) here() bool {
	for _, program := range w.programs {
		if _, err := Find(program); err != nil {
			return false
		}
	}
	for _, probe := range w.probes {
		if exec.Command(probe[0], probe[1:]...).Run() != nil {
			return false
		}
	}
	return true
}

// Find returns where a program lies. A user's PATH often lacks the folder of
// servers.
func Find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return exec.LookPath(filepath.Join("/usr/sbin", program))
	}
	return path, nil
}
