package textfile

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Replace puts text into the file at path, whole or not at all: a reader, and
// whoever comes after a crash, sees the old file or the new one. Only its owner
// can read it, and those for whom its directory is (entrust).
func Replace(path string, text []byte) error {
	tmp, err := temporary(path, text)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // fails, and is meant to, once renamed
	if _, err = retry(writeTries, func() (any, error) { return nil, rename(tmp, path) }); err != nil {
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// Create is Replace for a file that must not be there yet: of two that create
// it at once, one gets an error that is fs.ErrExist.
func Create(path string, text []byte) error {
	tmp, err := temporary(path, text)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	err = os.Link(tmp, path)
	if err != nil && !errors.Is(err, os.ErrExist) {
		// A file system without links cannot tell the two apart.
		if _, err = os.Lstat(path); err == nil {
			return &os.PathError{Op: "create", Path: path, Err: os.ErrExist}
		}
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// temporary writes text into a file beside path. Its error speaks of path, and
// not of what only stood for it.
func temporary(path string, text []byte) (name string, err error) {
	defer func() {
		if own, is := errors.AsType[*os.PathError](err); is {
			err = &os.PathError{Op: "write", Path: path, Err: Reason(own)}
		}
	}()
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", err
	}
	if err = entrust(tmp); err == nil {
		_, err = tmp.Write(text)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return "", err
	}
	return tmp.Name(), nil
}

// Unfinished reports whether name is that of a file which stood for another one
// while that was written, and of which.
func Unfinished(name string) (of string, is bool) {
	name, ends := strings.CutSuffix(name, ".tmp")
	name, begins := strings.CutPrefix(name, ".")
	dot := strings.LastIndexByte(name, '.')
	if !begins || !ends || dot <= 0 {
		return "", false
	}
	_, err := strconv.ParseUint(name[dot+1:], 10, 64)
	return name[:dot], err == nil
}

// syncDir makes a rename outlast a power cut, where the system can do that.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
