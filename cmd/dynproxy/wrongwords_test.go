package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command tells words and flags that it does not take, and where to look.
func TestWrongWordsOfEveryCommand(t *testing.T) {
	t.Parallel()
	var all []*cobra.Command
	var collect func(c *cobra.Command)
	collect = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect((&cli{}).root())
	if len(all) < 40 {
		t.Errorf("only %d commands", len(all))
	}
	for _, c := range all {
		words := strings.Fields(c.CommandPath())[1:]
		for _, wrong := range [][]string{{"--no-such-flag"}, {"-?"}, {"a", "b", "c", "d"}, {"--env-file"}, {"--env-file", t.TempDir()}, {"--help=maybe"}, {"--env-file", "wrongwords_test.go", "a", "b", "c", "d"}} {
			if strings.HasPrefix(c.CommandPath(), "dynproxy help") || strings.HasPrefix(c.CommandPath(), "dynproxy completion") || c.Name() == "version" {
				wrong = append(wrong, "x", "y", "z") // these read no settings
			}
			if own := strings.Join(words, " "); len(wrong) == 2 && wrong[0] == "--env-file" && (own == "emulator" || strings.HasPrefix(own, "service ")) {
				continue // these look at other things first
			}
			if name := c.Name(); len(words) > 1 && (name == "set" || name == "check") || name == "check" || name == "help" {
				continue // as many words as one likes
			}
			status, out, said := ended(t, append(words, wrong...), least())
			if c.HasSubCommands() && status == 0 && wrong[0] == "--env-file" && strings.Contains(out, "Usage:") {
				continue // its help needs no settings
			}
			if status != 2 || out != "" || !strings.HasPrefix(said, "dynproxy: ") || strings.Contains(said, "strconv") || strings.Contains(said, "goroutine") {
				t.Errorf("%v %q: status %d %.100q %.300q", words, wrong, status, out, said)
			}
		}
	}
}

// What does not fit is answered with what would, and flags that exclude each
// other are words of the command line too.
func TestWrongWordsAreAnsweredWithTheRightOnes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"tenant add x":                         "write it as dynproxy tenant add NAME ORG_URL; see 'dynproxy tenant add --help'",
		"onboard x":                            "write it as dynproxy onboard NAME ORG_URL | --from FILE; see 'dynproxy onboard --help'",
		"health x":                             "write it as dynproxy health; see 'dynproxy health --help'",
		"tenant nosuch":                        `unknown command "nosuch"; 'dynproxy tenant --help' lists the commands`,
		"completion tcsh":                      `unknown command "tcsh"; 'dynproxy completion --help' lists the commands`,
		"nosuch":                               `unknown command "nosuch"; 'dynproxy --help' lists the commands`,
		"help tenant add x":                    `dynproxy tenant add has no command "x"; 'dynproxy tenant add --help' says what it has`,
		"usage --csv --json":                   "--csv and --json exclude each other: give one; see 'dynproxy usage --help'",
		"tenant add x y --set =1":              "--set takes NAME=VALUE",
		"tenant list --state nosuch":           "--state takes one of broken, attention, unchecked, ready",
		"consent-url contoso --all":            "write it as dynproxy consent-url TENANT | --all; see 'dynproxy consent-url --help'",
		"consent-url contoso --expires -1h":    "--expires must be at least 1s, such as 168h; without it the link does not end",
		"consent-url --all --page --expires 0": "--expires must be at least 1s, such as 168h; without it the link does not end",
		"onboard x https://x.crm.dynamics.com --timeout 0":  "--timeout must be above zero, such as 1h",
		"onboard --from x --timeout -1m":                    "--timeout must be above zero, such as 1h",
		"init --client-secret-file x --client-secret-stdin": "--client-secret-file and --client-secret-stdin exclude each other: give one; see 'dynproxy init --help'",
	} {
		if status, _, said := ended(t, strings.Fields(line), with("TENANTS_DIR="+t.TempDir())); status != 2 || said != "dynproxy: "+want+"\n" {
			t.Errorf("%s: status %d\n%swant\n%s", line, status, said, want)
		}
	}
}

// A name that a file has, and what a command says, moves no cursor and begins
// no line of its own.
func TestNoNameOfAFileMovesTheCursor(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // no file has such a name there
	}
	dir := t.TempDir()
	for _, name := range []string{"a\x1b[31mb.env", "a\nb.env", "two.env"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("BOGUS=1\nRATE=x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := with("TENANTS=", "TENANTS_DIR="+dir, "CALLERS_DIR="+dir, "OPS_LISTEN=127.0.0.1:1")
	for _, command := range []string{"tenant list", "caller list", "check"} {
		_, out, said := ended(t, []string(strings.Fields(command)), settings)
		if strings.Contains(out+said, "\x1b") {
			t.Errorf("%s: %q", command, out+said)
		}
		for line := range strings.Lines(out + said) {
			if strings.HasPrefix(line, "b") || strings.HasPrefix(line, "RATE") {
				t.Errorf("%s: a line of its own: %q", command, line)
			}
		}
	}
}

// A tenant that is named twice is one, in whichever letters.
func TestCheckOfOneTenantNamedTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "faulty.env"), []byte("BOGUS=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, said := ended(t, []string{"check", "faulty", "FAULTY", "faulty"}, with("TENANTS=", "TENANTS_DIR="+dir))
	if status != 1 || !strings.Contains(out, "\n1 tenant: 0 ok, 1 broken\n") {
		t.Errorf("status %d\n%s%s", status, out, said)
	}
}

func TestTheEmulatorsAddressIsJudgedAsAWordOfTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"x", "0.0.0.0:0", ":0", "127.0.0.1:65536", "127.0.0.1:65533", "127.0.0.1:x", "[::]:1", "10.0.0.1:1"} {
		if status, _, said := ended(t, []string{"emulator", "--listen", address}, nil); status != 2 || !strings.Contains(said, "--listen must be an address of this machine alone and a port up to 65532, such as 127.0.0.1:8443") {
			t.Errorf("%s: status %d %s", address, status, said)
		}
	}
}
