package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dynproxy/internal/changes"
	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

func (w *cli) tenant() *cobra.Command {
	c := &cobra.Command{Use: "tenant", Short: "Edit the directory of tenants"}
	var sets []string
	var replace bool
	add := &cobra.Command{
		Use: "add NAME ORG_URL", Short: "Add a tenant, or change one",
		Long: "Writes NAME.env into TENANTS_DIR. A running proxy takes it up within a second.\n" +
			"The tenant's id is not asked for: the organization itself tells it.\n" +
			"A name that stands for another organization is left alone, unless --replace is given.\n" +
			"Settings: " + strings.Join(tenants.SettingNames(), ", ") + ".",
		Example: "  dynproxy tenant add contoso https://contoso.crm.dynamics.com\n" +
			"  dynproxy tenant add contoso https://contoso.crm.dynamics.com --set READ_ONLY=true --set RATE=20",
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return w.tenantAdd(args[0], args[1], sets, replace) },
	}
	add.Flags().StringArrayVar(&sets, "set", nil, "a further setting, `NAME=VALUE` (may be repeated)")
	add.Flags().BoolVar(&replace, "replace", false, "allow that a name which stands gets another address")
	c.AddCommand(add,
		w.tenantList(), w.tenantShow(), w.tenantSet(),
		&cobra.Command{
			Use: "remove NAME", Short: "Remove a tenant", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return w.tenantRemove(args[0]) },
		})
	c.AddCommand(w.exchange(changes.Tenant)...)
	return c
}

// tenantRules reads the settings that tenants are held to. The registration is
// not needed to edit the directory.
func (w *cli) tenantRules() (*config, error) {
	environ, err := w.bookEnvironment()
	if err != nil {
		return nil, err
	}
	c, err := loadConfig(environ)
	if err == nil {
		return c, nil
	}
	// Only what bears on tenants matters here.
	only := make(map[string]string)
	for name, value := range environ {
		if strings.HasPrefix(name, prefix+"TENANT") || strings.HasPrefix(name, prefix+"ALLOWED_") {
			only[name] = value
		}
	}
	only[prefix+"CLIENT_ID"], only[prefix+"CLIENT_SECRET"] = "unused", "unused"
	if only[prefix+"TENANTS"] == "" && only[prefix+"TENANTS_DIR"] == "" {
		return nil, envfile.Faults{{Variable: prefix + "TENANTS_DIR", Cure: "is missing: the directory that holds one file a tenant"}}
	}
	return loadConfig(only)
}

// tenantBook reads those settings, and opens the book of tenants.
func (w *cli) tenantBook() (*config, *tenants.Book, error) {
	c, err := w.tenantRules()
	if err != nil {
		return nil, nil, err
	}
	book, err := c.openBook()
	return c, book, err
}

// openBook opens the book of tenants. Its error is envfile.Faults: what is
// listed has been judged with the settings.
func (c *config) openBook() (*tenants.Book, error) {
	book, err := tenants.Open(c.list, c.TenantsDir, c.rules)
	if err != nil {
		return nil, envfile.Faults{{Variable: prefix + "TENANTS_DIR", Cure: fmt.Sprintf("cannot be used: %v", err)}}
	}
	return book, nil
}

func (w *cli) tenantsDir() (*config, error) {
	c, err := w.tenantRules()
	if err != nil {
		return nil, err
	}
	return c, asUsage(changes.CheckDir(changes.Tenant, c.TenantsDir))
}

func (w *cli) tenantAdd(name, orgURL string, sets []string, replace bool) error {
	c, err := w.tenantsDir()
	if err != nil {
		return err
	}
	settings, err := readSets(sets)
	if err != nil {
		return err
	}
	settings["ORG_URL"] = orgURL
	return w.editTenant(c, name, tenants.Edit{Set: settings, New: true, Replace: replace})
}

func (w *cli) editTenant(c *config, name string, edit tenants.Edit) error {
	editor, err := w.editor(c)
	if err != nil {
		return err
	}
	done, err := editor.Tenant(w.who(), name, edit)
	if err != nil {
		return asUsage(err)
	}
	fmt.Fprintf(w.stdout, "%s %s (%s). Next: dynproxy check %[1]s\n", done.Tenant.Name, changes.Action(done.Added), done.Tenant.Org)
	return nil
}

// asUsage is err, as one of the command line where a word of it is the fault.
func asUsage(err error) error {
	_, name := errors.AsType[*changes.NameError](err)
	_, listed := errors.AsType[*changes.ListedError](err)
	missing, directory := errors.AsType[*changes.NoDirectoryError](err)
	switch {
	case name, listed:
		return &usageError{err}
	case directory:
		return envfile.Faults{{Variable: missing.Setting, Cure: missing.Cure}}
	}
	return err
}

// readSets reads what --set was given.
func readSets(sets []string) (map[string]string, error) {
	settings := make(map[string]string)
	for _, set := range sets {
		name, value, ok := strings.Cut(set, "=")
		if !ok || name == "" {
			return nil, &usageError{fmt.Errorf("--set takes NAME=VALUE")}
		}
		settings[name] = value
	}
	return settings, nil
}

func (w *cli) tenantRemove(name string) error {
	c, err := w.tenantsDir()
	if err != nil {
		return err
	}
	editor, err := w.editor(c)
	if err != nil {
		return err
	}
	if err := editor.RemoveTenant(w.who(), name); err != nil {
		return asUsage(err)
	}
	fmt.Fprintf(w.stdout, "%s removed. Its administrator withdraws the app's access in the Entra admin center, under Enterprise applications.\n", name)
	return nil
}
