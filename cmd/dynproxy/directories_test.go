package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every command says the same of a directory that cannot be used: the setting
// that names it, and the cure.
func TestADirectoryThatCannotBeUsedIsToldByItsSetting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const org = "https://contoso.crm.dynamics.com"
	commands := map[string][]string{
		"TENANTS_DIR": {"tenant list", "tenant list --json", "tenant add q " + org, "tenant add q " + org + " --replace", "tenant show q", "tenant set q RATE=1",
			"tenant remove q", "tenant export " + dir, "tenant import " + dir, "check", "check q", "serve", "config", "consent-url q", "onboard q " + org},
		"CALLERS_DIR": {"caller list", "caller add q", "caller show q", "caller rotate q", "caller remove q", "caller export " + dir, "caller import " + dir, "serve", "config"},
	}
	for setting, lines := range commands {
		for path, want := range map[string]string{
			filepath.Join(dir, "missing"): "there is no directory " + filepath.Join(dir, "missing") + "; make it, or name another",
			file:                          file + " is a file where a directory must be; name another",
		} {
			for _, line := range lines {
				settings := least()
				settings[prefix+setting] = path
				status, _, said := ended(t, strings.Fields(line), settings)
				if told := "dynproxy: " + prefix + setting + " cannot be used: " + want + "\n"; status != 2 || said != told {
					t.Errorf("%s, %s: status %d\n%swant\n%s", setting, line, status, said, told)
				}
			}
		}
	}
	for _, line := range []string{"tenant import ", "caller import "} {
		settings := least()
		settings[prefix+"TENANTS_DIR"], settings[prefix+"CALLERS_DIR"] = dir, dir
		status, _, said := ended(t, append(strings.Fields(line), filepath.Join(dir, "missing")), settings)
		if status != 2 || !strings.Contains(said, "there is no directory") {
			t.Errorf("%s: status %d %s", line, status, said)
		}
	}
}

// A file whose name is written in other letters is carried like any other.
func TestExportTakesFilesInOtherLetters(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "Wingtip.env"), []byte("ORG_URL=https://wingtip.crm.dynamics.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := least()
	settings[prefix+"TENANTS_DIR"] = from
	status, out, said := ended(t, []string{"tenant", "export", to}, settings)
	if status != 0 || !strings.HasPrefix(out, "1 of 1 written") {
		t.Errorf("status %d %s%s", status, out, said)
	}
	if text, err := os.ReadFile(filepath.Join(to, "wingtip.env")); err != nil || !strings.Contains(string(text), "wingtip.crm") {
		t.Errorf("%q %v", text, err)
	}
}
