package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

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
		&cobra.Command{
			Use: "list", Short: "List the tenants, and what is wrong with whose file",
			RunE: func(*cobra.Command, []string) error { return w.tenantList() },
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Remove a tenant", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error { return w.tenantRemove(args[0]) },
		})
	return c
}

// tenantRules reads the settings that tenants are held to. The registration is
// not needed to edit the directory.
func (w *cli) tenantRules() (*config, error) {
	environ, err := w.environment()
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

func (w *cli) tenantsDir() (*config, error) {
	c, err := w.tenantRules()
	if err != nil {
		return nil, err
	}
	if c.TenantsDir == "" {
		return nil, envfile.Faults{{Variable: prefix + "TENANTS_DIR", Cure: "is missing: the directory that holds one file a tenant"}}
	}
	return c, nil
}

func (w *cli) tenantAdd(name, orgURL string, sets []string, replace bool) error {
	c, err := w.tenantsDir()
	if err != nil {
		return err
	}
	name, err = tenants.ValidName(name)
	if err != nil {
		return &usageError{err}
	}
	if _, listed := c.list[name]; listed {
		return &usageError{fmt.Errorf("%s is listed in %sTENANTS; change it there", name, prefix)}
	}
	settings, err := readSets(sets)
	if err != nil {
		return err
	}
	t, changed, err := tenants.Add(c.TenantsDir, c.rules, name, orgURL, settings, replace)
	if err != nil {
		return err
	}
	verb := "added"
	if changed {
		verb = "changed"
	}
	fmt.Fprintf(w.stdout, "%s %s (%s). Next: dynproxy check %s\n", name, verb, t.Org, name)
	return nil
}

// readSets reads what --set was given.
func readSets(sets []string) (map[string]string, error) {
	settings := make(map[string]string)
	for _, set := range sets {
		name, value, ok := strings.Cut(set, "=")
		if !ok {
			return nil, &usageError{fmt.Errorf("--set takes NAME=VALUE")}
		}
		settings[name] = value
	}
	return settings, nil
}

func (w *cli) tenantList() error {
	c, err := w.tenantRules()
	if err != nil {
		return err
	}
	book, err := tenants.Open(c.list, c.TenantsDir, c.rules)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for t := range book.All() {
		fmt.Fprintf(table, "%s\t%s\n", t.Name, t.Org)
	}
	table.Flush()
	faults := book.Faults()
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(w.stderr, "dynproxy: %s: %s\n", name, strings.ReplaceAll(faults[name].Error(), "\n", "; "))
	}
	if len(faults) > 0 {
		return errNotWell
	}
	return nil
}

func (w *cli) tenantRemove(name string) error {
	c, err := w.tenantsDir()
	if err != nil {
		return err
	}
	if _, listed := c.list[strings.ToLower(name)]; listed {
		return &usageError{fmt.Errorf("%s is listed in %sTENANTS; remove it there", name, prefix)}
	}
	if err := tenants.Remove(c.TenantsDir, name); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s removed. Its administrator withdraws the app's access in the Entra admin center, under Enterprise applications.\n", name)
	return nil
}
