package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dynproxy/internal/callers"
	"dynproxy/internal/envfile"
	"dynproxy/internal/help"
	"dynproxy/tenants"
)

var writeReferences = flag.Bool("write", false, "write the parts of documents that are made from the code")

// What documents have between <!-- made from the code: NAME --> and <!-- end -->
// is what the code says: go generate writes it.
func TestReferencesAreWhatTheCodeSays(t *testing.T) {
	for _, r := range []struct {
		file, part string
		text       func(*testing.T) string
		least      int // lines
	}{
		{"settings.md", "settings", settingsReference, 90},
		{"errors.md", "errors", func(*testing.T) string { return errorsReference(help.Problems()) }, 70},
		{"errors.md", "hints", func(*testing.T) string { return errorsReference(help.Hints()) }, 20},
		{"metrics.md", "metrics", metricsReference, 30},
		{"api.md", "api", apiReference, 100},
	} {
		path := filepath.Join("..", "..", "docs", r.file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := "<!-- made from the code: "+r.part+" -->\n", "<!-- end -->"
		before, rest, found := strings.Cut(string(text), begin)
		made, after, ended := strings.Cut(rest, end)
		want := "\n" + strings.TrimSpace(r.text(t)) + "\n\n"
		switch {
		case !found || !ended:
			t.Errorf("%s has no place for %s", r.file, r.part)
		case strings.Count(want, "\n") < r.least:
			t.Errorf("of %s only this was found:\n%s", r.part, want)
		case made == want:
		case *writeReferences:
			if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("docs/%s is not what the code says of %s: run go generate ./cmd/dynproxy", r.file, r.part)
		}
	}
}

// A comment of the example belongs to the variable under it: what is said of a
// file stands with the setting that names it.
func TestWhatIsSaidOfAFileStandsWithIt(t *testing.T) {
	rows := 0
	for row := range strings.Lines(settingsReference(t)) {
		names, words, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		if regexp.MustCompile(`[Tt]he files? (is|are) read again`).MatchString(words) {
			if rows++; !strings.Contains(names, "_FILE`") {
				t.Errorf("%s names no file: %s", names, words)
			}
		}
	}
	if rows < 4 {
		t.Errorf("%d rows tell of files", rows)
	}
}

// The settings of a caller, which no example file has, are told too.
func TestCallersSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## A caller's file")
	for _, name := range callers.SettingNames() {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("docs/settings.md does not tell of %s", name)
		}
	}
}

func errorsReference(entries []help.Entry) string {
	var text strings.Builder
	for _, e := range entries {
		_, recognized, _ := strings.Cut(e.Title(), ": ")
		fmt.Fprintf(&text, "### %s\n\n*%s.* %s\n\n- **If you call**: %s\n- **If you run the proxy**: %s\n\n", e.Name, strings.ToUpper(recognized[:1])+recognized[1:], e.Means, e.Caller, e.Operator)
	}
	return text.String()
}

func metricsReference(t *testing.T) string {
	var text strings.Builder
	text.WriteString("| metric | labels | what it says |\n|---|---|---|\n")
	for _, m := range describedMetrics(t) {
		fmt.Fprintf(&text, "| `%s` | %s | %s |\n", m.name, m.labels, m.help)
	}
	return text.String()
}

var (
	section  = regexp.MustCompile(`^# --- (.*?) -+$`)
	variable = regexp.MustCompile(`^#?([A-Z][A-Z0-9_]*)=(.*)$`)
)

// settingsReference is config.example.env as tables, with the defaults that the
// program has and whether a change needs a restart.
func settingsReference(t *testing.T) string {
	example, err := os.ReadFile("../../config.example.env")
	if err != nil {
		t.Fatal(err)
	}
	defaults := builtInSettings(t)
	var text strings.Builder
	var words, names, values []string
	row := func() {
		if len(names) > 0 {
			fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", strings.Join(names, "<br>"), strings.Join(values, "<br>"), takenUp(names), cell(strings.Join(words, " ")))
			words, names, values = nil, nil, nil
		}
	}
	table := false
	for line := range strings.Lines(string(example)) {
		line = strings.TrimSpace(line)
		m := variable.FindStringSubmatch(line)
		switch title := section.FindStringSubmatch(line); {
		case title != nil:
			row()
			fmt.Fprintf(&text, "\n## %s\n\n", title[1])
			words, table = nil, false
		case m != nil:
			if !table {
				text.WriteString("| setting | default | a change | what it is |\n|---|---|---|---|\n")
				table = true
			}
			names, values = append(names, "`"+m[1]+"`"), append(values, cmp.Or(code(defaults[m[1]]), "none"))
		case line == "" && len(names) == 0 && text.Len() > 0:
			if len(words) > 0 {
				fmt.Fprintf(&text, "\n%s\n\n", cell(strings.Join(words, " ")))
				table = false
			}
			words = nil
		case text.Len() > 0: // after the words about the file itself
			row()
			if word := strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "); word != "" {
				words = append(words, word)
			}
		}
	}
	row()
	return text.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// cell is a text that stays within its cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;").Replace(text)
}

// takenUp says whether a running proxy takes up changes of the settings.
func takenUp(names []string) string {
	var all []string
	for _, name := range names {
		switch name = strings.Trim(name, "`"); {
		case live(name):
			all = append(all, "live")
		case strings.HasPrefix(name, prefix) || heeded(name):
			all = append(all, "restart")
		}
	}
	return strings.Join(slices.Compact(all), ", ")
}

// builtInSettings are the defaults of all settings, those of tenants included.
func builtInSettings(t *testing.T) map[string]string {
	t.Helper()
	rules := &tenants.Rules{Organizations: tenants.AnyHost(), Logins: tenants.AnyHost()}
	plain, err := rules.Read("x", map[string]string{"ORG_URL": "https://x.crm.dynamics.com"})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, s := range rules.Settings(plain, "") {
		all[prefix+"TENANT_"+s.Name] = s.Value
	}
	for name, value := range envfile.Defaults[settings]() {
		all[prefix+name] = value
	}
	return all
}
