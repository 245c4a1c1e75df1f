package envfile

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	leastPoll = 500 * time.Millisecond // for mounts that send no events
	// A look may take no more than one part in lookShare of the time, one for
	// want of events no more than one in pollShare. But on a busy machine, where a
	// look takes long, no removal waits for longer than longestBlind before it.
	lookShare    = 10
	pollShare    = 100
	longestBlind = 500 * time.Millisecond
	// batch is how many files are read before it is looked for removals again.
	batch = 500
)

// Spec says what the entries of a Registry are.
type Spec[T any] struct {
	Kind string // what one is called in messages: "tenant"

	// Read makes an entry of the values of its file.
	Read func(name string, values map[string]string) (*T, error)
	// Claims returns what belongs to an entry alone; two cannot hold the same.
	Claims func(*T) []Claim
	// Replaced, if set, lets an entry take over what its predecessor had.
	Replaced func(old, entry *T)

	Fixed   map[string]*T // entries by lower-case name that no file may change
	FixedBy string        // the setting that they come from
}

// A Claim is something that only one entry can have.
type Claim struct {
	Key      string // tells it from others
	Variable string // where the file names it
	Text     string // what it is called in messages, or ""
}

// Registry holds the entries that the <name>.env files of a directory stand
// for, and fixed ones. Readers never wait: they see one consistent state,
// which a change replaces as a whole.
type Registry[T any] struct {
	spec  Spec[T]
	state atomic.Pointer[state[T]]

	mu      sync.Mutex    // of who brings files in; guards what follows
	dir     *dir          // nil without a directory
	waiting map[string]*T // read, and without effect while another holds what they claim
}

type state[T any] struct {
	names   []string // sorted
	byName  map[string]*T
	byClaim map[string]holding[T]
	faults  map[string]error
	broken  error // the directory cannot be read
}

type holding[T any] struct {
	name  string
	entry *T
}

// A Change is one entry that came, went, or became another. Old is nil for a
// new one, New for one that was removed. Both are nil when only Fault says
// something: the file is wrong, and the entry stays as it was.
type Change[T any] struct {
	Name     string
	Old, New *T
	Fault    error
}

// OpenRegistry reads the directory at path; "" is a registry of fixed entries
// alone. A wrong file is no error but a fault, told by Faults.
func OpenRegistry[T any](path string, spec Spec[T]) (*Registry[T], error) {
	r := &Registry[T]{spec: spec, waiting: make(map[string]*T)}
	first := &state[T]{byName: make(map[string]*T), byClaim: make(map[string]holding[T]), faults: make(map[string]error)}
	for name, entry := range spec.Fixed {
		first.hold(name, entry, spec.Claims)
	}
	first.sort()
	r.state.Store(first)
	if path == "" {
		return r, nil
	}
	var err error
	if r.dir, err = newDir(path); err != nil {
		return nil, err
	}
	now := time.Now()
	void, err := r.dir.look(now)
	if err == nil && r.dir.young(settleAtOpen) {
		time.Sleep(settleAtOpen)
		var more []file
		more, err = r.dir.look(now.Add(settleAtOpen))
		void = append(void, more...)
	}
	if err != nil {
		return nil, err
	}
	files, _ := r.dir.settled(now, 0, len(r.dir.files))
	r.apply(append(void, files...))
	return r, nil
}

// Lookup returns the entry called name, in any case of letters, or nil.
func (r *Registry[T]) Lookup(name string) *T {
	s := r.state.Load()
	if entry := s.byName[name]; entry != nil {
		return entry
	}
	return s.byName[strings.ToLower(name)]
}

// Canonical returns how the entry is called here, or the file with a fault, that
// is called name in any case of letters. Of the latter some are told apart by it.
func (r *Registry[T]) Canonical(name string) string {
	if r.Faults()[name] != nil {
		return name
	}
	return strings.ToLower(name)
}

// Holder returns the entry that holds the claim of that key, or nil.
func (r *Registry[T]) Holder(key string) *T { return r.state.Load().byClaim[key].entry }

