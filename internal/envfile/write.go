package envfile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dynproxy/internal/textfile"
)

// ErrNoFile is the error for a name that no file holds.
var ErrNoFile = errors.New("there is no file of that name")

// Load returns the values of the file in dir that holds name, in any case of
// letters. The error is ErrNoFile when there is none.
func Load(dir, name string) (map[string]string, error) {
	path, err := Path(dir, name)
	if err != nil {
		return nil, err
	}
	return read(path)
}

// Path is where the file in dir is that holds name, in any case of letters.
// The error is ErrNoFile when there is none.
func Path(dir, name string) (string, error) {
	entries, err := entriesOf(dir)
	paths := spellings(dir, name, entries)
	if err == nil && len(paths) == 0 {
		err = ErrNoFile
	}
	if err != nil {
		return "", err
	}
	return paths[0], nil
}

// CheckName returns why this system can have no file for name: to Windows some
// are devices, whatever stands behind their first dot.
func CheckName(name string) error {
	if !filepath.IsLocal(name + suffix) {
		return fmt.Errorf("%s is the name of a device on Windows, and no file can have it; choose another", name)
	}
	return nil
}

// Stamp tells the file in dir that holds name from others that have its name
// before and after, without a look at what it holds; "" if there is none.
func Stamp(dir, name string) string {
	// Most files have the name that counts: of many that change at once the whole
	// directory would be listed for each.
	info, err := os.Stat(filepath.Join(dir, strings.ToLower(name)+suffix))
	if err != nil || info.IsDir() {
		path, err := Path(dir, name)
		if err != nil {
			return ""
		}
		if info, err = os.Stat(path); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("%x-%x", info.ModTime().UnixNano(), info.Size())
}

// Create writes values into dir/<name>.env in the order of keys, unless a file
// holds name already, in any case of letters: then the error is fs.ErrExist.
func Create(dir, name string, keys []string, values map[string]string) error {
	text, err := render(keys, values)
	if err != nil {
		return err
	}
	entries, err := entriesOf(dir)
	if err != nil {
		return err
	}
	if paths := spellings(dir, name, entries); len(paths) > 0 {
		return &fs.PathError{Op: "create", Path: paths[0], Err: fs.ErrExist}
	}
	sweep(dir, entries)
	return textfile.Create(filepath.Join(dir, name+suffix), text)
}

// Replace writes values into dir/<name>.env in the order of keys, whole or not
// at all, and only then removes files that hold name in other letters of case.
func Replace(dir, name string, keys []string, values map[string]string) error {
	text, err := render(keys, values)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name+suffix)
	if err := textfile.Replace(path, text); err != nil {
		return err
	}
	written, err := os.Stat(path)
	if err != nil {
		return err
	}
	entries, err := entriesOf(dir)
	if err != nil {
		return err
	}
	sweep(dir, entries)
	for _, other := range spellings(dir, name, entries) {
		if other == path {
			continue // which somebody may have replaced since, and is another file then
		}
		// Where case does not count, the other name is the same file.
		if info, err := os.Stat(other); err == nil && !os.SameFile(info, written) {
			if err := os.Remove(other); err != nil {
				return fmt.Errorf("%s is written, but the older %s is still there: %w", path, other, err)
			}
		}
	}
	return nil
}

// Remove deletes every file in dir that holds name, in any case of letters.
// The error is ErrNoFile when there is none.
func Remove(dir, name string) error {
	entries, err := entriesOf(dir)
	if err != nil {
		return err
	}
	sweep(dir, entries)
	paths := spellings(dir, name, entries)
	if len(paths) == 0 {
		return ErrNoFile
	}
	// The one that counts goes last, so that no other takes its place.
	for i := len(paths) - 1; i >= 0; i-- {
		if err := os.Remove(paths[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s cannot be removed: %w", paths[i], textfile.Reason(err))
		}
	}
	return nil
}

// abandoned is the age at which nobody writes an unfinished file any more.
const abandoned = time.Minute

// sweep removes from dir, which holds entries, what writers have left there who
// were killed: a secret that stands in one would outlive the file it was for.
func sweep(dir string, entries []os.DirEntry) {
	for _, e := range entries {
		of, is := textfile.Unfinished(e.Name())
		if !is || !strings.HasSuffix(of, suffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// spellings returns the paths of those entries of dir that hold name, the one
// that counts first.
func spellings(dir, name string, entries []os.DirEntry) []string {
	var paths []string
	for _, e := range entries {
		switch {
		case e.IsDir() || !strings.EqualFold(e.Name(), name+suffix):
		case e.Name() == strings.ToLower(name)+suffix:
			paths = append([]string{filepath.Join(dir, e.Name())}, paths...)
		default:
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// render is the text of a file that Parse reads back as it was. Its error is
// Faults.
func render(keys []string, values map[string]string) ([]byte, error) {
	var text strings.Builder
	var faults Faults
	longest := ""
	for _, key := range keys {
		value, ok := values[key]
		if !ok {
			continue
		}
		if !utf8.ValidString(value) || strings.Contains(value, "\ufeff") || strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
			faults.Add(key, "cannot hold line breaks or other characters that nobody sees, or begin or end with a space")
		}
		if len(value) >= len(values[longest]) {
			longest = key
		}
		if unquote(value) != value {
			value = `"` + value + `"`
		}
		fmt.Fprintf(&text, "%s=%s\n", key, value)
	}
	written := textfile.Lines(text.String())
	if len(written) > maxSize {
		faults.Add(longest, "is too long: a file of settings has at most %d KiB", maxSize>>10)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return written, nil
}

// read reads and parses one file.
func read(path string) (map[string]string, error) {
	text, err := textfile.ReadRaw(path)
	if err != nil {
		return nil, err
	}
	values, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return values, nil
}

// Lines tells in which line of the file at path each variable stands.
func Lines(path string) (map[string]int, error) {
	text, err := textfile.ReadRaw(path)
	if err != nil {
		return nil, err
	}
	_, at, err := parse(text)
	return at, err
}

// Merge lays over onto under and returns the result.
func Merge(under, over map[string]string) map[string]string {
	merged := maps.Clone(under)
	if merged == nil {
		merged = make(map[string]string, len(over))
	}
	maps.Copy(merged, over)
	return merged
}
