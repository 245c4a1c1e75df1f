package tenants

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"dynproxy/internal/envfile"
)

// Book holds every tenant. Readers never wait: they see one consistent state,
// which a change replaces as a whole.
type Book struct {
	rules *Rules
	fixed map[string]*Tenant // from the list; a file of that name is a fault
	dir   *envfile.Dir       // nil without a directory
	state atomic.Pointer[state]
}

type state struct {
	byName map[string]*Tenant
	byHost map[string]*Tenant
	faults map[string]error // by tenant name; "" is the directory itself
}

// A Change is one tenant that came, went, or became another. Old is nil for a
// new one, New for one that was removed. Both are nil when only Fault says
// something: the file is wrong, and the tenant stays as it was.
type Change struct {
	Name     string
	Old, New *Tenant
	Fault    error
}

// Open makes the book of the tenants in list (name to ORG_URL) and of the
// files in directory dir ("" for none). A wrong entry in list is an error; a
// wrong file is a fault of that tenant alone and told by Faults.
func Open(list map[string]string, dir string, rules *Rules) (*Book, error) {
	b := &Book{rules: rules, fixed: make(map[string]*Tenant)}
	var faults envfile.Faults
	for _, name := range slices.Sorted(maps.Keys(list)) {
		t, err := rules.Read(name, map[string]string{"ORG_URL": list[name]})
		if err != nil {
			for _, f := range err.(envfile.Faults) {
				faults.Add(fmt.Sprintf("tenant %q:", name), "%s", f)
			}
			continue
		}
		if b.fixed[t.Name] != nil {
			faults.Add(fmt.Sprintf("tenant %q:", name), "is listed twice")
		}
		b.fixed[t.Name] = t
	}
	if len(faults) > 0 {
		return nil, faults
	}
	b.state.Store(&state{byName: b.fixed, byHost: map[string]*Tenant{}, faults: map[string]error{}})
	if dir == "" {
		return b, nil
	}
	var err error
	if b.dir, err = envfile.OpenDir(dir); err != nil {
		return nil, err
	}
	files, err := b.dir.Scan()
	if err != nil {
		return nil, err
	}
	b.apply(files)
	return b, nil
}

// Lookup returns the tenant called name, in any case of letters, or nil.
func (b *Book) Lookup(name string) *Tenant {
	s := b.state.Load()
	if t := s.byName[name]; t != nil {
		return t
	}
	return s.byName[strings.ToLower(name)]
}

// ByHost returns the tenant that goes by the host name host, given without a
// port, or nil.
func (b *Book) ByHost(host string) *Tenant {
	s := b.state.Load()
	if len(s.byHost) == 0 {
		return nil
	}
	return s.byHost[strings.ToLower(host)]
}

// All yields every tenant, sorted by name.
func (b *Book) All() iter.Seq[*Tenant] {
	s := b.state.Load()
	return func(yield func(*Tenant) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.byName)) {
			if !yield(s.byName[name]) {
				return
			}
		}
	}
}

// Len returns how many tenants there are.
func (b *Book) Len() int { return len(b.state.Load().byName) }

// Faults returns what is wrong with which tenant's file; "" stands for the
// directory itself. The map must not be changed.
func (b *Book) Faults() map[string]error { return b.state.Load().faults }

// Watch keeps the book in step with its directory until ctx ends, and hands
// what changed to changed, after the book shows it.
func (b *Book) Watch(ctx context.Context, changed func([]Change)) {
	if b.dir == nil {
		return
	}
	b.dir.Watch(ctx,
		func(files []envfile.File) { changed(b.apply(files)) },
		func(err error) { changed([]Change{b.unreadable(err)}) })
}

func (b *Book) unreadable(err error) Change {
	next := b.state.Load().clone()
	next.faults[""] = err
	b.state.Store(next)
	return Change{Fault: err}
}

// apply brings files into the book and returns what that changed.
func (b *Book) apply(files []envfile.File) []Change {
	next := b.state.Load().clone()
	delete(next.faults, "")
	var changes []Change
	for _, f := range files {
		old := next.byName[f.Name]
		t, err := b.judge(next, f)
		if err != nil {
			// What is wrong only because of another tenant is looked at again, but told once.
			if known := next.faults[f.Name]; known == nil || known.Error() != err.Error() {
				changes = append(changes, Change{Name: f.Name, Fault: err})
			}
			next.faults[f.Name] = err
			continue
		}
		delete(next.faults, f.Name)
		if b.fixed[f.Name] != nil {
			continue
		}
		next.put(f.Name, old, t)
		changes = append(changes, Change{Name: f.Name, Old: old, New: t})
	}
	b.state.Store(next)
	return changes
}

// judge returns the tenant that f stands for, nil if f is gone.
func (b *Book) judge(next *state, f envfile.File) (*Tenant, error) {
	switch {
	case f.Gone:
		return nil, nil
	case b.fixed[f.Name] != nil:
		return nil, fmt.Errorf("the name is taken by DYNPROXY_TENANTS; remove it there or remove the file")
	case f.Err != nil:
		return nil, f.Err
	}
	t, err := b.rules.Read(f.Name, f.Values)
	if err != nil {
		return nil, err
	}
	for _, host := range t.Hosts {
		if holder := next.byHost[host]; holder != nil && holder.Name != t.Name {
			b.dir.Forget(f.Name)
			return nil, envfile.Faults{{Variable: "HOSTS", Cure: fmt.Sprintf("%s already leads to tenant %s", host, holder.Name)}}
		}
	}
	return t, nil
}

func (s *state) clone() *state {
	return &state{byName: maps.Clone(s.byName), byHost: maps.Clone(s.byHost), faults: maps.Clone(s.faults)}
}

// put replaces the tenant old by t; either may be nil.
func (s *state) put(name string, old, t *Tenant) {
	if old != nil {
		delete(s.byName, name)
		for _, host := range old.Hosts {
			delete(s.byHost, host)
		}
	}
	if t == nil {
		return
	}
	s.byName[name] = t
	for _, host := range t.Hosts {
		s.byHost[host] = t
	}
}
