package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exports is what the packages of the tree offer each other, read from their
// syntax.
type exports struct {
	offered map[string]map[string]int  // package, name -> the block it was declared in, 0 for none
	shown   map[string]map[string]bool // types that stand in what a package exports: who holds one may need its name
	used    map[string]map[string]bool // package, name that another package says
}

// An exported name is a promise: each has a package that needs it, or is none.
// The constants of one block go together, and so does a type with what returns
// or holds it. What only the tests of its own package say is not needed.
func TestWhatIsExportedIsUsed(t *testing.T) {
	found := readExports(t, "../..")
	names := 0
	for _, pkg := range slices.Sorted(maps.Keys(found.offered)) {
		blocks := make(map[int]bool)
		for name, block := range found.offered[pkg] {
			blocks[block] = blocks[block] || block > 0 && found.used[pkg][name]
		}
		for _, name := range slices.Sorted(maps.Keys(found.offered[pkg])) {
			names++
			if !found.used[pkg][name] && !found.shown[pkg][name] && !blocks[found.offered[pkg][name]] {
				t.Errorf("%s.%s is exported, and no other package uses it", pkg, name)
			}
		}
	}
	if names < 100 {
		t.Errorf("only %d exported names were found", names)
	}
}

func readExports(t *testing.T, root string) *exports {
	t.Helper()
	found := &exports{make(map[string]map[string]int), make(map[string]map[string]bool), make(map[string]map[string]bool)}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2) {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		found.uses(pkg, file)
		if !strings.HasSuffix(name, "_test.go") && file.Name.Name != "main" {
			found.offers(pkg, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// uses takes what a file says of other packages.
func (e *exports) uses(pkg string, file *ast.File) {
	imported := make(map[string]string)
	for _, spec := range file.Imports {
		from, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "dynproxy/")
		if !ours || from == pkg {
			continue
		}
		name := path.Base(from)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = from
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, is := n.(*ast.SelectorExpr); is {
			if x, is := s.X.(*ast.Ident); is && imported[x.Name] != "" {
				put(e.used, imported[x.Name], s.Sel.Name, true)
			}
		}
		return true
	})
}

// offers takes what a file exports.
func (e *exports) offers(pkg string, file *ast.File) {
	offer := func(name *ast.Ident, block int) {
		if name.IsExported() {
			put(e.offered, pkg, name.Name, block)
		}
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				offer(d.Name, 0)
			}
			if d.Name.IsExported() {
				e.shows(pkg, d.Type)
			}
		case *ast.GenDecl:
			block := 0
			if d.Tok == token.CONST && d.Lparen.IsValid() {
				block = int(d.Pos()) // of all files, since they share a set
			}
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					offer(s.Name, 0)
					if s.Name.IsExported() {
						e.shows(pkg, s.Type)
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						offer(name, block)
						if name.IsExported() {
							e.shows(pkg, s.Type)
						}
					}
				}
			}
		}
	}
}

// shows takes the types of its own package that stand in a type, but for the
// fields of a struct that nobody else sees.
func (e *exports) shows(pkg string, of ast.Expr) {
	if of == nil {
		return
	}
	hidden := make(map[*ast.Field]bool)
	if s, is := of.(*ast.StructType); is {
		for _, f := range s.Fields.List {
			hidden[f] = len(f.Names) > 0 && !slices.ContainsFunc(f.Names, (*ast.Ident).IsExported)
		}
	}
	ast.Inspect(of, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.SelectorExpr: // of another package
			return false
		case *ast.Field:
			if !hidden[x] {
				e.shows(pkg, x.Type)
			}
			return false
		case *ast.Ident:
			put(e.shown, pkg, x.Name, true)
		}
		return true
	})
}

func put[V any](in map[string]map[string]V, pkg, name string, value V) {
	if in[pkg] == nil {
		in[pkg] = make(map[string]V)
	}
	in[pkg][name] = value
}
