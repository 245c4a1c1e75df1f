package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dynproxy/internal/callers"
	"dynproxy/internal/changes"
	"dynproxy/internal/envfile"
	"dynproxy/internal/textfile"
	"dynproxy/tenants"
)

// exchange are the commands that carry tenants or callers from place to place
// as files.
func (w *cli) exchange(kind string) []*cobra.Command {
	var over, replace bool
	out := &cobra.Command{
		Use: "export DIR", Short: "Write every " + kind + " into a directory, one file each", Args: cobra.ExactArgs(1),
		Long: "Writes NAME.env for every " + kind + " into DIR, wherever they lie now: in a directory, or in Redis (TENANTS_REDIS).\n" +
			"The files hold what the originals do, secrets and hashes of keys too: they are readable for you alone.\n" +
			"A file that is there with another content is left alone, unless --replace is given.",
		Example: "  dynproxy " + kind + " export ./" + kind + "s",
		RunE:    func(_ *cobra.Command, args []string) error { return w.export(kind, args[0], over) },
	}
	out.Flags().BoolVar(&over, "replace", false, "write over files that are there with another content")
	in := &cobra.Command{
		Use: "import DIR", Short: "Take every " + kind + " from a directory of files", Args: cobra.ExactArgs(1),
		Long: "Reads every NAME.env of DIR and sets that " + kind + " by it, with the checks of 'add'. What is there already under\n" +
			"other names stays. What is wrong is told, and the rest is taken all the same.",
		Example: "  dynproxy " + kind + " import ./" + kind + "s",
		RunE:    func(_ *cobra.Command, args []string) error { return w.importAll(kind, args[0], replace) },
	}
	if kind == changes.Tenant {
		in.Flags().BoolVar(&replace, "replace", false, "allow that a name which stands gets another address")
	}
	return []*cobra.Command{out, in}
}

// places are where files of a kind lie, and how they are changed.
func (w *cli) places(kind string) (string, *changes.Editor, error) {
	var c *config
	if kind == changes.Tenant {
		var err error
		if c, err = w.tenantsDir(); err != nil {
			return "", nil, err
		}
	}
	editor, err := w.editor(c)
	if err != nil {
		return "", nil, err
	}
	if kind == changes.Tenant {
		return editor.TenantsDir, editor, nil
	}
	return editor.CallersDir, editor, asUsage(changes.CheckDir(changes.Caller, editor.CallersDir))
}

// files are the names of what has a file in dir, sorted.
func files(dir string) ([]string, error) {
	if err := envfile.CheckDir(dir); err != nil {
		return nil, &usageError{err}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		base := e.Name()
		if name, is := strings.CutSuffix(strings.ToLower(base), ".env"); is && !e.IsDir() && name != "" && base[0] != '.' && base[0] != '~' {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (w *cli) export(kind, to string, over bool) error {
	from, _, err := w.places(kind)
	if err != nil {
		return err
	}
	names, err := files(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("the directory %s cannot be made: %w", to, textfile.Reason(err))
	}
	failed := 0
	for _, name := range names {
		text, err := raw(from, name)
		path := filepath.Join(to, name+".env")
		if there, missing := os.ReadFile(path); err == nil && missing == nil && string(there) != string(text) && !over {
			err = errors.New("is there with another content; --replace writes over it")
		}
		if err == nil {
			err = textfile.Replace(path, text)
		}
		if err != nil {
			failed++
			fmt.Fprintf(w.stderr, "dynproxy: %s: %v\n", path, err)
		}
	}
	fmt.Fprintf(w.stdout, "%d of %d written to %s.\n", len(names)-failed, len(names), to)
	if failed > 0 {
		return errNotWell
	}
	return nil
}

// raw is the file of name in dir as it is.
func raw(dir, name string) ([]byte, error) {
	path, err := envfile.Path(dir, name)
	if err != nil {
		return nil, err
	}
	return textfile.ReadRaw(path)
}

func (w *cli) importAll(kind, from string, replace bool) error {
	_, editor, err := w.places(kind)
	if err != nil {
		return err
	}
	names, err := files(from)
	if err != nil {
		return err
	}
	failed := 0
	for _, name := range names {
		values, err := envfile.Load(from, name)
		if err == nil && kind == changes.Tenant {
			_, err = editor.Tenant(w.who(), name, tenants.Edit{Set: values, Whole: true, New: true, Replace: replace})
		} else if err == nil {
			_, err = editor.Caller(w.who(), name, callers.Edit{Set: values, Whole: true, New: true, NoKey: true})
		}
		if err != nil {
			failed++
			fmt.Fprintf(w.stderr, "dynproxy: %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	fmt.Fprintf(w.stdout, "%d of %d taken from %s.\n", len(names)-failed, len(names), from)
	if failed > 0 {
		return errNotWell
	}
	return nil
}