// All yields every entry, sorted by name.
func (r *Registry[T]) All() iter.Seq[*T] {
	s := r.state.Load()
	return func(yield func(*T) bool) {
		for _, name := range s.names {
			if !yield(s.byName[name]) {
				return
			}
		}
	}
}

// Len returns how many entries there are.
func (r *Registry[T]) Len() int { return len(r.state.Load().byName) }

// Faults returns what is wrong with which file: by the name of its entry, or
// the whole name of a file that stands for none. The map must not be changed.
func (r *Registry[T]) Faults() map[string]error { return r.state.Load().faults }

// DirectoryFault returns why the directory cannot be read, nil while it can or
// when there is none.
func (r *Registry[T]) DirectoryFault() error { return r.state.Load().broken }

// Configured reports whether there is a directory, be it empty or unreadable.
func (r *Registry[T]) Configured() bool { return r.dir != nil }

// Watch keeps the registry in step with its directory until ctx ends. What
// changed goes to changed, after the registry shows it; removals come first.
// When the directory cannot be read, directory is told once, and then nil when
// it can be read again.
func (r *Registry[T]) Watch(ctx context.Context, changed func([]Change[T]), directory func(error)) {
	if r.dir == nil {
		return
	}
	n := newNotifier(r.dir.path)
	defer n.close()
	var looked time.Time
	var cost time.Duration
	pause := time.Duration(0)
	for n.wait(ctx, pause) {
		now := time.Now()
		pause = looked.Add(rested(cost)).Sub(now)
		if pause <= 0 {
			n.follow()
			gone, err := r.look(now)
			looked, cost = now, time.Since(now)
			pause = max(leastPoll, pollShare*cost)
			r.tellDirectory(err, directory)
			tell(gone, changed)
		}
		changes, again := r.take(now)
		tell(changes, changed)
		if again >= 0 {
			pause = min(pause, again)
		}
	}
}

// rested is how long after a look of that cost the next may come.
func rested(cost time.Duration) time.Duration { return min(lookShare*cost, longestBlind) }

