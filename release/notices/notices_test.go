package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever is in a program has a licence that is allowed, and its text goes
// with the program.
func TestEveryModuleMayBePassedOn(t *testing.T) {
	t.Chdir("../..")
	var out bytes.Buffer
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"The Go standard library go1.", "github.com/spf13/cobra", "golang.org/x/sys", "its source: https://pkg.go.dev/github.com/hashicorp/go-uuid@"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
	if n := strings.Count(out.String(), "\n"+strings.Repeat("=", 80)+"\n") / 2; n < 40 {
		t.Errorf("only %d modules", n)
	}
}

func TestAnUnknownLicenceIsRefused(t *testing.T) {
	mit := read(t, "../../LICENSE")
	if got := identify(mit); got != "MIT" {
		t.Errorf("%q", got)
	}
	for what, text := range map[string]string{
		"nothing":           "",
		"all rights":        "Copyright 2026 Somebody. All rights reserved.",
		"half of MIT":       mit[:len(mit)/3],
		"MIT with a clause": mit + "\nThe Commons Clause restricts selling.",
		"GPL":               "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007",
		"GPL beside MIT":    mit + "\nor under the GNU Lesser General Public License",
	} {
		if got := identify(text); got != "" {
			t.Errorf("%s is taken for %s", what, got)
		}
	}
	dir := t.TempDir()
	if _, _, err := licence(dir); err == nil || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("%v", err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("LICENSE.txt", strings.ReplaceAll(mit, "\n", "\r\n"))
	write("NOTICE", "made by somebody")
	if id, texts, err := licence(dir); id != "MIT" || len(texts) != 2 || err != nil {
		t.Errorf("%s %d %v", id, len(texts), err)
	}
	write("COPYING", "GNU GENERAL PUBLIC LICENSE")
	if _, _, err := licence(dir); err == nil || !strings.Contains(err.Error(), "COPYING") {
		t.Errorf("%v", err)
	}
}
