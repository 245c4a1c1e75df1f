package callers

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"dynproxy/internal/envfile"
)

const (
	keyLength  = 43  // of those made here: 256 bits in base64url without padding
	longestKey = 512 // of those that an operator brings along as a hash
)

// newKey returns a new key of 256 random bits, and its SHA-256 in hex. Only
// the hash is kept: a key that random cannot be found from it, so it needs
// neither salt nor stretching.
func newKey() (key, hash string) {
	var random [32]byte
	rand.Read(random[:])
	key = base64.RawURLEncoding.EncodeToString(random[:])
	return key, hashKey(key)
}

func hashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// An Edit is what is done to the file of one caller.
type Edit struct {
	Set   map[string]string // the settings that get a value; an empty one removes the setting
	Whole bool              // whether settings that Set does not name are removed; keys stay
	New   bool              // whether the caller need not be there yet: it gets a key then
	Fresh bool              // whether it must not be there yet
	NoKey bool              // whether a new caller gets no key: something else proves it
	// Taken, if set, returns why others have what the caller would claim.
	Taken func(*Caller) error
}

// Written is what came of an Edit: the caller, and the settings of its file
// before and after, hashes of keys redacted.
type Written struct {
	Caller        *Caller
	Before, After map[string]string
	Added         bool
	Key           string // a new key, "" for none: it is nowhere else
}

// UnknownError is for a name that no file of the directory holds, which may be
// a copy of what lies in Redis.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("there is no caller %s; 'dynproxy caller list' names them", e.Name)
}

// TakenError is for the name of a new caller that another one has, or whose file
// is wrong, and is not written over.
type TakenError struct{ message string }

func (e *TakenError) Error() string { return e.message }

func existing(name string) error { return &TakenError{"caller " + name + " exists already"} }

// Apply carries out e on the file of caller name in dir. The file is whole at
// every moment; comments in one that was written by hand are not kept. Errors
// about settings are envfile.Faults.
func Apply(dir, name string, e Edit) (*Written, error) {
	return edit(dir, name, e.New, func(w *Written, before map[string]string) (map[string]string, error) {
		values := make(map[string]string)
		for name, value := range before {
			if !e.Whole || isKey(name) {
				values[name] = value
			}
		}
		maps.Copy(values, e.Set)
		if w.Added && values["KEY_SHA256"] == "" && !e.NoKey {
			w.Key, values["KEY_SHA256"] = newKey()
		}
		if !w.Added && e.Fresh {
			return nil, existing(name)
		}
		return values, nil
	}, e.Taken)
}

// Rotate takes one of the two steps of changing a caller's key.
//
// The first makes a new key beside the current one: both are valid, for as long
// as the application takes to change over. The second ends the old key, so that
// the new one is the current one, and makes none. Against a key that became
// known, rotate twice. A caller without a key gets one in the first step, with
// nothing left for a second.
func Rotate(dir, name string) (*Written, error) {
	return edit(dir, name, false, func(w *Written, before map[string]string) (map[string]string, error) {
		values := maps.Clone(before)
		switch {
		case values["KEY_SHA256_NEXT"] != "":
			values["KEY_SHA256"] = values["KEY_SHA256_NEXT"]
			delete(values, "KEY_SHA256_NEXT")
		case values["KEY_SHA256"] != "":
			w.Key, values["KEY_SHA256_NEXT"] = newKey()
		default:
			w.Key, values["KEY_SHA256"] = newKey()
		}
		return values, nil
	}, nil)
}

// changing makes of a caller's settings others. It may say in w that there is a
// new key.
type changing func(w *Written, before map[string]string) (map[string]string, error)

// edit writes what change makes of the file of a caller.
func edit(dir, name string, fresh bool, change changing, taken func(*Caller) error) (w *Written, err error) {
	if name, err = ValidName(name); err != nil {
		return nil, err
	}
	err = envfile.Exclusive(dir, func() error {
		w, err = change.write(dir, name, fresh, taken)
		return err
	})
	return w, err
}

func (change changing) write(dir, name string, fresh bool, taken func(*Caller) error) (*Written, error) {
	before, err := envfile.Load(dir, name)
	w := &Written{Before: redacted(before), Added: errors.Is(err, envfile.ErrNoFile)}
	if w.Added && !fresh {
		return nil, &UnknownError{name}
	}
	if errors.Is(err, fs.ErrPermission) { // nothing is known of what it holds
		return nil, err
	}
	if err != nil && !w.Added {
		return nil, &TakenError{fmt.Sprintf("the file of caller %s is wrong; fix it or remove it: %s", name, strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	values, err := change(w, before)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
	if w.Caller, err = read(name, values); err != nil {
		return nil, err
	}
	if taken != nil {
		if err := taken(w.Caller); err != nil {
			return nil, err
		}
	}
	if w.After = redacted(values); !w.Added {
		return w, envfile.Replace(dir, name, SettingNames(), values)
	}
	err = envfile.Create(dir, name, SettingNames(), values)
	if errors.Is(err, fs.ErrExist) {
		return nil, existing(name)
	}
	return w, err
}

// Remove deletes the file of a caller and returns what it held, hashes of keys
// redacted. A file that is wrong can be removed too.
func Remove(dir, name string) (before map[string]string, err error) {
	err = envfile.Exclusive(dir, func() error {
		before, _ = envfile.Load(dir, name)
		return envfile.Remove(dir, name)
	})
	if errors.Is(err, envfile.ErrNoFile) {
		return nil, &UnknownError{name}
	}
	return redacted(before), err
}

func isKey(setting string) bool { return strings.HasPrefix(setting, "KEY_") }

// redacted returns the settings of a file without the hashes of its keys.
func redacted(values map[string]string) map[string]string {
	shown := maps.Clone(values)
	for name := range shown {
		if isKey(name) {
			shown[name] = envfile.Hidden
		}
	}
	return shown
}

// Given returns the settings of c's file, hashes of keys redacted.
func (c *Caller) Given() map[string]string { return redacted(c.given) }

// Keys is how many keys of c are valid: two during a rotation.
func (c *Caller) Keys() int { return len(c.keys) }

// Entry is one file of a callers directory: the caller, and what is wrong with
// the file. One that has become wrong has both: the caller is as it was.
type Entry struct {
	Name   string
	Caller *Caller // nil where there is none in force
	Fault  error
}

// Entries are all callers of b and all faults, sorted by name.
func (b *Book) Entries() []Entry {
	var entries []Entry
	faults := b.Faults()
	for c := range b.All() {
		entries = append(entries, Entry{Name: c.Name, Caller: c, Fault: faults[c.Name]})
	}
	for name, fault := range faults {
		if b.Lookup(name) == nil {
			entries = append(entries, Entry{Name: name, Fault: fault})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}
