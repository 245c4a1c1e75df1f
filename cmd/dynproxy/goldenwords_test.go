package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// goldenWords are the rows of docs/troubleshooting.md that tell, word for word,
// what callers read of each fault.
type goldenWords struct {
	mu   sync.Mutex // guards what follows
	rows map[string]string
}

var told = goldenWords{rows: make(map[string]string)}

const wordsBegin, wordsEnd = "<!-- made from the code: words -->\n", "\n<!-- end -->"

// varying is what differs from run to run in what callers read.
var varying = []struct {
	form *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`https://\S+/adminconsent\S*`), "https://login.microsoftonline.com/..."},
	{regexp.MustCompile(`(https://)?127\.0\.0\.1:[0-9]+`), "${1}contoso.crm.dynamics.com"},
	{regexp.MustCompile(`\bin [0-9]+ seconds`), "in N seconds"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "<id>"},
	{regexp.MustCompile(`\s+`), " "},
	// What the system adds, each in its own words.
	{regexp.MustCompile(`(cannot be resolved|is not trusted|does not speak TLS) \((?:[^()]|\([^()]*\))*\)`), "$1"},
}

// keep takes what callers read of f, which the document must say.
func (g *goldenWords) keep(t *testing.T, f fault, got answer, manual string) {
	t.Helper()
	words := got.words
	for _, v := range varying {
		words = v.form.ReplaceAllString(words, v.as)
	}
	if f.cause == "" { // two ways in which one connection ends
		words = strings.ReplaceAll(words, "the connection was reset by the other side", "the connection broke off")
	}
	gets := fmt.Sprintf("%d `%s`", got.status, cmp.Or(got.error, got.code))
	if words = strings.TrimSpace(words); words == "" {
		gets, words = fmt.Sprint(got.status), "the organization's own answer"
	}
	if got.status == 200 {
		return
	}
	row := fmt.Sprintf("| %s | %s | %s |", f.name, gets, cell(words))
	g.mu.Lock()
	g.rows[f.name] = row
	g.mu.Unlock()
	if !*writeReferences && !strings.Contains(manual, "\n"+row+"\n") {
		t.Errorf("docs/troubleshooting.md is not what callers read (go generate ./cmd/dynproxy):\n%s", row)
	}
}

// write puts the rows into the document, in the order of the table.
func (g *goldenWords) write(t *testing.T) {
	t.Helper()
	if !*writeReferences {
		return
	}
	text := manual(t)
	before, rest, found := strings.Cut(text, wordsBegin)
	old, after, ended := strings.Cut(rest, wordsEnd)
	if !found || !ended {
		t.Fatal("docs/troubleshooting.md has no place for words")
	}
	table := []string{"| what is wrong | callers get | and read |", "|---|---|---|"}
	for _, f := range faults() {
		row := g.rows[f.name]
		for line := range strings.SplitSeq(old, "\n") { // of a test that does not run now
			if row == "" && strings.HasPrefix(line, "| "+f.name+" |") {
				row = line
			}
		}
		if row != "" {
			table = append(table, row)
		}
	}
	if err := os.WriteFile("../../docs/troubleshooting.md", []byte(before+wordsBegin+"\n"+strings.Join(table, "\n")+"\n"+wordsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
