package callers

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"dynproxy/internal/envfile"
)

// Book holds every caller. Readers never wait: they see one consistent state,
// which a change replaces as a whole.
type Book struct {
	// Negotiate checks an Authorization header of the scheme Negotiate and
	// returns the Kerberos principal and what to answer with. It is set before
	// the first call of Identify, and nil without a keytab.
	Negotiate func(authorization string) (principal, reply string, err error)

	dir      *envfile.Dir            // nil without a directory
	waiting  map[string]envfile.File // by name; for the one goroutine that applies files
	state    atomic.Pointer[state]
	failures failures
}

// state maps each claim, the text form of one proof, to the only caller it
// proves: see Caller.claims.
type state struct {
	byName    map[string]*Caller
	byClaim   map[string]*Caller
	byAddress []*Caller        // those known by their address alone
	faults    map[string]error // by caller name; "" is the directory itself
}

// A Change is one caller that came, went, or became another. Old is nil for a
// new one, New for one that was removed. Both are nil when only Fault says
// something: the file is wrong, and the caller stays as it was.
type Change struct {
	Name     string
	Old, New *Caller
	Fault    error
}

// Open makes the book of the files in directory dir; "" is a book without
// callers. A wrong file is a fault of that caller alone and told by Faults.
func Open(dir string) (*Book, error) {
	b := &Book{waiting: make(map[string]envfile.File)}
	b.state.Store(&state{faults: map[string]error{}})
	if dir == "" {
		return b, nil
	}
	var err error
	if b.dir, err = envfile.OpenDir(dir); err != nil {
		return nil, fmt.Errorf("open callers directory: %w", err)
	}
	files, err := b.dir.Scan()
	if err != nil {
		return nil, fmt.Errorf("read callers directory: %w", err)
	}
	b.apply(files)
	return b, nil
}

// Configured reports whether callers must be known. It is true also for a
// directory that is empty or wrong in every file: nobody is let in for that.
func (b *Book) Configured() bool { return b.dir != nil }

// Lookup returns the caller called name, in any case of letters, or nil.
func (b *Book) Lookup(name string) *Caller { return b.state.Load().byName[strings.ToLower(name)] }

// All yields every caller, sorted by name.
func (b *Book) All() iter.Seq[*Caller] {
	s := b.state.Load()
	return func(yield func(*Caller) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.byName)) {
			if !yield(s.byName[name]) {
				return
			}
		}
	}
}

// Faults returns what is wrong with which caller's file; "" stands for the
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

// apply brings files into the book and returns what that changed. A file that
// claims what another caller holds waits, and is tried again whenever a caller
// changed: a claim may pass from one file to another in any order.
func (b *Book) apply(files []envfile.File) []Change {
	next := b.state.Load().clone()
	delete(next.faults, "")
	for _, f := range files {
		delete(b.waiting, f.Name)
	}
	var changes []Change
	for again := true; again; files = slices.Collect(maps.Values(b.waiting)) {
		again = false
		slices.SortFunc(files, func(x, y envfile.File) int { return strings.Compare(x.Name, y.Name) })
		for _, f := range files {
			change, told := b.take(next, f)
			again = again || told && change.Fault == nil
			if told {
				changes = append(changes, change)
			}
		}
	}
	b.state.Store(next)
	return changes
}

// take brings one file into next, and reports whether that is to be told.
func (b *Book) take(next *state, f envfile.File) (change Change, told bool) {
	old := next.byName[f.Name]
	c, err := b.judge(next, f)
	if err != nil {
		known := next.faults[f.Name]
		next.faults[f.Name] = err
		return Change{Name: f.Name, Fault: err}, known == nil || known.Error() != err.Error()
	}
	delete(b.waiting, f.Name)
	delete(next.faults, f.Name)
	next.put(f.Name, old, c)
	return Change{Name: f.Name, Old: old, New: c}, old != nil || c != nil
}

// judge returns the caller that f stands for, nil if f is gone.
func (b *Book) judge(next *state, f envfile.File) (*Caller, error) {
	switch {
	case f.Gone:
		return nil, nil
	case f.Err != nil:
		return nil, f.Err
	}
	c, err := Read(f.Name, f.Values)
	if err != nil {
		return nil, err
	}
	claims := c.claims()
	for _, claim := range slices.Sorted(maps.Keys(claims)) {
		if holder := next.byClaim[claim]; holder != nil && holder.Name != c.Name {
			b.waiting[f.Name] = f
			return nil, envfile.Faults{{Variable: claims[claim], Cure: "already stands for caller " + holder.Name}}
		}
	}
	return c, nil
}

// claims returns what proves c, each with the variable it comes from. No two
// callers may have one in common.
func (c *Caller) claims() map[string]string {
	claims := make(map[string]string)
	for i, hash := range c.keys {
		claims[keyClaim(hash)] = []string{"KEY_SHA256", "KEY_SHA256_NEXT"}[i]
	}
	if c.Certificate != "" {
		claims[certificateClaim(c.Certificate)] = "CERTIFICATE"
	}
	for principal := range c.Principals {
		claims[principalClaim(principal)] = "PRINCIPALS"
	}
	if c.byAddress() {
		for _, cidr := range c.CIDRs {
			claims["cidr "+cidr.String()] = "CIDRS"
		}
	}
	return claims
}

func keyClaim(hash string) string         { return "key " + hash }
func certificateClaim(name string) string { return "certificate " + name }
func principalClaim(name string) string   { return "principal " + strings.ToLower(name) }

func (s *state) clone() *state {
	next := &state{byName: maps.Clone(s.byName), byClaim: maps.Clone(s.byClaim), byAddress: slices.Clone(s.byAddress), faults: maps.Clone(s.faults)}
	if next.byName == nil {
		next.byName, next.byClaim = make(map[string]*Caller), make(map[string]*Caller)
	}
	return next
}

// put replaces the caller old by c; either may be nil. A caller whose rate is
// the same keeps what it has used of it.
func (s *state) put(name string, old, c *Caller) {
	if old != nil {
		delete(s.byName, name)
		for claim := range old.claims() {
			delete(s.byClaim, claim)
		}
		s.byAddress = slices.DeleteFunc(s.byAddress, func(other *Caller) bool { return other == old })
	}
	if c == nil {
		return
	}
	if old != nil && old.Rate == c.Rate && old.Burst == c.Burst {
		c.limiter = old.limiter
	}
	s.byName[name] = c
	for claim := range c.claims() {
		s.byClaim[claim] = c
	}
	if c.byAddress() {
		s.byAddress = append(s.byAddress, c)
	}
}

// at returns the caller that is known by addr alone, the one with the
// narrowest network if there are several, or nil.
func (s *state) at(addr netip.Addr) *Caller {
	var found *Caller
	narrowest := -1
	for _, c := range s.byAddress {
		if bits := c.prefix(addr); bits > narrowest {
			found, narrowest = c, bits
		}
	}
	return found
}
