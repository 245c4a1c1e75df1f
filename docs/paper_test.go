package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// paper is a document for people, read as far as it can be held to what it says.
type paper struct {
	path    string // from this folder
	text    string
	prose   string // what stands outside of blocks
	blocks  []block
	anchors []string
	faults  []string // of its form
}

// block is what stands between two fences. Its first line says in which
// language it is and, after that, to what it is held: see CONTRIBUTING.md.
type block struct {
	language string
	class    string
	words    []string // after the class
	text     string
	line     int // of its first fence
}

func (b block) is(language, class string) bool { return b.language == language && b.class == class }

// papers are all documents that users and contributors read.
func papers(t *testing.T) []*paper {
	t.Helper()
	paths := []string{"../README.md", "../CONTRIBUTING.md", "../SECURITY.md", "../CHANGELOG.md"}
	guides, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []*paper
	for _, one := range append(paths, guides...) {
		text, err := os.ReadFile(one)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, readPaper(filepath.ToSlash(one), string(text)))
	}
	return all
}

func (p *paper) name() string { return path.Clean("docs/" + p.path) }

var (
	heading  = regexp.MustCompile(`^#{1,6} +(.*?) *#*$`)
	listItem = regexp.MustCompile(`^ *([-*+]|[0-9]+[.)]) `)
)

func readPaper(path, text string) *paper {
	p := &paper{path: path, text: text}
	var prose strings.Builder
	var open *block
	indent, before, inList := "", "", false
	stage := regexp.MustCompile(`^<!-- stage: (.*) -->$`)
	for number, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		bare := strings.TrimLeft(line, " ")
		switch {
		case open != nil && strings.TrimSpace(line) == "```":
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case strings.HasPrefix(bare, "```"):
			indent = line[:len(line)-len(bare)]
			words := strings.Fields(strings.TrimPrefix(bare, "```"))
			open = &block{line: number + 1}
			if len(words) > 0 {
				open.language = words[0]
			}
			if len(words) > 1 {
				open.class, open.words = words[1], words[2:]
			}
		case stage.MatchString(line):
			p.blocks = append(p.blocks, block{language: "sh", class: "run", text: stage.FindStringSubmatch(line)[1] + "\n", line: number + 1})
		default:
			inList = listItem.MatchString(line) || inList && (line == "" || strings.HasPrefix(line, " "))
			if strings.HasPrefix(line, "    ") && before == "" && !inList {
				p.faults = append(p.faults, "a block is indented, and not fenced: "+bare)
			}
			if h := heading.FindStringSubmatch(line); h != nil {
				p.anchors = append(p.anchors, p.anchor(h[1]))
			}
			prose.WriteString(line + "\n")
		}
		before = line
	}
	if open != nil {
		p.faults = append(p.faults, "a block has no end")
	}
	p.prose = prose.String()
	return p
}

var linked = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// anchor is what leads to a heading.
func (p *paper) anchor(title string) string {
	title = linked.ReplaceAllString(title, "$1")
	slug := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		}
		return -1
	}, title)
	if slices.Contains(p.anchors, slug) {
		p.faults = append(p.faults, "two headings are called "+title)
	}
	return slug
}

func TestPapersAreRead(t *testing.T) {
	p := readPaper("x.md", "# A `b_c` [d](e.md): f\n\n1. one\n\n    still one\n\nend\n\n    code\n\n  ```sh run exit=1\n  a\n    b\n  ```\n")
	if want := []string{"a-b_c-d-f"}; !slices.Equal(p.anchors, want) {
		t.Errorf("anchors %q", p.anchors)
	}
	if len(p.faults) != 1 || !strings.Contains(p.faults[0], "code") {
		t.Errorf("faults %q", p.faults)
	}
	if len(p.blocks) != 1 || !p.blocks[0].is("sh", "run") || p.blocks[0].text != "a\n  b\n" || p.blocks[0].words[0] != "exit=1" {
		t.Errorf("blocks %+v", p.blocks)
	}
}
