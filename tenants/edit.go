package tenants

import (
	"errors"
	"fmt"
	"io/fs"

	"dynproxy/internal/envfile"
)

// Add writes the file of tenant name into dir: a new one, or the one that is
// there with the given settings laid over its own. It returns the tenant, and
// whether it was there before. That a name gets another organization is refused
// unless replace is true. The file is whole at every moment; comments in one
// that was written by hand are not kept.
func Add(dir string, rules *Rules, name, orgURL string, settings map[string]string, replace bool) (t *Tenant, changed bool, err error) {
	if name, err = ValidName(name); err != nil {
		return nil, false, err
	}
	values, err := envfile.Load(dir, name)
	fresh := errors.Is(err, envfile.ErrNoFile)
	if err != nil && !fresh && !replace {
		return nil, false, fmt.Errorf("the file of %s is wrong; fix it, remove it, or use --replace: %w", name, err)
	}
	former := values["ORG_URL"]
	values = envfile.Merge(values, settings)
	values["ORG_URL"] = orgURL
	if t, err = rules.Read(name, values); err != nil {
		return nil, false, err
	}
	values["ORG_URL"] = t.Org
	if org, err := originOf(former); err == nil && org != t.Org && org != t.Alias && !replace {
		return nil, false, fmt.Errorf("%s is the tenant of %s already; choose another name, or use --replace to give it the address %s", name, org, t.Org)
	}
	if !fresh {
		return t, true, envfile.Replace(dir, name, SettingNames(), values)
	}
	err = envfile.Create(dir, name, SettingNames(), values)
	if errors.Is(err, fs.ErrExist) {
		return nil, false, fmt.Errorf("somebody else has added %s at this moment; dynproxy tenant list shows what stands: %w", name, err)
	}
	return t, false, err
}

// Remove deletes the file of a tenant. A file that is wrong can be removed too.
func Remove(dir, name string) error {
	err := envfile.Remove(dir, name)
	if errors.Is(err, envfile.ErrNoFile) {
		return fmt.Errorf("there is no tenant %q in %s", name, dir)
	}
	return err
}
