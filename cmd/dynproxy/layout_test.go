package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// plan says which of our packages each package may import. It is a tower:
// nothing imports what stands above it, the proxy and the portal never meet,
// and the emulator shares no code with what it is used to test.
var plan = map[string][]string{
	"cmd/dynproxy":   {"*"},
	"bench/browser":  {}, // tests alone
	"bench/peers":    {"bench/stand", "internal/needs"},
	"bench/slow":     {"bench/stand", "internal/emulator"},
	"bench/soak":     {"bench/stand", "internal/emulator"},
	"bench/stand":    nil,
	"bench/throttle": {"bench/stand", "internal/emulator"},
	"bench/windows":  nil,

	"deploy/systemd":            nil,
	"docs":                      nil, // tests alone: what the documents say is carried out
	"deploy/containers/chart":   {},  // tests alone
	"deploy/containers/compose": {},  // tests alone
	"deploy/containers/image":   nil,
	"release/notices":           nil,

	"consent": {"internal/check", "internal/page", "internal/problem", "internal/source", "internal/status", "internal/textfile", "tenants"},
	"portal":  {"internal/audit", "internal/callers", "internal/changes", "internal/cluster", "internal/envfile", "internal/calls", "internal/check", "internal/help", "internal/history", "internal/page", "internal/problem", "internal/status", "internal/trend", "internal/usage", "tenants"},
	"proxy":   {"tenants", "internal/callers", "internal/calls", "internal/egress", "internal/limits", "internal/odata", "internal/panics", "internal/problem", "internal/refusal", "internal/retryafter", "internal/soap", "internal/spool", "internal/tracing", "internal/httpguard"},
	"tenants": {"internal/envfile", "internal/secret"},

	"internal/audit":              {"internal/envfile", "internal/panics"},
	"internal/changes":            {"internal/audit", "internal/callers", "internal/cluster", "internal/envfile", "tenants"},
	"internal/callers":            {"internal/envfile", "internal/retryafter", "internal/secret", "internal/source"},
	"internal/calls":              nil,
	"internal/check":              {"internal/egress", "internal/entra", "internal/problem", "internal/refusal", "internal/tokens", "tenants"},
	"internal/cluster":            {"internal/limits", "internal/panics", "internal/sealed", "internal/secret", "internal/textfile"},
	"internal/cluster/redistest":  {"internal/needs"},
	"internal/daemon":             nil,
	"internal/door":               {"internal/httpguard", "internal/problem", "internal/reload", "internal/secret", "internal/source", "internal/textfile"},
	"internal/egress":             {"internal/panics", "internal/textfile"},
	"internal/emulator":           {"internal/emulator/dataverse"},
	"internal/emulator/dataverse": nil,
	"internal/entra":              {"internal/egress", "internal/panics", "internal/retryafter", "internal/sealed", "internal/secret", "internal/textfile"},
	"internal/envfile":            {"internal/textfile"},
	"internal/eventlog":           {"internal/notify", "internal/panics", "internal/problem", "internal/service", "internal/status"},
	"internal/fleet":              {"internal/audit", "internal/calls", "internal/cluster", "internal/panics", "internal/status", "internal/usage"},
	"internal/help":               {"internal/problem", "internal/refusal"},
	"internal/history":            {"internal/statedir"},
	"internal/kerberos":           {"internal/reload", "internal/textfile"},
	"internal/kerberos/kdctest":   {"internal/needs"},
	"internal/limits":             {"internal/panics", "internal/retryafter"},
	"internal/logfile":            nil,
	"internal/logqueue":           nil,
	"internal/machine":            nil,
	"internal/mirror":             {"internal/changes", "internal/cluster", "internal/textfile"},
	"internal/needs":              nil,
	"internal/notify":             {"internal/retryafter", "internal/secret", "internal/statedir"},
	"internal/odata":              nil,
	"internal/opsclient":          {"internal/secret", "internal/textfile"},
	"internal/page":               nil,
	"internal/openapi":            {"internal/problem"},
	"internal/panics":             nil,
	"internal/past":               {"internal/history", "internal/notify", "internal/secret", "internal/statedir", "internal/trend", "internal/usage"},
	"internal/onboard":            {"internal/check", "internal/entra", "internal/problem", "internal/tokens", "tenants"},
	"internal/problem":            nil,
	"internal/refusal":            nil,
	"internal/reload":             {"internal/textfile"},
	"internal/retryafter":         nil,
	"internal/sealed":             nil,
	"internal/secret":             {"internal/textfile"},
	"internal/service":            {"deploy/systemd", "internal/textfile"},
	"internal/soap":               nil,
	"internal/source":             nil,
	"internal/spool":              nil,
	"internal/statedir":           {"internal/textfile"},
	"internal/status":             {"internal/check", "internal/entra", "internal/history", "internal/onboard", "internal/panics", "internal/problem", "internal/refusal", "internal/tokens", "tenants"},
	"internal/httpguard":          {"internal/panics"},
	"internal/textfile":           nil,
	"internal/tracing":            {"internal/calls", "internal/envfile", "internal/textfile"},
	"internal/trend":              {"internal/statedir"},
	"internal/tokens":             {"internal/entra", "internal/problem", "internal/sealed", "tenants"},
	"internal/usage":              {"internal/statedir"},
}

