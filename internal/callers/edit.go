package callers

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"dynproxy/internal/envfile"
)

const keyLength = 43 // 256 bits in base64url without padding

// NewKey returns a new key of 256 random bits, and its SHA-256 in hex. Only
// the hash is kept: a key that random cannot be found from it, so it needs
// neither salt nor stretching.
func NewKey() (key, hash string) {
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
	path, err := envfile.Find(dir, name)
	if err != nil {
		return "", err
	}
	if path != "" {
		return "", fmt.Errorf("caller %s exists already: %s", name, path)
	}
	values := maps.Clone(settings)
	if values == nil {
		values = make(map[string]string)
	}
	key, values["KEY_SHA256"] = NewKey()
	return key, write(dir, name, values)
}

// Rotate takes one of the two steps of changing a caller's key.
//
// The first makes a new key, which it returns, beside the current one: both
// are valid, for as long as the application takes to change over. The second
// ends the old key, so that the new one is the current one, and returns "".
// Against a key that became known, rotate twice. A caller without a key gets
// one in the first step, with nothing left for a second.
func Rotate(dir, name string) (key string, err error) {
	name, values, err := find(dir, name)
	if err != nil {
		return "", err
	}
	switch {
	case values["KEY_SHA256_NEXT"] != "":
		values["KEY_SHA256"] = values["KEY_SHA256_NEXT"]
		delete(values, "KEY_SHA256_NEXT")
	case values["KEY_SHA256"] != "":
		key, values["KEY_SHA256_NEXT"] = NewKey()
	default:
		key, values["KEY_SHA256"] = NewKey()
	}
	if err := write(dir, name, values); err != nil {
		return "", err
	}
	return key, nil
}

// Remove deletes the file of a caller. A file that is wrong can be removed
// too.
func Remove(dir, name string) error {
	path, err := envfile.Find(dir, name)
	if err != nil {
		return err
	}
	if path == "" {
		return fmt.Errorf("there is no caller %s in %s", name, dir)
	}
	return os.Remove(path)
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
	slices.SortFunc(entries, func(a, b Entry) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return entries, nil
}

// find returns the values of a caller's file, which from then on has its name
// in lower case: written beside one in other letters it would be a second.
func find(dir, name string) (valid string, values map[string]string, err error) {
	if valid, err = ValidName(name); err != nil {
		return "", nil, err
	}
	path, err := envfile.Find(dir, valid)
	if err != nil {
		return "", nil, err
	}
	if path == "" {
		return "", nil, fmt.Errorf("there is no caller %s in %s", valid, dir)
	}
	if values, err = envfile.Read(path); err != nil {
		return "", nil, err
	}
	return valid, values, os.Rename(path, filepath.Join(dir, valid+envfile.Suffix))
}

// write checks values before they take the place of the file. Comments in a
// file that was written by hand are not kept.
func write(dir, name string, values map[string]string) error {
	if _, err := Read(name, values); err != nil {
		return err
	}
	return envfile.Write(dir, name, SettingNames(), values)
}
