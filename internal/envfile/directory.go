package envfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"dynproxy/internal/textfile"
)

// CheckDir returns why path is no directory whose files can be read, and the
// cure.
func CheckDir(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return unusable(path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a file where a directory must be; name another", path)
	}
	d, err := os.Open(path)
	if err != nil {
		return unusable(path, err)
	}
	return d.Close()
}

// entriesOf is os.ReadDir, whose error names the cure.
func entriesOf(path string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unusable(path, err)
	}
	return entries, nil
}

// unusable is what err says of the directory at path.
func unusable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return missing(path)
	}
	return fmt.Errorf("the directory %s cannot be read: %w", path, textfile.Reason(err))
}

// missing is the path of a directory that is not there.
type missing string

func (m missing) Error() string {
	return fmt.Sprintf("there is no directory %s; make it, or name another", string(m))
}

func (missing) Unwrap() error { return fs.ErrNotExist }
