// Command dynproxy lets applications that speak plain HTTP and know nothing of
// OAuth call Microsoft Dataverse organizations: it finds the tenant, attaches a
// token, keeps within the tenant's limits and rewrites links both ways.
package main

//go:generate go test -count=1 -run ^(TestReferencesAreWhatTheCodeSays|TestGoldenTable.*)$ . -write

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"dynproxy/internal/envfile"
	"dynproxy/internal/service"
)

func main() {
	zerolog.TimeFieldFormat = time.RFC3339Nano // zerolog has this for the whole process only
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends gracefully; a second one finds no handler and ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(exitStatus(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr), os.Stderr))
}

// errNotWell ends a command that has already said what is wrong, with status 1.
var errNotWell = errors.New("not well")

// exitStatus prints err, and returns 0 without one, 2 for settings or words of
// the command line that cannot be used, and 1 for everything else.
func exitStatus(err error, stderr io.Writer) int {
	faults, wrongSettings := errors.AsType[envfile.Faults](err)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNotWell):
		return 1
	case wrongSettings:
		for _, f := range faults {
			fmt.Fprintf(stderr, "dynproxy: %s\n", oneLine(f.String()))
		}
		return 2
	}
	said := strings.Split(err.Error(), "\n")
	for i, line := range said {
		said[i] = oneLine(line) // it may quote what another program has answered
	}
	fmt.Fprintf(stderr, "dynproxy: %s\n", strings.Join(said, "\n"))
	if _, usage := errors.AsType[*usageError](err); usage {
		return 2
	}
	return 1
}

// longestFault is in bytes; a path can be longer than all that is said of it.
const longestFault = 2000

// oneLine is text without what would break its line or move a terminal's
// cursor, and without the middle of what nobody reads to its end.
func oneLine(text string) string {
	if len(text) > longestFault {
		text = text[:longestFault/2] + " ... " + text[len(text)-longestFault/2:]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
}

// inLine is oneLine of what may have several, such as the faults of a file.
func inLine(text string) string { return oneLine(strings.ReplaceAll(text, "\n", "; ")) }

// usageError is a command line that cannot be used.
type usageError struct{ error }

// cli is what a command sees of its surroundings.
type cli struct {
	environ  []string
	envFiles []string
	defaults map[string]string // of settings that nobody has set, where they are others than usual
	more     func() []string   // what a service manager adds to environ, as it is now; nil for nothing
	book     *app              // tenants and callers in Redis, where a command wants them
	stdout   io.Writer
	stderr   io.Writer
}

// environment returns the settings of the process and of its --env-files.
func (w *cli) environment() (map[string]string, error) {
	all := w.environ
	if w.more != nil {
		all = slices.Concat(all, w.more())
	}
	environ, err := envfile.Environment(all, w.envFiles)
	if err != nil {
		return nil, err
	}
	return envfile.Merge(w.serviceDefaults(), environ), nil
}

// serviceDefaults are those of a service, for it and for commands that are given
// its settings' files.
func (w *cli) serviceDefaults() map[string]string {
	if w.defaults != nil || len(w.envFiles) == 0 {
		return w.defaults
	}
	all := make(map[string]string)
	for name, value := range service.Defaults(w.envFiles) {
		all[prefix+name] = value
	}
	return all
}

// config reads the settings.
func (w *cli) config() (*config, error) {
	environ, err := w.environment()
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(environ)
	cfg.envFiles = w.envFiles
	return cfg, err
}

// run carries out the command line args.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	w := &cli{environ: environ, stdout: &printer{out: stdout}, stderr: stderr}
	defer w.closeBook()
	root := w.root()
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err != nil {
		return err
	}
	return w.printed(c)
}

// root is the program's command, with all others under it.
func (w *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "dynproxy",
		Short: "A proxy that lets plain-HTTP applications call Microsoft Dataverse",
		Long: "dynproxy stands between applications that speak plain HTTP and Microsoft Dataverse organizations.\n" +
			"Callers use http://proxy:8080/<tenant>/api/data/...; tokens, limits and links are its business.\n\n" +
			"To see it at work without any set-up: dynproxy demo",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRun: func(c *cobra.Command, _ []string) { w.lookAtInstalled(c) },
	}
	root.PersistentFlags().StringArrayVar(&w.envFiles, "env-file", nil, "read settings from `FILE` (may be repeated; a real environment variable wins)")
	root.AddCommand(w.serve(), w.demo(), w.emulator(), w.check(), w.consentURL(), w.onboard(), w.tenant(), w.caller(), w.tail(), w.trace(), w.usage(), w.explain(), w.health(), w.version(), w.settings(), w.init(), w.service(), w.secret())
	root.SetHelpCommand(w.help(root))
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		said, _, _ := strings.Cut(err.Error(), ": strconv.") // what follows is for programmers
		return &usageError{fmt.Errorf("%s; see '%s --help'", said, c.CommandPath())}
	})
	root.InitDefaultCompletionCmd()
	usageErrors(root)
	return root
}

// printed returns why not all of what c has printed has arrived: a list that is
// cut off looks like a whole one. Who serves does not depend on its log's reader.
func (w *cli) printed(c *cobra.Command) error {
	p, is := w.stdout.(*printer)
	if !is || slices.Contains([]string{"serve", "demo", "emulator"}, c.Name()) {
		return nil
	}
	if err := p.failed(); err != nil {
		return fmt.Errorf("not all of it could be printed: %w", err)
	}
	return nil
}

// printer is standard output, and remembers that it could not be written.
type printer struct {
	out io.Writer

	mu  sync.Mutex // guards err
	err error
}

func (p *printer) Write(text []byte) (int, error) {
	n, err := p.out.Write(text)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = err
	}
	return n, err
}

func (p *printer) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// usageErrors makes every command tell words it does not take from what goes
// wrong while it runs.
func usageErrors(c *cobra.Command) {
	args := c.Args
	if args == nil && !c.HasSubCommands() {
		args = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, words []string) error {
		if c.HasSubCommands() {
			if len(words) > 0 {
				return &usageError{fmt.Errorf("unknown command %q; '%s --help' lists the commands", words[0], c.CommandPath())}
			}
			return nil
		}
		err := args(c, words)
		if _, own := errors.AsType[*usageError](err); own {
			return err
		}
		if err != nil { // its words are for programmers
			return &usageError{fmt.Errorf("write it as %s; see '%s --help'", strings.TrimSuffix(c.UseLine(), " [flags]"), c.CommandPath())}
		}
		return oneOfGroup(c)
	}
	if !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// oneOfGroup tells of flags of c that exclude each other.
func oneOfGroup(c *cobra.Command) error {
	err := c.ValidateFlagGroups()
	if err == nil {
		return nil
	}
	_, given, _ := strings.Cut(err.Error(), "; [")
	given, _, _ = strings.Cut(given, "]")
	return &usageError{fmt.Errorf("--%s exclude each other: give one; see '%s --help'", strings.ReplaceAll(given, " ", " and --"), c.CommandPath())}
}

// printJSON prints value for people and programs.
func (w *cli) printJSON(value any) error {
	e := json.NewEncoder(w.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}
