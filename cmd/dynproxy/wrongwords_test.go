package main

import (
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
