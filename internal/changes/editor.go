// Package changes is what commands and HTTP do to tenants and callers: one set
// of checks, one record of who did it.
package changes

import (
	"cmp"
	"fmt"
	"sync"

	"dynproxy/internal/audit"
	"dynproxy/internal/callers"
	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

// What is changed.
const (
	Tenant = "tenant"
	Caller = "caller"
)

// Who makes a change, and from where.
type Who struct{ By, Via, From string }

// Editor changes the files of tenants and callers. Its fields are set before
// its first use; it may be used by several goroutines.
type Editor struct {
	TenantsDir string // "" where tenants are only listed
	Rules      func() *tenants.Rules
	Listed     func(name string) bool // whether TENANTS has the tenant
	Tenants    func() (*tenants.Book, error)

	CallersDir string // "" where there are no callers
	Callers    func() (*callers.Book, error)

	Audit *audit.Log
	// Shared, if set, is where several proxies have their files: each change of
	// ours goes through it.
	Shared Shared
	// Changed, if set, is told what was written or removed, before it is recorded.
	Changed func(kind, name string)
	// Unrecorded is told why a change could not be recorded. It stands.
	Unrecorded func(error)

	mu sync.Mutex // held while a file is read, changed and written
}

// Shared is where several proxies have their files.
type Shared interface {
	// Change carries out what change does to the file of a tenant or caller for
	// all, or not at all: then the error is change's own, or an *AwayError.
	Change(kind, name string, change func() error) error
}

// AwayError says that files which proxies have in common cannot be changed now.
type AwayError struct{ Err error }

func (e *AwayError) Error() string {
	return "tenants and callers lie in Redis, and nothing can be changed now: " + e.Err.Error()
}

func (e *AwayError) Unwrap() error { return e.Err }

// carry has change done, here or for all.
func (e *Editor) carry(kind, name string, change func() error) error {
	if e.Shared == nil {
		return change()
	}
	return e.Shared.Change(kind, name, change)
}

// NoDirectoryError is for a kind of file without a directory to be in.
type NoDirectoryError struct{ Setting, Cure string }

func (e *NoDirectoryError) Error() string { return e.Setting + " " + e.Cure }

// CheckDir returns why dir cannot be where the files of a kind are, as a
// *NoDirectoryError.
func CheckDir(kind, dir string) error {
	setting := map[string]string{Tenant: "DYNPROXY_TENANTS_DIR", Caller: "DYNPROXY_CALLERS_DIR"}[kind]
	if dir == "" {
		return &NoDirectoryError{setting, "is missing: the directory that holds one file a " + kind}
	}
	if err := envfile.CheckDir(dir); err != nil {
		return &NoDirectoryError{setting, fmt.Sprintf("cannot be used: %v", err)}
	}
	return nil
}

// ListedError is for a tenant whom TENANTS lists.
type ListedError struct{ Name string }

func (e *ListedError) Error() string {
	return e.Name + " is listed in DYNPROXY_TENANTS; change it there"
}

// Tenant carries out edit on the file of the tenant called name.
func (e *Editor) Tenant(who Who, name string, edit tenants.Edit) (*tenants.Written, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name, err := e.tenantName(name)
	if err != nil {
		return nil, err
	}
	edit.Taken = func(t *tenants.Tenant) error {
		if len(t.Hosts) == 0 {
			return nil
		}
		book, err := e.Tenants()
		if err != nil {
			return err
		}
		return book.Taken(name, t)
	}
	var w *tenants.Written
	err = e.carry(Tenant, name, func() (err error) {
		w, err = tenants.Apply(e.TenantsDir, e.Rules(), name, edit)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.written(who, Tenant, name, w.Added, "", w.Before, w.After)
	return w, nil
}

// RemoveTenant removes the file of the tenant called name.
func (e *Editor) RemoveTenant(who Who, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	name, err := e.tenantName(name)
	if err != nil {
		return err
	}
	var before map[string]string
	err = e.carry(Tenant, name, func() (err error) {
		before, err = tenants.Remove(e.TenantsDir, name)
		return err
	})
	if err != nil {
		return err
	}
	e.written(who, Tenant, name, false, "removed", before, nil)
	return nil
}

func (e *Editor) tenantName(name string) (string, error) {
	if err := CheckDir(Tenant, e.TenantsDir); err != nil {
		return "", err
	}
	lower, err := tenants.ValidName(name)
	if err == nil {
		err = envfile.CheckName(lower)
	}
	if err != nil {
		return "", &NameError{err}
	}
	if e.Listed(lower) {
		return "", &ListedError{lower}
	}
	return lower, nil
}

// NameError is for a name that cannot be one.
type NameError struct{ error }

// Caller carries out edit on the file of the caller called name.
func (e *Editor) Caller(who Who, name string, edit callers.Edit) (*callers.Written, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name, err := e.callerName(name)
	if err != nil {
		return nil, err
	}
	edit.Taken = func(c *callers.Caller) error {
		book, err := e.Callers()
		if err != nil {
			return err
		}
		return book.Taken(name, c)
	}
	var w *callers.Written
	err = e.carry(Caller, name, func() (err error) {
		w, err = callers.Apply(e.CallersDir, name, edit)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.written(who, Caller, name, w.Added, "", w.Before, w.After)
	return w, nil
}

// Rotate takes one of the two steps of changing a caller's key: see
// callers.Rotate.
func (e *Editor) Rotate(who Who, name string) (*callers.Written, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name, err := e.callerName(name)
	if err != nil {
		return nil, err
	}
	var w *callers.Written
	err = e.carry(Caller, name, func() (err error) {
		w, err = callers.Rotate(e.CallersDir, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.written(who, Caller, name, false, "rotated", w.Before, w.After)
	return w, nil
}

// RemoveCaller removes the file of the caller called name.
func (e *Editor) RemoveCaller(who Who, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	name, err := e.callerName(name)
	if err != nil {
		return err
	}
	var before map[string]string
	err = e.carry(Caller, name, func() (err error) {
		before, err = callers.Remove(e.CallersDir, name)
		return err
	})
	if err != nil {
		return err
	}
	e.written(who, Caller, name, false, "removed", before, nil)
	return nil
}

func (e *Editor) callerName(name string) (string, error) {
	if err := CheckDir(Caller, e.CallersDir); err != nil {
		return "", err
	}
	lower, err := callers.ValidName(name)
	if err == nil {
		err = envfile.CheckName(lower)
	}
	if err != nil {
		return "", &NameError{err}
	}
	return lower, nil
}

// written tells of what was done to a file.
func (e *Editor) written(who Who, kind, name string, added bool, action string, before, after map[string]string) {
	dir := e.TenantsDir
	if kind == Caller {
		dir = e.CallersDir
	}
	entry := audit.Entry{
		By: who.By, Via: who.Via, From: who.From, Kind: kind, Name: name,
		Action: cmp.Or(action, Action(added)), Before: before, After: after,
		Stamp: cmp.Or(envfile.Stamp(dir, name), audit.Gone),
	}
	if e.Changed != nil {
		e.Changed(kind, name)
	}
	if err := e.Audit.Record(entry.Differing(envfile.Hidden)); err != nil {
		e.Unrecorded(err)
	}
}

// Action is the word for a change that removes nothing.
func Action(added bool) string {
	if added {
		return "added"
	}
	return "changed"
}
