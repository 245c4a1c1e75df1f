package envfile

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Refresh reads at once all that has changed, without waiting for files to
// settle: it is for who knows that nobody is writing.
func (r *Registry[T]) Refresh() ([]Change[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	gone, err := r.dir.look(now)
	if err != nil {
		return nil, err
	}
	changed, _ := r.dir.settled(now, 0, len(r.dir.files))
	return r.apply(append(gone, changed...)), nil
}

// Renew puts other rules in force: read in place of Spec.Read, and fixed in
// place of Spec.Fixed. Every file that counts is read again by them; one that
// is being written counts when it has settled, as ever. It returns what that
// changed: an entry that comes to the same stays the one it is.
func (r *Registry[T]) Renew(read func(name string, values map[string]string) (*T, error), fixed map[string]*T) []Change[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	former := r.spec.Fixed
	r.spec.Read, r.spec.Fixed = read, fixed
	var files []file
	if r.dir != nil {
		now := time.Now()
		r.dir.again(now)
		files, _ = r.dir.settled(now, settle, len(r.dir.files))
	}
	next := r.state.Load().clone() // one state for all of it: nobody is gone in between
	changes := append(r.fix(next, former), r.bring(next, files)...)
	r.state.Store(next)
	return changes
}

// fix puts the entries of Spec.Fixed in the place of former ones.
func (r *Registry[T]) fix(next *state[T], former map[string]*T) []Change[T] {
	var changes []Change[T]
	for _, name := range slices.Sorted(maps.Keys(former)) {
		if r.spec.Fixed[name] == nil {
			next.release(name, former[name], r.spec.Claims)
			delete(next.byName, name)
			changes = append(changes, Change[T]{Name: name, Old: former[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.spec.Fixed)) {
		old, entry := next.byName[name], r.spec.Fixed[name]
		if old != nil && reflect.DeepEqual(old, entry) {
			r.spec.Fixed[name] = old
			continue
		}
		if old != nil {
			next.release(name, old, r.spec.Claims)
		}
		delete(r.waiting, name)
		next.hold(name, entry, r.spec.Claims)
		changes = append(changes, Change[T]{Name: name, Old: old, New: entry})
	}
	return changes
}

// Take reads the file of one entry at once, without waiting for it to settle:
// it is for who has just written it whole.
func (r *Registry[T]) Take(name string) ([]Change[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	gone, err := r.dir.look(now)
	if err != nil {
		return nil, err
	}
	files := gone
	if t := r.dir.files[name]; t != nil && t.due {
		if f, is := r.dir.report(name, t, now); is {
			files = append(files, f)
		}
	}
	return r.apply(files), nil
}

// Taken returns, as Faults, what entry would claim as name that another has.
func (r *Registry[T]) Taken(name string, entry *T) error {
	s := r.state.Load()
	for _, c := range r.spec.Claims(entry) {
		if holder := s.byClaim[c.Key].name; holder != "" && holder != name {
			return claimed(c, r.spec.Kind, holder)
		}
	}
	return nil
}

func claimed(c Claim, kind, holder string) Faults {
	return Faults{{c.Variable, strings.TrimSpace(c.Text + " already belongs to " + kind + " " + holder)}}
}
