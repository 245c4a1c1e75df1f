package envfile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"dynproxy/internal/textfile"
)

// Suffix ends the name of every file that a Dir reads.
const Suffix = ".env"

const (
	settle = 60 * time.Millisecond // editors write in several steps
	poll   = 2 * time.Second       // for mounts that send no events
)

// A File is one <name>.env as it was last read. Name is lower-case, without
// the suffix. Err, if set, says why Values could not be read; Gone that the
// file is no longer there.
type File struct {
	Name   string
	Values map[string]string
	Err    error
	Gone   bool
}

// Dir is a directory of <name>.env files, read whole by Scan and then again
// whenever something may have changed. It is for one goroutine.
type Dir struct {
	path string
	seen map[string]stamp
}

// stamp is what is remembered of a file, so that only a change is reported.
type stamp struct {
	sum [sha256.Size]byte
	err string
}

// OpenDir returns the directory at path, which must exist.
func OpenDir(path string) (*Dir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	return &Dir{path: path, seen: make(map[string]stamp)}, nil
}

// Scan reads the directory and returns the files that are new, changed or gone
// since the last Scan, sorted by name. Files are compared by content: time
// stamps lie when a mount or an editor replaces a file. When the directory
// itself cannot be read nothing is reported as gone.
func (d *Dir) Scan() ([]File, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var changed []File
	now := make(map[string]stamp, len(entries))
	for _, e := range entries {
		base, isEnv := strings.CutSuffix(e.Name(), Suffix)
		if !isEnv || base == "" || base[0] == '.' || e.IsDir() {
			continue
		}
		file, mark := d.read(e.Name())
		if file.Gone {
			continue
		}
		if _, twice := now[file.Name]; twice {
			file.Err = fmt.Errorf("another file has this name in other letters of case")
			mark = stamp{err: file.Err.Error()}
		}
		now[file.Name] = mark
		if old, known := d.seen[file.Name]; !known || old != mark {
			changed = append(changed, file)
		}
	}
	for name := range d.seen {
		if _, still := now[name]; !still {
			changed = append(changed, File{Name: name, Gone: true})
		}
	}
	d.seen = now
	slices.SortFunc(changed, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return changed, nil
}

// Forget lets the next Scan report the file of that name again though it has
// not changed.
func (d *Dir) Forget(name string) { d.seen[name] = stamp{} }

func (d *Dir) read(base string) (File, stamp) {
	file := File{Name: strings.ToLower(strings.TrimSuffix(base, Suffix))}
	text, err := textfile.ReadRaw(filepath.Join(d.path, base))
	if errors.Is(err, fs.ErrNotExist) {
		file.Gone = true
		return file, stamp{}
	}
	if err != nil {
		file.Err = err
		return file, stamp{err: err.Error()}
	}
	file.Values, file.Err = Parse(text)
	return file, stamp{sum: sha256.Sum256(text)}
}

// Watch scans whenever the directory changes and hands every non-empty result
// to changed, and an unreadable directory to failed (once until it is readable
// again). It returns when ctx ends.
func (d *Dir) Watch(ctx context.Context, changed func([]File), failed func(error)) {
	var events chan fsnotify.Event // stays nil, and so silent, where there is no notification
	if w, err := fsnotify.NewWatcher(); err == nil {
		defer w.Close()
		if w.Add(d.path) == nil {
			events = w.Events
			go func() {
				for range w.Errors { // ends with w.Close
				}
			}()
		}
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	broken := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-events:
			if !rest(ctx, events) {
				return
			}
		}
		files, err := d.Scan()
		if err != nil && !broken {
			failed(err)
		}
		broken = err != nil
		if len(files) > 0 {
			changed(files)
		}
	}
}

// rest waits until the events of one change have come in.
func rest(ctx context.Context, events <-chan fsnotify.Event) bool {
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-events:
		case <-quiet.C:
			return true
		}
	}
}

// Write puts values into dir/<name>.env in the order of keys, whole or not at
// all: a reader sees the old file or the new one. The file is readable by its
// owner only.
func Write(dir, name string, keys []string, values map[string]string) error {
	var text strings.Builder
	for _, key := range keys {
		value, ok := values[key]
		if !ok {
			continue
		}
		if strings.ContainsAny(value, "\r\n\x00") || strings.TrimSpace(value) != value {
			return fmt.Errorf("%s cannot hold line breaks or begin or end with a space", key)
		}
		if unquote(value) != value {
			value = `"` + value + `"`
		}
		fmt.Fprintf(&text, "%s=%s\n", key, value)
	}
	tmp, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails, and is meant to, once renamed
	_, err = tmp.WriteString(text.String())
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	return os.Rename(tmp.Name(), filepath.Join(dir, name+Suffix))
}

// Find returns the path of the file in dir that holds name, whatever the case
// of its letters, or "" when there is none.
func Find(dir, name string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name+Suffix) {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", nil
}

// Read reads and parses one file.
func Read(path string) (map[string]string, error) {
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

// Merge lays over onto under and returns the result.
func Merge(under, over map[string]string) map[string]string {
	merged := maps.Clone(under)
	if merged == nil {
		merged = make(map[string]string, len(over))
	}
	maps.Copy(merged, over)
	return merged
}
