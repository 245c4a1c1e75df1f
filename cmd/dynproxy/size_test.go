package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What a reader can hold in view.
const (
	longestFunction = 60  // lines, from func to its closing brace
	longestFile     = 400 // lines
)

// longer are the exceptions, as dir/file.go or dir/file.go:Function, each with
// its reason.
var longer = map[string]string{}

// TestCodeFitsTheEye measures all code that is no test, in both modules.
func TestCodeFitsTheEye(t *testing.T) {
	const root = "../.."
	files, excused := 0, map[string]bool{}
	judge := func(what string, lines, most int) {
		if lines <= most {
			return
		}
		if longer[what] == "" {
			t.Errorf("%s has %d lines, more than %d: divide it, or give the reason in the table", what, lines, most)
		}
		excused[what] = true
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "node_modules" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		name = filepath.ToSlash(name)
		judge(name, set.File(file.Package).LineCount(), longestFile)
		ast.Inspect(file, func(n ast.Node) bool {
			if f, is := n.(*ast.FuncDecl); is && f.Body != nil {
				judge(fmt.Sprintf("%s:%s", name, f.Name.Name), set.Position(f.End()).Line-set.Position(f.Pos()).Line+1, longestFunction)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("measured only %d files", files)
	}
	for what := range longer {
		if !excused[what] {
			t.Errorf("%s is no longer too long: take it off the table", what)
		}
	}
}
