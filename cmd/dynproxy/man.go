//go:build man

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The manual pages, of each command (section 1) and of the settings (section
// 5), are what this build of the program makes, and all that it does. It keeps
// them out of the program that is shipped.
//
//	SOURCE_DATE_EPOCH=<seconds> go run -tags man ./cmd/dynproxy DIRECTORY config.example.env
func init() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "go run -tags man ./cmd/dynproxy DIRECTORY config.example.env")
		os.Exit(2)
	}
	if err := writePages(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func writePages(dir, example string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	date := time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	root := (&cli{stdout: os.Stdout, stderr: os.Stderr}).root()
	root.InitDefaultCompletionCmd()
	settings, err := settingsPage(example, date)
	return errors.Join(err, writePage(dir, "dynproxy.env.5", settings), writeCommands(dir, root, date))
}

func writeCommands(dir string, c *cobra.Command, date string) error {
	if c.Hidden {
		return nil
	}
	c.InitDefaultHelpFlag()
	err := writePage(dir, pageName(c)+".1", commandPage(c, date))
	for _, sub := range c.Commands() {
		if sub.Name() != "help" {
			err = errors.Join(err, writeCommands(dir, sub, date))
		}
	}
	return err
}

func writePage(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), fs.FileMode(0o644))
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func commandPage(c *cobra.Command, date string) string {
	var p page
	p.title(strings.ToUpper(pageName(c)), "1", date)
	p.section("NAME").text(pageName(c) + " - " + c.Short)
	p.section("SYNOPSIS").text(c.UseLine())
	p.section("DESCRIPTION").text(c.Long)
	if c.Long == "" {
		p.text(c.Short + ".")
	}
	if c.Example != "" {
		p.section("EXAMPLES").text(c.Example)
	}
	p.flags("OPTIONS", c.NonInheritedFlags()).flags("OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	p.section("EXIT STATUS").text("0 when all is well, 1 when something is not, 2 for settings or words of the command line that cannot be used.")
	if !c.HasParent() {
		p.section("FILES").text("  /etc/dynproxy/dynproxy.env  settings of the service; other commands read them too, where they are told no other\n" +
			"  /etc/dynproxy/tenants       one file a tenant\n  /etc/dynproxy/callers       one file a caller\n" +
			"  /var/lib/dynproxy           what shall survive a restart")
	}
	also := []string{"dynproxy.env(5)"}
	if c.HasParent() {
		also = append(also, pageName(c.Parent())+"(1)")
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			also = append(also, pageName(sub)+"(1)")
		}
	}
	p.section("SEE ALSO").text(strings.Join(also, ", "))
	return p.String()
}

// settingsPage is the example of settings, each under its own heading.
func settingsPage(example, date string) (string, error) {
	text, err := os.ReadFile(example)
	if err != nil {
		return "", err
	}
	var p page
	p.title("DYNPROXY.ENV", "5", date)
	p.section("NAME").text("dynproxy.env - settings of dynproxy")
	p.section("DESCRIPTION")
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		heading, isHeading := strings.CutPrefix(line, "# --- ")
		words, isWords := strings.CutPrefix(line, "# ")
		switch {
		case isHeading:
			p.section(strings.ToUpper(strings.TrimRight(heading, " -")))
		case isWords:
			p.line(words)
		case strings.TrimLeft(line, "#") == "":
			p.WriteString(".PP\n")
		default:
			p.WriteString(".RS\n.nf\n\\fB" + escaped(strings.TrimPrefix(line, "#")) + "\\fR\n.fi\n.RE\n.PP\n")
		}
	}
	p.section("SEE ALSO").text("dynproxy(1), dynproxy-config(1)")
	return p.String(), nil
}

// page is a manual page in the making, in the language of man(7).
type page struct{ strings.Builder }

func (p *page) title(name, section, date string) {
	fmt.Fprintf(p, ".TH \"%s\" \"%s\" \"%s\" \"dynproxy %s\" \"dynproxy\"\n.nh\n.ad l\n", escaped(name), section, date, escaped(release))
}

func (p *page) section(name string) *page {
	p.WriteString(".SH " + escaped(name) + "\n")
	return p
}

// text writes paragraphs. Lines that are indented stay as they are.
func (p *page) text(words string) {
	literal := false
	for line := range strings.Lines(words) {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, "  "); indented != literal && line != "" {
			literal = indented
			p.WriteString(map[bool]string{true: ".PP\n.nf\n", false: ".fi\n.PP\n"}[literal])
		}
		p.line(line)
	}
	if literal {
		p.WriteString(".fi\n")
	}
}

func (p *page) line(words string) {
	if words == "" {
		p.WriteString(".PP\n")
		return
	}
	p.WriteString(escaped(words) + "\n")
}

func (p *page) flags(heading string, flags *pflag.FlagSet) *page {
	if !flags.HasAvailableFlags() {
		return p
	}
	p.section(heading)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(p, ".TP\n\\fB%s\\fR \\fI%s\\fR\n", escaped(name), escaped(value))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		p.line(usage)
	})
	return p
}

// escaped is text that means nothing to roff but itself.
func escaped(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}
