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

// Add writes the file of a new caller into dir, with the given settings and a
// new key, which it returns. The key is nowhere else afterwards.
func Add(dir, name string, settings map[string]string) (key string, err error) {
	name, err = ValidName(name)
	if err != nil {
		return "", err
	}
	values := maps.Clone(settings)
	if values == nil {
		values = make(map[string]string)
	}
	key, values["KEY_SHA256"] = newKey()
	if _, err := read(name, values); err != nil {
		return "", err
	}
	err = envfile.Create(dir, name, SettingNames(), values)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("caller %s exists already: %w", name, err)
	}
	return key, err
}

// Rotate takes one of the two steps of changing a caller's key.
//
// The first makes a new key, which it returns, beside the current one: both
// are valid, for as long as the application takes to change over. The second
// ends the old key, so that the new one is the current one, and returns "".
// Against a key that became known, rotate twice. A caller without a key gets
// one in the first step, with nothing left for a second.
func Rotate(dir, name string) (key string, err error) {
	if name, err = ValidName(name); err != nil {
		return "", err
	}
	values, err := envfile.Load(dir, name)
	if err != nil {
		return "", missing(dir, name, err)
	}
	switch {
	case values["KEY_SHA256_NEXT"] != "":
		values["KEY_SHA256"] = values["KEY_SHA256_NEXT"]
		delete(values, "KEY_SHA256_NEXT")
	case values["KEY_SHA256"] != "":
		key, values["KEY_SHA256_NEXT"] = newKey()
	default:
		key, values["KEY_SHA256"] = newKey()
	}
	// Comments in a file that was written by hand are not kept.
	if _, err := read(name, values); err != nil {
		return "", err
	}
	if err := envfile.Replace(dir, name, SettingNames(), values); err != nil {
		return "", err
	}
	return key, nil
}

// Remove deletes the file of a caller. A file that is wrong can be removed
// too.
func Remove(dir, name string) error { return missing(dir, name, envfile.Remove(dir, name)) }

func missing(dir, name string, err error) error {
	if errors.Is(err, envfile.ErrNoFile) {
		return fmt.Errorf("there is no caller %s in %s", name, dir)
	}
	return err
}

// Entry is one file of a callers directory: the caller, or what is wrong.
type Entry struct {
	Name   string
	Caller *Caller
	Fault  error
	Keys   int // how many keys are valid: two during a rotation
}

// List reads the callers directory dir, sorted by name.
func List(dir string) ([]Entry, error) {
	b, err := Open(dir)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for c := range b.All() {
		entries = append(entries, Entry{Name: c.Name, Caller: c, Keys: len(c.keys)})
	}
	for name, fault := range b.Faults() {
		entries = append(entries, Entry{Name: name, Fault: fault})
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}
