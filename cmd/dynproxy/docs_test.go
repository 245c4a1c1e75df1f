package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"dynproxy/internal/needs"
)

// Each promise of the threat model names tests, which must exist.
func TestThreatModelNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := exec.Command("git", "-C", "../..", "grep", "-hoE", "^func (Test|Fuzz)[A-Za-z0-9_]+", "--", "*_test.go").Output()
	if err != nil {
		needs.Missing(t, "the tree is no checkout: "+err.Error())
	}
	exists := map[string]bool{}
	for line := range strings.Lines(string(tree)) {
		exists[strings.TrimPrefix(strings.TrimSpace(line), "func ")] = true
	}
	rows := 0
	_, promises, _ := strings.Cut(string(text), "## What is promised")
	promises, _, _ = strings.Cut(promises, "## What is not promised")
	for line := range strings.Lines(promises) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| promise") {
			continue
		}
		rows++
		named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("nothing holds %q", line)
		}
		for _, name := range named {
			if !exists[name[1]] {
				t.Errorf("there is no %s", name[1])
			}
		}
	}
	if rows < 10 {
		t.Errorf("%d promises", rows)
	}
}

// Each module that we import by ourselves has its reason written down.
func TestEveryDependencyHasItsReason(t *testing.T) {
	var text []byte
	for _, file := range []string{"../../go.mod", "../../bench/go.mod", "../../deploy/containers/go.mod"} {
		one, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, one...)
	}
	reasons, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(text), -1)
	if len(direct) < 5 {
		t.Fatalf("read only %v", direct)
	}
	for _, r := range direct {
		if r[1] == "dynproxy" {
			continue
		}
		if !strings.Contains(string(reasons), r[1]) {
			t.Errorf("docs/dependencies.md does not say what %s is for", r[1])
		}
	}
}
