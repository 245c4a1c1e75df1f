// Command notices prints THIRD_PARTY_NOTICES: each module that is in one of the
// released programs, and Go itself, with its licence in full. A licence that is
// not among those allowed is an error that names the module.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// platforms are those for which programs are released.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// module is somebody's work that is in a program.
type module struct{ path, version, dir string }

func run(out io.Writer) error {
	modules, err := inPrograms()
	if err != nil {
		return err
	}
	var faults []error
	fmt.Fprintf(out, "dynproxy holds the work of others. What follows is the licence of each, as it came with it.\n")
	for _, m := range modules {
		id, texts, err := licence(m.dir)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %s: %w", m.path, m.version, err))
			continue
		}
		fmt.Fprintf(out, "\n%s\n%s %s (%s)\n%[1]s\n", strings.Repeat("=", 80), m.path, m.version, id)
		if strings.Contains(id, mpl) {
			fmt.Fprintf(out, "\nUsed as it is; its source: https://pkg.go.dev/%s@%s\n", m.path, m.version)
		}
		for _, text := range texts {
			fmt.Fprintf(out, "\n%s\n", strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n")))
		}
	}
	return errors.Join(faults...)
}

// inPrograms are the modules that one of the programs has packages of, by path,
// and Go's own library before them.
func inPrograms() ([]module, error) {
	found := make(map[string]module)
	for _, platform := range platforms {
		system, arch, _ := strings.Cut(platform, "/")
		c := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/dynproxy")
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
		c.Stderr = os.Stderr
		said, err := c.Output()
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", platform, err)
		}
		for line := range strings.Lines(string(said)) {
			if part := strings.Split(strings.TrimSpace(line), "\t"); len(part) == 3 {
				found[part[0]] = module{part[0], part[1], part[2]}
			}
		}
	}
	said, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(said), "\n")
	all := slices.SortedFunc(maps.Values(found), func(a, b module) int { return cmp.Compare(a.path, b.path) })
	return append([]module{{"The Go standard library", lines[1], lines[0]}}, all...), nil
}

// licenceName are the names of files that hold what must be passed on.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)

// licence returns which licence the module in dir has, and the texts that go
// with it. A module is refused where one text is of a licence not allowed, or
// none is a licence at all.
func licence(dir string) (id string, texts []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() || !licenceName.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", nil, err
		}
		texts = append(texts, string(text))
		if upper := strings.ToUpper(e.Name()); strings.HasPrefix(upper, "NOTICE") || strings.HasPrefix(upper, "PATENTS") {
			continue // what goes with a licence
		}
		one := identify(string(text))
		if one == "" {
			return "", nil, fmt.Errorf("%s is no licence that is allowed (%s): decide about it, and teach this program", e.Name(), allowedNames())
		}
		if !slices.Contains(ids, one) {
			ids = append(ids, one)
		}
	}
	if len(ids) == 0 {
		return "", nil, errors.New("it has no licence: nobody may pass it on")
	}
	return strings.Join(ids, " AND "), texts, nil
}
