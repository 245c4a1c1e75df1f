package envfile

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dynproxy/internal/textfile"
)

// suffix ends the name of every file that a directory of settings is read for.
const suffix = ".env"

const (
	// settle is how long a file must have stood unchanged before its content
	// counts: what is still being written may lack the line that restricts.
	settle = 500 * time.Millisecond
	// settleAtOpen is the same for what was written just before the start.
	settleAtOpen = 100 * time.Millisecond
	// rereadAfter is when the content of a file is looked at though nothing
	// says that it changed: time stamps of mounts lie.
	rereadAfter = 30 * time.Second
)

// file is one <name>.env as it was last read. Its name is lower-case, without
// the suffix. err, if set, says why values could not be read; gone that the
// file is no longer there, and then err what stands in its place, if anything.
type file struct {
	name   string
	values map[string]string
	err    error
	gone   bool
}

// dir is what is known of the files of one directory. It is for one goroutine.
type dir struct {
	path  string
	files map[string]*tracked
	void  map[string]error // names of what is no file, and why
	reads int              // how many files were read, ever
}

// tracked is one file of a dir.
type tracked struct {
	base string // its name in the directory
	flaw error  // why it is not even opened

	missed bool // listed at the latest look, but not there

	stamp stamp     // of the latest look
	since time.Time // when stamp was first seen

	due      bool // it may have changed since it was last read
	read     time.Time
	reported bool
	sum      [sha256.Size]byte // of what was last reported
	fault    string
}

func newDir(path string) (*dir, error) {
	if err := CheckDir(path); err != nil {
		return nil, err
	}
	return &dir{path: path, files: make(map[string]*tracked)}, nil
}

// look lists the directory without opening a file, and returns the files that
// are gone, sorted by name. What is new or changed is due from then on. When
// the directory itself cannot be read, nothing is gone.
func (d *dir) look(now time.Time) ([]file, error) {
	entries, err := entriesOf(d.path)
	if err != nil {
		return nil, err
	}
	there, void := make(map[string]bool, len(entries)), make(map[string]error)
	for name, found := range identify(entries) {
		info, err := os.Stat(filepath.Join(d.path, found.base))
		if errors.Is(err, fs.ErrNotExist) {
			// It went after the listing, alone or with the whole directory: then the
			// next listing tells. A link may lead nowhere: then the next look does.
			if t := d.files[name]; t != nil && (!found.link || !t.missed) {
				t.missed, there[name] = true, true
			} else if found.link {
				void[name] = errNowhere
			}
			continue
		}
		if err == nil && info.IsDir() {
			void[name] = errDirectory
			continue
		}
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("it is not a regular file")
		}
		there[name] = true
		d.track(name, found, stampOf(info), cmp.Or(found.flaw, err), now)
	}
	var gone []file
	for name, t := range d.files {
		if !there[name] {
			delete(d.files, name)
			if t.reported && void[name] == nil {
				gone = append(gone, file{name: name, gone: true})
			}
		}
	}
	for name, why := range void {
		if d.void[name] != why {
			gone = append(gone, file{name: name, gone: true, err: why})
		}
	}
	for name := range d.void {
		if void[name] == nil && !there[name] {
			gone = append(gone, file{name: name, gone: true})
		}
	}
	d.void = void
	sortByName(gone)
	return gone, nil
}

var (
	errNowhere   = errors.New("it is a link that leads nowhere; a relative one leads from the directory that it is in")
	errDirectory = errors.New("it is a directory, not a file")
)

func (d *dir) track(name string, found candidate, seen stamp, flaw error, now time.Time) {
	t := d.files[name]
	if t == nil {
		t = &tracked{due: true, since: now}
		d.files[name] = t
	} else if t.base != found.base || !t.stamp.same(seen) || text(t.flaw) != text(flaw) {
		t.due, t.since = true, now
	} else if now.Sub(t.read) > rereadAfter {
		t.due = true
	}
	t.base, t.stamp, t.flaw, t.missed = found.base, seen, flaw, false
}

// stamp is how a file looks from outside. Its zero value is that of none.
type stamp struct {
	there    bool
	size     int64
	modified time.Time
	identity
}

// stampOf keeps what is needed of info, nil for none: os.FileInfo itself is
// large.
func stampOf(info os.FileInfo) stamp {
	if info == nil {
		return stamp{}
	}
	return stamp{true, info.Size(), info.ModTime().UTC(), identityOf(info)}
}

