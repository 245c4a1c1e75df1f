package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dynproxy/internal/help"
)

// help explains commands, as everywhere, and codes that callers get.
func (w *cli) help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | CODE]", Short: "Help about a command, or about a code that a caller got",
		Long: "Explains a command, or what a code means that a caller got as Dynproxy-Error or Dynproxy-Hint, and what to do.",
		Example: "  dynproxy help onboard\n" +
			"  dynproxy help consent_required",
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, words []string) error {
			if len(words) == 1 {
				if e, known := help.Lookup(words[0]); known {
					_, err := fmt.Fprintf(w.stdout, "%s\n\n%s\n\nIf you call: %s\n\nIf you run the proxy: %s\n", e.Title(), e.Means, e.Caller, e.Operator)
					return err
				}
			}
			found, rest, err := root.Find(words)
			if err == nil && len(rest) > 0 && found != root {
				return &usageError{fmt.Errorf("%s has no command %q; '%[1]s --help' says what it has", found.CommandPath(), rest[0])}
			}
			if err != nil || len(rest) > 0 {
				return &usageError{fmt.Errorf("%q is neither a command nor a code; 'dynproxy --help' lists the commands", words[0])}
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}
