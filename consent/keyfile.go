package consent

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"dynproxy/internal/textfile"
)

const (
	keyName     = "link.key" // in the directory where the key is kept
	shortestKey = 16         // characters of a secret that is worth the name
)

// ReadKey returns the key that is derived from the secret in a file.
func ReadKey(path string) (Key, error) {
	text, err := textfile.Read(path)
	if err != nil {
		return Key{}, err
	}
	if text = bytes.TrimSpace(text); len(text) < shortestKey {
		return Key{}, fmt.Errorf("%s holds fewer than %d characters; make it with: openssl rand -base64 32", path, shortestKey)
	}
	return NewKey(text), nil
}

// ErrNotKept is inside the error for a directory that holds no key and in which
// none can be made.
var ErrNotKept = errors.New("no key is kept there, and none can be")

// KeptKey returns the key that is kept in dir, or makes it. Of several
// processes that make one at the same time all get the same.
func KeptKey(dir string) (Key, error) {
	path := filepath.Join(dir, keyName)
	key, err := ReadKey(path)
	if _, missing := os.Stat(path); err == nil || missing == nil {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Key{}, errors.Join(ErrNotKept, err)
	}
	err = textfile.Create(path, []byte(rand.Text()+rand.Text()+"\n"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, errors.Join(ErrNotKept, err)
	}
	return ReadKey(path)
}