// same reports whether a file is the one it was, as far as can be told without
// reading it.
func (a stamp) same(b stamp) bool {
	if !a.there || !b.there {
		return a.there == b.there
	}
	return a.size == b.size && a.modified.Equal(b.modified) && a.identity.same(b.identity)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// settled reads at most limit of the files that are due and have stood for
// long enough, and returns those whose content is another than last reported,
// sorted by name, and after what time to ask again: 0 when more are due now,
// and less than 0 when none is.
func (d *dir) settled(now time.Time, stood time.Duration, limit int) ([]file, time.Duration) {
	var changed []file
	var read int
	again := time.Duration(-1)
	for name, t := range d.files {
		if !t.due {
			continue
		}
		left := t.since.Add(stood).Sub(now)
		if left <= 0 && read < limit {
			read++
			if f, is := d.report(name, t, now); is {
				changed = append(changed, f)
			}
			if left = t.since.Add(stood).Sub(now); !t.due {
				continue
			}
		}
		if left = max(left, 0); again < 0 || left < again {
			again = left
		}
	}
	sortByName(changed)
	return changed, again
}

// again makes every file count anew that stands as it was last read.
func (d *dir) again(now time.Time) {
	for _, t := range d.files {
		if !t.due {
			t.due, t.since, t.sum = true, now.Add(-settle), [sha256.Size]byte{}
		}
	}
}

// report reads one file, and reports whether it says something new. A file
// that changes meanwhile is left for later.
func (d *dir) report(name string, t *tracked, now time.Time) (file, bool) {
	f := file{name: name, err: t.flaw}
	var raw []byte
	if f.err == nil {
		d.reads++
		raw, f.err = textfile.ReadRaw(filepath.Join(d.path, t.base))
		info, _ := os.Stat(filepath.Join(d.path, t.base))
		if seen := stampOf(info); !t.stamp.same(seen) {
			t.stamp, t.since = seen, now
			return f, false
		}
	}
	sum, fault := sha256.Sum256(raw), text(f.err)
	same := t.reported && t.sum == sum && t.fault == fault
	t.due, t.read, t.reported, t.sum, t.fault = false, now, true, sum, fault
	if f.err != nil && t.flaw == nil {
		t.due, t.since = true, now // another program may hold it, and no stamp says when it lets go
	}
	if same {
		return f, false
	}
	if f.err == nil {
		f.values, f.err = Parse(raw)
	}
	return f, true
}

// young reports whether a file that is due was written within the last age.
func (d *dir) young(age time.Duration) bool {
	now := time.Now()
	for _, t := range d.files {
		if t.due && t.stamp.there {
			if old := now.Sub(t.stamp.modified); old >= 0 && old < age {
				return true
			}
		}
	}
	return false
}

// candidate is a file that stands for a name, and why it may not.
type candidate struct {
	base string
	link bool
	flaw error
}

// identify finds the file of each name. Of two names that differ in nothing
// but the case of letters the lower-case one counts, which is how commands
// write them, else the first; the other is told under its full name, and so is
// one that an editor has given a second suffix. What editors and file managers
// leave lying about is passed over.
func identify(entries []os.DirEntry) map[string]candidate {
	found := make(map[string]candidate, len(entries))
	for _, e := range entries { // sorted: upper case before lower case
		base := e.Name()
		lower := strings.ToLower(base)
		link := e.Type()&fs.ModeSymlink != 0
		if e.IsDir() || base[0] == '.' || base[0] == '~' {
			continue
		}
		if proper, is := strings.CutSuffix(lower, ".txt"); is && strings.HasSuffix(proper, suffix) && proper != suffix {
			found[lower] = candidate{base, link, fmt.Errorf("it is not read for its second suffix; rename it to %s", proper)}
			continue
		}
		name, is := strings.CutSuffix(lower, suffix)
		if !is || name == "" {
			continue
		}
		other, twice := found[name]
		if !twice {
			found[name] = candidate{base: base, link: link}
			if e.Type()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0 { // whoever opens a pipe waits for who writes to it
				found[name] = candidate{base: base, flaw: errors.New("it is not read: it is a pipe or a device and no file")}
			}
			continue
		}
		counts, passed := other, candidate{base: base, link: link}
		if base == lower {
			counts, passed = passed, other
		}
		found[name] = counts
		passed.flaw = fmt.Errorf("it is not read: %s has the same name but for the case of letters; remove one", counts.base)
		found[passed.base] = passed
	}
	// A container's engine makes a directory of a file that it cannot find.
	for _, e := range entries {
		name, is := strings.CutSuffix(strings.ToLower(e.Name()), suffix)
		if _, stands := found[name]; is && e.IsDir() && name != "" && !stands && e.Name()[0] != '.' && e.Name()[0] != '~' {
			found[name] = candidate{base: e.Name()}
		}
	}
	return found
}

func sortByName(files []file) {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
}
