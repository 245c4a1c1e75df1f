package tenants

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"dynproxy/internal/envfile"
)

// An Edit is what is done to the file of one tenant.
type Edit struct {
	Set     map[string]string // the settings that get a value; an empty one removes the setting
	Whole   bool              // whether settings that Set does not name are removed
	New     bool              // whether the tenant need not be there yet
	Replace bool              // whether the name may get another organization, and a wrong file be written over
	// Taken, if set, returns why others have what the tenant would claim.
	Taken func(*Tenant) error
}

// Written is what came of an Edit: the tenant, and the settings of its file
// before and after, secrets redacted.
type Written struct {
	Tenant        *Tenant
	Before, After map[string]string
	Added         bool
}

// UnknownError is for a name that no file of the directory holds, which may be
// a copy of what lies in Redis.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("there is no tenant %q; 'dynproxy tenant list' names them", e.Name)
}

// TakenError is for a name that stands for something which the Edit may not
// replace.
type TakenError struct{ message string }

func (e *TakenError) Error() string { return e.message }

// Apply carries out e on the file of tenant name in dir. The file is whole at
// every moment; comments in one that was written by hand are not kept. Errors
// about settings are envfile.Faults.
func Apply(dir string, rules *Rules, name string, e Edit) (w *Written, err error) {
	if name, err = ValidName(name); err != nil {
		return nil, err
	}
	err = envfile.Exclusive(dir, func() error {
		w, err = e.apply(dir, rules, name)
		return err
	})
	return w, err
}

func (e Edit) apply(dir string, rules *Rules, name string) (*Written, error) {
	before, err := envfile.Load(dir, name)
	fresh := errors.Is(err, envfile.ErrNoFile)
	switch {
	case fresh && !e.New:
		return nil, &UnknownError{name}
	case errors.Is(err, fs.ErrPermission): // nothing is known of what it holds
		return nil, err
	case err != nil && !fresh && !e.Replace:
		return nil, &TakenError{fmt.Sprintf("the file of %s is wrong; fix it, remove it, or replace it (--replace, ?replace=true): %s", name, strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	values := make(map[string]string)
	if !e.Whole {
		maps.Copy(values, before)
	}
	maps.Copy(values, e.Set)
	maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
	t, err := rules.Read(name, values)
	if err != nil {
		return nil, err
	}
	values["ORG_URL"] = t.Org
	if org, err := originOf(before["ORG_URL"]); err == nil && org != t.Org && org != t.Alias && !e.Replace {
		return nil, &TakenError{fmt.Sprintf("%s is the tenant of %s already; choose another name, or replace its address by %s (--replace, ?replace=true)", name, org, t.Org)}
	}
	if e.Taken != nil {
		if err := e.Taken(t); err != nil {
			return nil, err
		}
	}
	w := &Written{Tenant: t, Before: Redacted(before), After: Redacted(values), Added: fresh}
	if !fresh {
		return w, envfile.Replace(dir, name, SettingNames(), values)
	}
	err = envfile.Create(dir, name, SettingNames(), values)
	if errors.Is(err, fs.ErrExist) {
		return nil, &TakenError{fmt.Sprintf("somebody else has added %s at this moment; dynproxy tenant list shows what stands", name)}
	}
	return w, err
}

// Remove deletes the file of a tenant and returns what it held, secrets
// redacted. A file that is wrong can be removed too.
func Remove(dir, name string) (before map[string]string, err error) {
	err = envfile.Exclusive(dir, func() error {
		before, _ = envfile.Load(dir, name)
		return envfile.Remove(dir, name)
	})
	if errors.Is(err, envfile.ErrNoFile) {
		return nil, &UnknownError{name}
	}
	return Redacted(before), err
}

// Redacted returns the settings of a file with its secrets as "[redacted]".
func Redacted(values map[string]string) map[string]string {
	return envfile.Redacted[settings](values)
}

// A Setting is one of a tenant in force: its value, redacted if it is secret,
// and where it comes from.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// Settings are those that t has by r, in the order in which they are written.
// file is what its own are said to come from.
func (r *Rules) Settings(t *Tenant, file string) []Setting {
	own, common, builtIn := t.Given(), Redacted(r.Defaults), envfile.Defaults[settings]()
	builtIn["PATHS"] = strings.Join(defaultPaths, ",")
	var all []Setting
	for _, name := range SettingNames() {
		switch {
		case own[name] != "":
			all = append(all, Setting{name, own[name], file})
		case common[name] != "":
			all = append(all, Setting{name, common[name], "DYNPROXY_TENANT_" + name})
		case name == "LOGIN_HOST" && t.LoginHost != "":
			all = append(all, Setting{name, t.LoginHost, "the organization's cloud"})
		case builtIn[name] != "":
			all = append(all, Setting{name, builtIn[name], "default"})
		}
	}
	return all
}

// Given returns the settings that t's own file, or list, gives; secrets
// redacted.
func (t *Tenant) Given() map[string]string {
	values := make(map[string]string)
	for pair := range slices.Chunk(t.given, 2) {
		values[pair[0]] = pair[1]
	}
	return Redacted(values)
}