// soleImporters are modules of others that one package keeps to itself.
var soleImporters = map[string]string{
	"github.com/AzureAD/microsoft-authentication-library-for-go": "internal/entra",
	"github.com/coreos/go-systemd":                               "internal/daemon",
	"github.com/jcmturner/gokrb5":                                "internal/kerberos",
	"github.com/redis/go-redis":                                  "internal/cluster",
	"gopkg.in/natefinch/lumberjack.v2":                           "internal/logfile",
	"github.com/spf13/cobra":                                     "cmd/dynproxy",
	"software.sslmate.com/src/go-pkcs12":                         "internal/entra",
	"go.opentelemetry.io":                                        "internal/tracing",
	"golang.org/x/text":                                          "consent",
}

func TestLayout(t *testing.T) {
	found := 0
	for _, module := range []string{"../..", "../../bench", "../../deploy/containers"} {
		for line := range strings.Lines(goList(t, module, "-f", "{{.ImportPath}}:{{range .Imports}} {{.}}{{end}}", "./...")) {
			pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
			pkg = strings.TrimPrefix(pkg, "dynproxy/")
			allowed, planned := plan[pkg]
			if !planned {
				t.Errorf("%s is not on the plan", pkg)
				continue
			}
			found++
			for _, imp := range strings.Fields(imports) {
				checkImport(t, pkg, imp, allowed)
			}
		}
	}
	if found != len(plan) {
		t.Errorf("the plan has %d packages, the tree %d of them", len(plan), found)
	}
}

func goList(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := exec.Command("go", append([]string{"list"}, args...)...)
	command.Dir = dir
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func checkImport(t *testing.T, pkg, imp string, allowed []string) {
	if ours, is := strings.CutPrefix(imp, "dynproxy/"); is {
		if !slices.Contains(allowed, ours) && !slices.Contains(allowed, "*") {
			t.Errorf("%s may not import %s", pkg, ours)
		}
		return
	}
	for module, sole := range soleImporters {
		if strings.HasPrefix(imp, module) && pkg != sole {
			t.Errorf("%s may not import %s: that is for %s", pkg, module, sole)
		}
	}
}

// The program's own module asks for what runs, and for nothing else: peers,
// browsers and tools are the business of the module in bench.
func TestTheModuleHoldsOnlyWhatRuns(t *testing.T) {
	const forStories = "github.com/rogpeppe/go-internal" // of the tests beside the program
	runs := map[string]bool{forStories: true, "dynproxy": true}
	for _, platform := range []string{"linux", "windows", "darwin"} {
		t.Setenv("GOOS", platform)
		for module := range strings.Lines(goList(t, "../..", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/dynproxy")) {
			runs[strings.TrimSpace(module)] = true
		}
	}
	for module := range strings.Lines(goList(t, "../..", "-m", "-f", "{{if not .Indirect}}{{.Path}}{{end}}", "all")) {
		if module = strings.TrimSpace(module); module != "" && !runs[module] {
			t.Errorf("go.mod asks for %s, which is no part of the program", module)
		}
	}
	if tools := goList(t, "../..", "tool"); tools != "" {
		t.Errorf("go.mod brings tools: %s", tools)
	}
}
