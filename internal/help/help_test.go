package help

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"dynproxy/internal/problem"
	"dynproxy/internal/refusal"
)

// codes are the constants of a type in a file.
func codes(t *testing.T, file, of string) map[string]bool {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	ast.Inspect(tree, func(n ast.Node) bool {
		if v, is := n.(*ast.ValueSpec); is && len(v.Values) == 1 {
			if name, is := v.Type.(*ast.Ident); is && name.Name == of {
				text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				found[text] = true
			}
		}
		return true
	})
	return found
}

// Every code that a caller can get has an entry, in whole sentences, and
// nothing has one that nobody can get.
func TestEveryCodeHasItsEntry(t *testing.T) {
	for _, c := range []struct {
		codes   map[string]bool
		entries []Entry
	}{
		{codes(t, "../problem/problem.go", "Code"), Problems()},
		{codes(t, "../refusal/known.go", "Hint"), Hints()},
	} {
		delete(c.codes, string(problem.CallerLeft)) // nobody is left to read of it
		if len(c.codes) < 6 {
			t.Errorf("only %v", c.codes)
		}
		for _, e := range c.entries {
			if !c.codes[e.Name] {
				t.Errorf("%s is twice, or nobody can get it", e.Name)
			}
			delete(c.codes, e.Name)
			for _, words := range []string{e.Means, e.Caller, e.Operator} {
				if !strings.HasSuffix(words, ".") || len(words) < 20 {
					t.Errorf("%s says %q", e.Name, words)
				}
			}
			if found, _ := Lookup(e.Name); found != e {
				t.Errorf("%s is not found", e.Name)
			}
		}
		for code := range c.codes {
			t.Errorf("%s has no entry", code)
		}
	}
	if _, known := Lookup("caller_left"); known {
		t.Error("an entry that nobody can get")
	}
}

func TestTitlesTellHowItIsRecognized(t *testing.T) {
	for name, want := range map[string]string{
		string(problem.ConsentRequired):        "consent_required: status 502",
		string(refusal.ApplicationUserMissing): "application_user_missing: 0x80072560",
		string(refusal.UserDisabled):           "user_disabled: 0x80040225, 0x8004d24b",
	} {
		if e, _ := Lookup(name); e.Title() != want {
			t.Errorf("%q, want %q", e.Title(), want)
		}
	}
}
