package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"dynproxy/internal/callers"
	"dynproxy/internal/envfile"
)

func (w *cli) caller() *cobra.Command {
	c := &cobra.Command{Use: "caller", Short: "Edit the directory of callers"}
	var sets []string
	add := &cobra.Command{
		Use: "add NAME", Short: "Add a caller and print its key, once",
		Long: "Writes NAME.env into CALLERS_DIR and prints the caller's key, which is kept only as a hash.\n" +
			"Settings: " + strings.Join(callers.SettingNames(), ", ") + ".",
		Example: "  dynproxy caller add webform --set TENANTS=contoso,fabrikam\n" +
			"  dynproxy caller add report --set READ_ONLY=true --set RATE=5",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return w.callerAdd(args[0], sets) },
	}
	add.Flags().StringArrayVar(&sets, "set", nil, "a setting, `NAME=VALUE` (may be repeated)")
	c.AddCommand(add,
		&cobra.Command{
			Use: "list", Short: "List the callers, and what is wrong with whose file",
			RunE: func(*cobra.Command, []string) error { return w.callerList() },
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Remove a caller", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return w.callerRemove(args[0]) },
		},
		&cobra.Command{
			Use: "rotate NAME", Short: "Change a caller's key, in two steps",
			Long: "The first time it prints a new key, and both keys are valid. When the application uses the new one,\n" +
				"rotate again: that ends the old one. Against a key that became known, rotate twice at once.",
			Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return w.callerRotate(args[0]) },
		})
	return c
}

func (w *cli) callersDir() (string, error) {
	environ, err := w.environment()
	if err != nil {
		return "", err
	}
	dir := environ[prefix+"CALLERS_DIR"]
	if dir == "" {
		return "", envfile.Faults{{Variable: prefix + "CALLERS_DIR", Cure: "is missing: the directory that holds one file a caller"}}
	}
	return dir, nil
}

func (w *cli) callerAdd(name string, sets []string) error {
	dir, err := w.callersDir()
	if err != nil {
		return err
	}
	if name, err = callers.ValidName(name); err != nil {
		return &usageError{err}
	}
	settings, err := readSets(sets)
	if err != nil {
		return err
	}
	key, err := callers.Add(dir, name, settings)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stderr, "%s added. Its key, which is shown only now (send it as X-Api-Key, or as the password of HTTP Basic with the user name %s):\n", name, name)
	fmt.Fprintln(w.stdout, key)
	return nil
}

func (w *cli) callerList() error {
	dir, err := w.callersDir()
	if err != nil {
		return err
	}
	entries, err := callers.List(dir)
	if err != nil {
		return err
	}
	var failed error
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		if e.Fault != nil {
			fmt.Fprintf(w.stderr, "dynproxy: %s: %s\n", e.Name, strings.ReplaceAll(e.Fault.Error(), "\n", "; "))
			failed = errNotWell
			continue
		}
		reach := "all tenants"
		if len(e.Caller.Tenants) > 0 {
			reach = strings.Join(e.Caller.Tenants, ", ")
		}
		fmt.Fprintf(table, "%s\t%d key(s)\t%s\n", e.Name, e.Keys, reach)
	}
	table.Flush()
	return failed
}

func (w *cli) callerRemove(name string) error {
	dir, err := w.callersDir()
	if err != nil {
		return err
	}
	if err := callers.Remove(dir, name); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s removed.\n", name)
	return nil
}

func (w *cli) callerRotate(name string) error {
	dir, err := w.callersDir()
	if err != nil {
		return err
	}
	key, err := callers.Rotate(dir, name)
	if err != nil {
		return err
	}
	if key == "" {
		fmt.Fprintf(w.stderr, "The old key of %s has ended; the new one is its only key.\n", name)
		return nil
	}
	fmt.Fprintf(w.stderr, "The new key of %s, which is shown only now. The old one is valid too, until you rotate again:\n", name)
	fmt.Fprintln(w.stdout, key)
	return nil
}
