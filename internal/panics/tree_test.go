package panics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// unprotected are the functions that start what no Recover protects, as
// dir/file.go:Function, each with its reason.
var unprotected = map[string]string{
	"cmd/dynproxy/check.go:checkAll":          "a command's",
	"cmd/dynproxy/lifecycle.go:drain":         "closes a socket, or says how long it listens",
	"cmd/dynproxy/lifecycle.go:open":          "without it nobody comes in, and the process ends",
	"cmd/dynproxy/main.go:main":               "the signals' own",
	"cmd/dynproxy/onboard.go:browse":          "a command's",
	"cmd/dynproxy/prompt.go:await":            "a command's",
	"cmd/dynproxy/tail.go:follow":             "a command's",
	"internal/egress/client.go:try":           "sets a deadline",
	"internal/egress/exchange.go:arm":         "ends a context",
	"internal/egress/exchange.go:newExchange": "ends a context",
	"internal/egress/reach.go:connect":        "sets a deadline",
	"internal/entra/authority.go:Find":        "protects the question; what remains stands under a lock that others wait for",
	"internal/entra/inflight.go:start":        "likewise, the mint",
	"internal/envfile/notify.go:newNotifier":  "compares paths",
	"internal/logfile/logfile.go:say":         "prints a line",
	"internal/logqueue/logqueue.go:New":       "is the log, which would have to tell",
	"internal/service/run_windows.go:Execute": "is the whole program",
	"internal/service/teller.go:newTeller":    "writes what is at hand",
}

// A fault costs the task that it happens in, and not the process with all calls
// in flight: whatever runs beside its caller defers Recover.
func TestNoFaultEndsTheProcess(t *testing.T) {
	const root = "../.."
	set, packages, started := token.NewFileSet(), make(map[string]*functions), 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			switch name {
			case ".git", "bench", "deploy", "release", "docs", "internal/emulator", "internal/cluster/redistest", "internal/kerberos/kdctest":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.Dir(name)
		if packages[dir] == nil {
			packages[dir] = &functions{bodies: make(map[string]*ast.BlockStmt)}
		}
		packages[dir].add(name, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	excused := make(map[string]bool)
	for _, p := range packages {
		for _, s := range p.started {
			started++
			if p.protected(s.task) {
				continue
			}
			if excused[s.by] = true; unprotected[s.by] == "" {
				t.Errorf("%s starts at line %d what ends the process if it has a fault: defer panics.Recover there, or give the reason in the table", s.by, set.Position(s.task.Pos()).Line)
			}
		}
	}
	if started < 40 {
		t.Errorf("only %d starts were found", started)
	}
	for by := range unprotected {
		if !excused[by] {
			t.Errorf("%s starts nothing that is unprotected: take it off the table", by)
		}
	}
}

// functions are those of a package, and what they start beside themselves.
type functions struct {
	bodies  map[string]*ast.BlockStmt // by name; methods of one name count as one
	started []start
}

type start struct {
	by   string
	task ast.Expr // a function, or the call of one
}

func (p *functions) add(name string, file *ast.File) {
	for _, d := range file.Decls {
		f, is := d.(*ast.FuncDecl)
		if !is || f.Body == nil {
			continue
		}
		p.bodies[f.Name.Name] = f.Body
		by := name + ":" + f.Name.Name
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				p.started = append(p.started, start{by, n.Call})
			case *ast.CallExpr:
				called, is := n.Fun.(*ast.SelectorExpr)
				if is && (called.Sel.Name == "AfterFunc" && len(n.Args) == 2 || called.Sel.Name == "Go" && len(n.Args) == 1) {
					p.started = append(p.started, start{by, n.Args[len(n.Args)-1]})
				}
			}
			return true
		})
	}
}

// protected reports whether task defers Recover itself, or does nothing but
// call what does.
func (p *functions) protected(task ast.Expr) bool {
	var body *ast.BlockStmt
	switch f := task.(type) {
	case *ast.CallExpr:
		return isOf(f.Fun, "Keep") || p.protected(f.Fun)
	case *ast.FuncLit:
		body = f.Body
	case *ast.Ident:
		body = p.bodies[f.Name]
	case *ast.SelectorExpr:
		body = p.bodies[f.Sel.Name]
	}
	if body == nil {
		return false
	}
	var does []ast.Stmt
	for _, s := range body.List {
		deferred, is := s.(*ast.DeferStmt)
		if !is {
			does = append(does, s)
		} else if isOf(deferred.Call.Fun, "Recover") {
			return true
		}
	}
	if len(does) != 1 {
		return false
	}
	only, is := does[0].(*ast.ExprStmt)
	return is && p.protected(only.X)
}

// isOf reports whether f is the function of this package that has the name.
func isOf(f ast.Expr, name string) bool {
	called, is := f.(*ast.SelectorExpr)
	if !is || called.Sel.Name != name {
		return false
	}
	from, is := called.X.(*ast.Ident)
	return is && from.Name == "panics"
}
