package docs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dynproxy/internal/needs"
)

// program is the dynproxy that the documents speak of, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dynproxy-docs-")
	if err != nil {
		return "", err
	}
	built = dir
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin")+string(filepath.Separator), "../cmd/dynproxy").CombinedOutput()
	if err != nil {
		return "", &buildError{out}
	}
	return filepath.Join(dir, "bin"), nil
})

var built string

type buildError struct{ said []byte }

func (e *buildError) Error() string { return string(e.said) }

func TestMain(m *testing.M) {
	needs.Waiting()
	status := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(status)
}

// bin is the folder of the program.
func bin(t *testing.T) string {
	t.Helper()
	dir, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// helpOf is what a command says of itself, and whether there is one.
func helpOf(t *testing.T, words string) (string, bool) {
	t.Helper()
	c := exec.Command(filepath.Join(bin(t), "dynproxy"), append(strings.Fields(words), "--help")...)
	out, err := c.Output()
	last := words[strings.LastIndexByte(words, ' ')+1:]
	return string(out), err == nil && regexp.MustCompile(`(?m)^  dynproxy .*\b`+last+`\b`).Match(out)
}

// runners carry out blocks, by their language.
var runners = map[string]func(*world, block) (string, error){
	"sh": func(w *world, b block) (string, error) {
		for _, word := range b.words {
			if tool, is := strings.CutPrefix(word, "needs="); is {
				return w.where(tool, b)
			}
		}
		return w.shell(b)
	},
	"php":    script("PHP", "snippet.php", "php snippet.php"),
	"perl":   script("Perl", "snippet.pl", "perl snippet.pl"),
	"python": script("Python", "snippet.py", "/usr/bin/python3 snippet.py"),
	"java":   script("Java", "Snippet.java", "java Snippet.java"),
	"csharp": script("Mono", "snippet.cs", "mcs -nologo -r:System.ServiceModel.dll -r:System.Runtime.Serialization.dll -out:snippet.exe snippet.cs; mono snippet.exe"),
	"js":     script("node", "snippet.mjs", "node snippet.mjs"),
}

// script carries out a program in a file of the reader's folder. YOUR_KEY is
// what the shell before it has as KEY.
func script(tool, name, run string) func(*world, block) (string, error) {
	return func(w *world, b block) (string, error) {
		w.write(name, b.text)
		b.text = fmt.Sprintf("sed -i \"s/YOUR_KEY/$KEY/\" %s; %s\n", name, run)
		return w.where(tool, b)
	}
}

// where carries out a block that needs a tool, where that is.
func (w *world) where(tool string, b block) (said string, err error) {
	err = errLeftOut
	w.t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
		needs.Tool(t, tool)
		if said, err = w.shell(b); err != nil && slices.Contains(b.words, "fetches") {
			defer func() { err = errLeftOut }()
			needs.Missing(t, "nothing can be fetched from here: "+said)
		}
	})
	return said, err
}

// errLeftOut is no failure: what a block needs is not here.
var errLeftOut = errors.New("left out")

// What documents tell to type does what they say: every block that is run is
// run, in the order of its document, by somebody who has done nothing else.
func TestCommandsDoWhatTheDocsSay(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, p := range papers(t) {
		n := p.running()
		ran += n
		if n == 0 {
			continue
		}
		t.Run(p.name(), func(t *testing.T) {
			needs.Tool(t, "shell")
			t.Parallel()
			w, began := newWorld(t), time.Now()
			for i, b := range p.blocks {
				switch b.class {
				case "file":
					w.write(b.words[0], b.text)
				case "run":
					said, err := runners[b.language](w, b)
					if err == errLeftOut {
						continue
					}
					if err != nil {
						t.Fatalf("%s:%d: %v\n%s\nprinted:\n%s", p.name(), b.line, err, b.text, said)
					}
					t.Logf("line %d is done after %v", b.line, time.Since(began).Round(time.Millisecond))
					if i+1 < len(p.blocks) && p.blocks[i+1].class == "output" {
						judgeOutput(t, p, p.blocks[i+1], w.asWritten(said))
					}
				}
			}
		})
	}
	if ran < 10 {
		t.Errorf("only %d blocks are run", ran)
	}
}

func (p *paper) running() int {
	n := 0
	for _, b := range p.blocks {
		if b.class == "run" {
			n++
		}
	}
	return n
}

// judgeOutput compares what was printed with what a document says.
func judgeOutput(t *testing.T, p *paper, want block, printed string) {
	t.Helper()
	form := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want.text)), `\.\.\.`, `(?s:.*?)`)
	form = regexp.MustCompile(`[ ]+`).ReplaceAllString(form, `[ \t]+`)
	printed = strings.TrimSpace(strings.ReplaceAll(printed, "\r", ""))
	if !regexp.MustCompile(`^` + form + `$`).MatchString(printed) {
		t.Errorf("%s:%d: it says\n%s\nand this was printed:\n%s", p.name(), want.line, want.text, printed)
	}
}

// write puts a file where the blocks after it find it.
func (w *world) write(name, text string) {
	path := filepath.Join(w.dir, "home", filepath.FromSlash(name))
	if filepath.IsAbs(w.here(name)) {
		path = w.here(name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(w.here(text)), 0o600); err != nil {
		w.t.Fatal(err)
	}
}
