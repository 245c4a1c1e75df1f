package docs

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// classes are the ways in which a block is held to what it says. What is not
// run says why; commands, settings and files in it are looked up all the same.
var classes = map[string]string{
	"run":      "carried out, one after the other, against the demo or the emulator",
	"output":   "what the block before it prints; ... stands for what differs",
	"settings": "lines of a settings file: each is a setting",
	"file":     "a file that the blocks after it use, under the name that follows",
	"shape":    "a form or a picture: nothing that could be run",
	"image":    "carried out by .ci/image, one after the other, with the image and podman",

	"not:windows":  "needs Windows",
	"not:root":     "changes a system: needs root, a package manager or systemd",
	"not:cluster":  "needs a Kubernetes cluster",
	"not:engine":   "needs a container engine and the image",
	"not:azure":    "needs a Microsoft tenant",
	"not:network":  "needs the internet",
	"not:client":   "needs a program that is not free, or not to be had here",
	"not:here":     "would run the tests or the checks in which it is read",
	"not:peer":     "the old recipe, of another program",
	"not:operator": "needs what only the reader has: a password, a certificate, a second machine",
}

// Every block says to what it is held; what is named in it exists.
func TestEveryBlockIsHeldToSomething(t *testing.T) {
	t.Parallel()
	count := make(map[string]int)
	for _, p := range papers(t) {
		for _, fault := range p.faults {
			t.Errorf("%s: %s", p.name(), fault)
		}
		for i, b := range p.blocks {
			count[b.class]++
			switch {
			case b.language == "" || classes[b.class] == "":
				t.Errorf("%s:%d: a block of %q %q: its first line must say the language and one of %q", p.name(), b.line, b.language, b.class, slices.Sorted(maps.Keys(classes)))
			case b.class == "output" && (i == 0 || p.blocks[i-1].class != "run"):
				t.Errorf("%s:%d: an output of nothing that is run", p.name(), b.line)
			case b.class == "run" && runners[b.language] == nil:
				t.Errorf("%s:%d: nobody runs %s", p.name(), b.line, b.language)
			case b.class == "file" && len(b.words) != 1:
				t.Errorf("%s:%d: a file needs its name", p.name(), b.line)
			case b.class == "settings":
				for line := range strings.Lines(b.text) {
					if name, _, is := strings.Cut(strings.TrimSpace(line), "="); name != "" && name[0] != '#' && (!is || !setting(t, name)) {
						t.Errorf("%s:%d: %s is no setting", p.name(), b.line, name)
					}
				}
			}
		}
	}
	for _, class := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%3d %-12s %s", count[class], class, classes[class])
	}
}

var (
	variable = regexp.MustCompile(`\bDYNPROXY_[A-Z0-9_]*[A-Z0-9]\b`)
	ofTests  = regexp.MustCompile(`^DYNPROXY_(TEST|CI|DOCS)_`)
	quoted   = regexp.MustCompile("`([^`\n]+)`")
	command  = regexp.MustCompile(`(?m)(?:^ *|[/\\(&"|] *|sudo +|=\S+ +)dynproxy(?:\.exe)?"? +([^|;&)\n]*)`)
	flag     = regexp.MustCompile(`--[a-z][a-z0-9-]*`)
	word     = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// Every setting, command and flag that a document names is one.
func TestWhatIsNamedExists(t *testing.T) {
	t.Parallel()
	commands := 0
	for _, p := range papers(t) {
		if p.name() == "CHANGELOG.md" {
			continue // it tells of the past
		}
		for _, name := range variable.FindAllString(p.text, -1) {
			if !ofTests.MatchString(name) && !setting(t, name) {
				t.Errorf("%s names %s, which is no setting", p.name(), name)
			}
		}
		for _, line := range p.commands() {
			commands++
			if wrong := judgeCommand(t, strings.Fields(line)); wrong != "" {
				t.Errorf("%s: dynproxy %s: %s", p.name(), line, wrong)
			}
		}
	}
	if commands < 40 {
		t.Errorf("only %d commands", commands)
	}
}

// commands are what stands behind dynproxy on the command lines of a document:
// in its blocks, and in its prose between backquotes.
func (p *paper) commands() []string {
	var code strings.Builder
	for _, b := range p.blocks {
		if b.class != "shape" && b.class != "output" && b.class != "settings" {
			code.WriteString(strings.ReplaceAll(b.text, "\\\n", " "))
		}
	}
	for _, m := range quoted.FindAllStringSubmatch(p.prose, -1) {
		code.WriteString(m[1] + "\n")
	}
	var found []string
	for _, m := range command.FindAllStringSubmatch(code.String(), -1) {
		if words := strings.Fields(m[1]); len(words) > 0 && word.MatchString(words[0]) {
			found = append(found, m[1])
		}
	}
	return found
}

// judgeCommand returns what is wrong with a command line of dynproxy's.
func judgeCommand(t *testing.T, words []string) string {
	help, known := helpOf(t, words[0])
	if !known {
		return "there is no such command"
	}
	if len(words) > 1 && word.MatchString(words[1]) && strings.Contains(help, "Available Commands:") {
		if help, known = helpOf(t, words[0]+" "+words[1]); !known {
			return "there is no such command"
		}
	}
	for _, name := range flag.FindAllString(strings.Join(words, " "), -1) {
		if !regexp.MustCompile(`(?m)^ .*` + name + `\b`).MatchString(help) {
			return "it has no " + name
		}
	}
	return ""
}

var examples = regexp.MustCompile(`(?m)^#?(DYNPROXY_[A-Z0-9_]+)=`)

// setting reports whether a name is that of a setting: config.example.env has
// them all, which a test of the command holds.
func setting(t *testing.T, name string) bool {
	t.Helper()
	text, err := os.ReadFile("../config.example.env")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"DYNPROXY_TENANT_": true, "HTTPS_PROXY": true, "NO_PROXY": true}
	for _, m := range examples.FindAllStringSubmatch(string(text), -1) {
		known[m[1]] = true
		if own, is := strings.CutPrefix(m[1], "DYNPROXY_TENANT_"); is {
			known[own] = true
		}
	}
	for _, own := range []string{"ORG_URL", "HOSTS"} { // of one tenant only
		known[own] = true
	}
	for _, own := range []string{"KEY_SHA256", "KEY_SHA256_NEXT", "CERTIFICATE", "PRINCIPALS", "CIDRS", "TENANTS", "METHODS", "READ_ONLY", "RATE", "BURST", "WEIGHT", "IMPERSONATION", "CALLER_OBJECT_ID"} { // of a caller
		known[own] = true
	}
	return known[name] || strings.HasPrefix(name, "OTEL_")
}