// look brings in what is gone.
func (r *Registry[T]) look(now time.Time) ([]Change[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone, err := r.dir.look(now)
	return r.apply(gone), err
}

// take brings in some of what has settled, and says when to come again.
func (r *Registry[T]) take(now time.Time) ([]Change[T], time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	files, again := r.dir.settled(now, settle, batch)
	return r.apply(files), again
}

func tell[T any](changes []Change[T], changed func([]Change[T])) {
	if len(changes) > 0 {
		changed(changes)
	}
}

func (r *Registry[T]) tellDirectory(err error, directory func(error)) {
	r.mu.Lock()
	next := *r.state.Load()
	news := (err == nil) != (next.broken == nil)
	next.broken = err
	r.state.Store(&next)
	r.mu.Unlock()
	if news {
		directory(err)
	}
}

// apply brings files into the registry and returns what that changed.
func (r *Registry[T]) apply(files []file) []Change[T] {
	if len(files) == 0 {
		return nil
	}
	next := r.state.Load().clone()
	changes := r.bring(next, files)
	r.state.Store(next)
	return changes
}

// bring is apply for a state that nobody sees yet.
func (r *Registry[T]) bring(next *state[T], files []file) []Change[T] {
	var changes []Change[T]
	fault := func(name string, err error) {
		if known := next.faults[name]; known == nil || known.Error() != err.Error() {
			changes = append(changes, Change[T]{Name: name, Fault: err})
		}
		next.faults[name] = err
	}
	for _, f := range files {
		delete(r.waiting, f.name)
		entry, err := r.judge(f)
		switch {
		case err != nil:
			fault(f.name, err)
		case entry != nil:
			r.waiting[f.name] = entry
		default:
			delete(next.faults, f.name)
			if old := next.byName[f.name]; old != nil && r.spec.Fixed[f.name] == nil {
				next.release(f.name, old, r.spec.Claims)
				delete(next.byName, f.name)
				changes = append(changes, Change[T]{Name: f.name, Old: old})
			}
			if f.err != nil {
				fault(f.name, f.err)
			}
		}
	}
	free, taken := next.free(r.waiting, r.spec)
	for _, name := range slices.Sorted(maps.Keys(taken)) {
		fault(name, taken[name])
	}
	changes = append(changes, r.admit(next, free)...)
	next.sort()
	return changes
}

// judge returns the entry that f stands for, nil if f is gone.
func (r *Registry[T]) judge(f file) (*T, error) {
	switch {
	case f.gone:
		return nil, nil
	case r.spec.Fixed[f.name] != nil:
		return nil, fmt.Errorf("the name is taken by %s; remove it there or remove the file", r.spec.FixedBy)
	case f.err != nil:
		return nil, f.err
	}
	return r.spec.Read(f.name, f.values)
}

// admit gives those that wait, and are called names, their effect.
func (r *Registry[T]) admit(next *state[T], names []string) []Change[T] {
	var changes []Change[T]
	for _, name := range names {
		old := next.byName[name]
		if old != nil && reflect.DeepEqual(old, r.waiting[name]) {
			// Whoever holds it goes on with it: nothing about it is new.
			delete(next.faults, name)
			delete(r.waiting, name)
			continue
		}
		changes = append(changes, Change[T]{Name: name, Old: old, New: r.waiting[name]})
		if old != nil {
			next.release(name, old, r.spec.Claims)
		}
	}
	for _, c := range changes {
		if c.Old != nil && r.spec.Replaced != nil {
			r.spec.Replaced(c.Old, c.New)
		}
		next.hold(c.Name, c.New, r.spec.Claims)
		delete(next.faults, c.Name)
		delete(r.waiting, c.Name)
	}
	return changes
}

// free returns which of those that wait can have what they claim, all at once,
// so that claims can be handed on and exchanged in any order; and of the rest
// what is taken.
func (s *state[T]) free(waiting map[string]*T, spec Spec[T]) (names []string, taken map[string]error) {
	names = slices.Sorted(maps.Keys(waiting))
	taken = make(map[string]error)
	for before := -1; before != len(names); {
		before = len(names)
		owners := make(map[string]string)
		names = slices.DeleteFunc(names, func(name string) bool {
			claims := spec.Claims(waiting[name])
			for _, c := range claims {
				if owner := s.owner(c.Key, owners, waiting, taken, spec); owner != "" && owner != name {
					taken[name] = claimed(c, spec.Kind, owner)
					return true
				}
			}
			for _, c := range claims {
				owners[c.Key] = name
			}
			return false
		})
	}
	return names, taken
}

// owner returns who has a claim if all get what they claim that wait and are
// not in taken; "" for nobody.
func (s *state[T]) owner(key string, owners map[string]string, waiting map[string]*T, taken map[string]error, spec Spec[T]) string {
	if owner := owners[key]; owner != "" {
		return owner
	}
	holder := s.byClaim[key].name
	entry := waiting[holder]
	if entry == nil || taken[holder] != nil {
		return holder
	}
	if slices.ContainsFunc(spec.Claims(entry), func(c Claim) bool { return c.Key == key }) {
		return holder
	}
	return ""
}

func (s *state[T]) clone() *state[T] {
	return &state[T]{byName: maps.Clone(s.byName), byClaim: maps.Clone(s.byClaim), faults: maps.Clone(s.faults), broken: s.broken}
}

func (s *state[T]) sort() { s.names = slices.Sorted(maps.Keys(s.byName)) }

func (s *state[T]) hold(name string, entry *T, claims func(*T) []Claim) {
	s.byName[name] = entry
	for _, c := range claims(entry) {
		s.byClaim[c.Key] = holding[T]{name, entry}
	}
}

func (s *state[T]) release(name string, entry *T, claims func(*T) []Claim) {
	for _, c := range claims(entry) {
		if s.byClaim[c.Key].name == name {
			delete(s.byClaim, c.Key)
		}
	}
}
