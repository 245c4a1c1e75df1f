package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"dynproxy/internal/callers"
	"dynproxy/internal/changes"
	"dynproxy/internal/opsclient"
)

func (w *cli) caller() *cobra.Command {
	c := &cobra.Command{Use: "caller", Short: "Edit the directory of callers"}
	var sets []string
	var noKey bool
	add := &cobra.Command{
		Use: "add NAME", Short: "Add a caller and print its key, once",
		Long: "Writes NAME.env into CALLERS_DIR and prints the caller's key, which is kept only as a hash.\n" +
			"Settings: " + strings.Join(callers.SettingNames(), ", ") + ".",
		Example: "  dynproxy caller add webform --set TENANTS=contoso,fabrikam\n" +
			"  dynproxy caller add report --set READ_ONLY=true --set RATE=5",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return w.callerAdd(args[0], sets, noKey) },
	}
	add.Flags().StringArrayVar(&sets, "set", nil, "a setting, `NAME=VALUE` (may be repeated)")
	add.Flags().BoolVar(&noKey, "no-key", false, "make no key: CERTIFICATE, PRINCIPALS or CIDRS prove the caller")
	c.AddCommand(add,
		&cobra.Command{
			Use: "list", Short: "List the callers, what is wrong with whose file, and when a running proxy saw each",
			RunE: func(c *cobra.Command, _ []string) error { return w.callerList(c.Context()) },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Show a caller's settings, and when a running proxy saw it", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error { return w.callerShow(c.Context(), args[0]) },
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
	c.AddCommand(w.exchange(changes.Caller)...)
	return c
}

func (w *cli) callerAdd(name string, sets []string, noKey bool) error {
	settings, err := readSets(sets)
	if err != nil {
		return err
	}
	editor, err := w.editor(nil)
	if err != nil {
		return err
	}
	done, err := editor.Caller(w.who(), name, callers.Edit{Set: settings, New: true, Fresh: true, NoKey: noKey})
	if err != nil {
		return asUsage(err)
	}
	name = done.Caller.Name
	if done.Key == "" {
		fmt.Fprintf(w.stderr, "%s added, without a key.\n", name)
		return nil
	}
	fmt.Fprintf(w.stderr, "%s added. Its key, which is shown only now (send it as X-Api-Key, or as the password of HTTP Basic with the user name %s):\n", name, name)
	return w.printKey(done.Key, func() error { return editor.RemoveCaller(w.who(), name) })
}

// knownCallers are the callers of the directory, and what a running proxy knows
// of them: nil where none runs.
func (w *cli) knownCallers(ctx context.Context) ([]callers.Entry, map[string]time.Time, error) {
	editor, err := w.editor(nil)
	if err != nil {
		return nil, nil, err
	}
	if err := changes.CheckDir(changes.Caller, editor.CallersDir); err != nil {
		return nil, nil, asUsage(err)
	}
	book, err := editor.Callers()
	if err != nil {
		return nil, nil, err
	}
	var running struct {
		Callers []struct {
			Name string
			Seen time.Time `json:"last_seen"`
		}
	}
	asker, err := w.asker()
	if err == nil {
		err = asker.Ask(ctx, http.MethodGet, "/api/callers", nil, &running)
	}
	switch {
	case errors.Is(err, opsclient.ErrNotRunning):
		return book.Entries(), nil, nil
	case err != nil:
		fmt.Fprintf(w.stderr, "dynproxy: when callers came last is not known: %v\n", err)
		return book.Entries(), nil, nil
	}
	seen := make(map[string]time.Time)
	for _, c := range running.Callers {
		seen[c.Name] = c.Seen
	}
	return book.Entries(), seen, nil
}

// lastSeen is when a caller came last, in words; "" where no proxy runs.
func lastSeen(seen map[string]time.Time, name string) string {
	at, known := seen[name]
	switch {
	case !known:
		return ""
	case at.IsZero():
		return "not seen since the proxy started"
	}
	return "last seen " + at.Local().Format(time.DateTime)
}

func (w *cli) callerList(ctx context.Context) error {
	entries, seen, err := w.knownCallers(ctx)
	if err != nil {
		return err
	}
	var failed error
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		if e.Fault != nil {
			w.warn(e.Name + ": " + e.Fault.Error())
			failed = errNotWell
		}
		if e.Caller == nil {
			continue
		}
		reach := "all tenants"
		if len(e.Caller.Tenants) > 0 {
			reach = strings.Join(e.Caller.Tenants, ", ")
		}
		fmt.Fprintf(table, "%s\t%d key(s)\t%s", e.Name, e.Caller.Keys(), reach)
		if told := lastSeen(seen, e.Name); told != "" {
			fmt.Fprintf(table, "\t%s", told)
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	return failed
}

func (w *cli) callerShow(ctx context.Context, name string) error {
	entries, seen, err := w.knownCallers(ctx)
	if err != nil {
		return err
	}
	name = strings.ToLower(name)
	at := slices.IndexFunc(entries, func(e callers.Entry) bool { return e.Name == name })
	if at < 0 {
		return &callers.UnknownError{Name: name}
	}
	if fault := entries[at].Fault; fault != nil {
		return fmt.Errorf("the settings of caller %s have a fault: %w", name, fault)
	}
	c := entries[at].Caller
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	given := c.Given()
	for _, setting := range callers.SettingNames() {
		if value, is := given[setting]; is {
			fmt.Fprintf(table, "%s\t%s\n", setting, value)
		}
	}
	table.Flush()
	fmt.Fprintf(w.stdout, "%s has %d key(s)", name, c.Keys())
	if told := lastSeen(seen, name); told != "" {
		fmt.Fprintf(w.stdout, "; %s", told)
	}
	fmt.Fprintln(w.stdout)
	return nil
}

func (w *cli) callerRemove(name string) error {
	editor, err := w.editor(nil)
	if err != nil {
		return err
	}
	if err := editor.RemoveCaller(w.who(), name); err != nil {
		return asUsage(err)
	}
	fmt.Fprintf(w.stdout, "%s removed.\n", name)
	return nil
}

func (w *cli) callerRotate(name string) error {
	editor, err := w.editor(nil)
	if err != nil {
		return err
	}
	done, err := editor.Rotate(w.who(), name)
	if err != nil {
		return asUsage(err)
	}
	if done.Key == "" {
		fmt.Fprintf(w.stderr, "The old key of %s has ended; the new one is its only key.\n", name)
		return nil
	}
	fmt.Fprintf(w.stderr, "The new key of %s, which is shown only now. The old one is valid too, until you rotate again:\n", name)
	return w.printKey(done.Key, func() error {
		made := "KEY_SHA256"
		if done.Before[made] != "" {
			made += "_NEXT"
		}
		_, err := editor.Caller(w.who(), name, callers.Edit{Set: map[string]string{made: ""}})
		return err
	})
}

// printKey prints a new key, or takes it back: it is nowhere else, and to rotate
// once more would end the old one in its favour.
func (w *cli) printKey(key string, takeBack func() error) error {
	_, err := fmt.Fprintln(w.stdout, key)
	if err == nil {
		return nil
	}
	if other := takeBack(); other != nil {
		return fmt.Errorf("the key could not be printed (%w), and not be taken back: %w", err, other)
	}
	return fmt.Errorf("the key could not be printed, and was taken back: %w", err)
}
