package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	target = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	named  = regexp.MustCompile("`((?:[a-z_.]+/)+[A-Za-z_.-]+\\.(?:go|json|md|yaml|env))`")
)

// Every link leads to a file that is there and, in it, to a heading; every file
// of the tree that is named is there.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := papers(t)
	anchors := make(map[string][]string)
	for _, p := range all {
		anchors[p.name()] = p.anchors
	}
	links, names := 0, 0
	for _, p := range all {
		for _, m := range target.FindAllStringSubmatch(p.prose, -1) {
			links++
			if wrong := follow(p, m[1], anchors); wrong != "" {
				t.Errorf("%s: %s", p.name(), wrong)
			}
		}
		for _, m := range named.FindAllStringSubmatch(p.prose, -1) {
			names++
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", p.name(), m[1])
			}
		}
	}
	if links < 25 || names < 20 {
		t.Errorf("only %d links and %d names", links, names)
	}
}

// follow returns what is wrong with a link of p, "" for nothing.
func follow(p *paper, link string, anchors map[string][]string) string {
	const releases = "../../releases" // beside the branches, where the repository is shown
	switch {
	case strings.HasPrefix(link, "https://"), strings.HasPrefix(link, "mailto:"):
		return "" // others' addresses are not ours to follow
	case strings.HasPrefix(link, releases) && p.path == "../README.md":
		return ""
	}
	file, anchor, _ := strings.Cut(link, "#")
	to := p.name()
	if file != "" {
		to = path.Join(path.Dir(to), file)
	}
	if _, err := os.Stat(filepath.Join("..", to)); err != nil || strings.HasPrefix(to, "..") {
		return "the link " + link + " leads nowhere"
	}
	if anchor != "" && !slices.Contains(anchors[to], anchor) {
		return "the link " + link + " leads to a heading that is not there"
	}
	return ""
}
