package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"dynproxy/internal/envfile"
	"dynproxy/internal/logqueue"
)

func (w *cli) settings() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "config", Short: "Print the settings in force, and where each comes from",
		Long: "Prints every setting as serve would read it now: its value, and whether that comes from the environment, from a line\n" +
			"of an --env-file, or is the default. Secrets are [redacted]. With faults it lists them all and exits with 2.\n" +
			"A running proxy takes up on SIGHUP what is marked live; the rest needs a restart.",
		RunE: func(*cobra.Command, []string) error { return w.printSettings(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print them as JSON, faults too")
	return c
}

// settingView is one variable, as serve reads it.
type settingView struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // redacted if it is secret
	Source string `json:"source"` // environment, default, or file:line
	Live   bool   `json:"live"`   // whether a running proxy takes up a change
}

func (w *cli) printSettings(asJSON bool) error {
	environ, err := w.environment()
	if err != nil {
		return err
	}
	cfg, err := loadConfig(environ)
	apart := *cfg
	apart.looks, apart.StateDir = true, "" // nothing is made there only to look
	err = withFiles(err, &apart)
	faults, _ := errors.AsType[envfile.Faults](err)
	all := settingsOf(environ, w.sources())
	if asJSON {
		type fault struct {
			Setting string `json:"setting"`
			Fault   string `json:"fault"`
		}
		told := []fault{}
		for _, f := range faults {
			told = append(told, fault{f.Variable, f.Cure})
		}
		if err := w.printJSON(map[string]any{"settings": all, "faults": told, "unknown": append([]string{}, cfg.unknown...)}); err != nil {
			return err
		}
	} else {
		table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		for _, s := range all {
			live := "restart"
			if s.Live {
				live = "live"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Name, s.Value, s.Source, live)
		}
		table.Flush()
		for _, name := range cfg.unknown {
			fmt.Fprintf(w.stderr, "dynproxy: %s means nothing; is it spelled right?\n", name)
		}
	}
	return err
}

func prefixed(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = prefix + name
	}
	return all
}

// settingsOf are all settings, by name: those of the product, the defaults of
// tenants that are set, and what it heeds besides.
func settingsOf(environ, sources map[string]string) []settingView {
	builtIn := envfile.Defaults[settings]()
	names := prefixed(envfile.Names[settings]())
	for name := range environ {
		if strings.HasPrefix(name, prefix+"TENANT_") || !strings.HasPrefix(name, prefix) && heeded(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all []settingView
	for _, name := range names {
		s := settingView{Name: name, Value: shown(name, environ[name]), Source: sources[name], Live: live(name)}
		if environ[name] == "" {
			s.Value, s.Source = builtIn[strings.TrimPrefix(name, prefix)], "default"
		}
		all = append(all, s)
	}
	return all
}

// sources tells where each variable comes from: environment or file:line.
func (w *cli) sources() map[string]string {
	from := make(map[string]string)
	for name := range w.serviceDefaults() {
		from[name] = "default of the service"
	}
	for _, path := range w.envFiles {
		lines, _ := envfile.Lines(path) // it has been read before
		for name, line := range lines {
			from[name] = fmt.Sprintf("%s:%d", path, line)
		}
	}
	own, _ := envfile.Environment(w.environ, nil)
	for name := range maps.Keys(own) {
		from[name] = "environment"
	}
	return from
}

// withFiles adds to the faults of the settings those of the files they name, so
// that nobody mends the former to hear of the latter. A setting that is told of
// is not told of again. cfg is nil where the settings cannot even be read.
func withFiles(err error, cfg *config) error {
	faults, are := errors.AsType[envfile.Faults](err)
	if err != nil && !are || cfg == nil {
		return err
	}
	lines := logqueue.New(io.Discard, 0)
	defer lines.Close(0)
	h, err := newServer(cfg, zerolog.Nop(), lines)
	if err == nil {
		h.close()
	}
	told := make(map[string]bool)
	for _, f := range faults {
		told[f.Variable] = true
	}
	more, are := errors.AsType[envfile.Faults](err)
	for _, f := range more {
		if !told[f.Variable] {
			faults = append(faults, f)
		}
	}
	switch {
	case len(faults) > 0:
		return faults
	case !are:
		return err
	}
	return nil
}
