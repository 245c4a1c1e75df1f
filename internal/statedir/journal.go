package statedir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"dynproxy/internal/textfile"
)

// Content is what a Journal keeps. Its methods are called by one goroutine at a
// time, and never by Journal.Append itself while its caller's locks are held:
// Append must be called without them.
type Content interface {
	// Load takes a line of before. It comes at the start; where the directory could
	// not be used then, later. What makes no sense is left out.
	Load(line []byte)
	// Whole returns all lines that are to be kept: the file is made anew of them
	// when it has grown, and when something could not be added.
	Whole() []byte
}

// smallest is the size below which a file is never made anew for its size.
const smallest = 1 << 20

// Journal is one file of lines.
type Journal struct {
	dir     *Dir
	name    string
	content Content

	mu     sync.Mutex // guards what follows, and the file
	file   *os.File   // nil before it is open
	turn   int        // of the directory, in which it was opened
	size   int64
	most   int64 // size at which it is made anew
	loaded bool
	behind bool // whether the file lacks something that content has
}

// Journal opens the file called name and loads what it holds into c. Lines are
// separated by line feeds.
func (d *Dir) Journal(name string, c Content) *Journal {
	j := &Journal{dir: d, name: name + ".jsonl", content: c}
	if d.root != "" {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.told(j.open())
	}
	return j
}

// Append adds lines, each with its line feed. What cannot be added now is added
// with the next call that can, for which nil lines will do.
func (j *Journal) Append(lines []byte) {
	if j.dir.root == "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.open(); err != nil {
		j.behind = j.behind || len(lines) > 0
		j.told(err)
		return
	}
	switch {
	case j.behind || j.size+int64(len(lines)) > j.most:
		j.told(j.renew())
	case len(lines) > 0:
		if _, err := j.file.Write(lines); err != nil {
			j.behind = true // and so the file, with half a line perhaps, is made anew
			j.told(err)
			return
		}
		j.size += int64(len(lines))
		j.told(nil)
	default:
		j.told(nil)
	}
}

// Renew makes the file anew of what content has now: what was forgotten is gone
// from the disk too.
func (j *Journal) Renew() {
	j.mu.Lock()
	j.behind = true
	j.mu.Unlock()
	j.Append(nil)
}

// told notes how the last attempt went.
func (j *Journal) told(err error) { j.dir.told(j.name, err) }

// open opens the file if it is not open, and loads it the first time.
func (j *Journal) open() error {
	place, turn, err := j.dir.ready()
	if err != nil || turn != j.turn {
		j.close() // of a directory that is gone, perhaps
	}
	if err != nil || j.file != nil {
		return err
	}
	path := filepath.Join(place, j.name)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	text, torn := wholeLines(text)
	if torn {
		if err := file.Truncate(int64(len(text))); err != nil {
			file.Close()
			return err
		}
	}
	if !j.loaded {
		j.loaded = true
		load(text, j.content.Load)
	} else if turn != j.turn {
		j.behind = true
	}
	j.file, j.turn, j.size, j.most = file, turn, int64(len(text)), max(smallest, j.most)
	return nil
}

// wholeLines cuts off a last line that was torn.
func wholeLines(text []byte) (whole []byte, torn bool) {
	end := bytes.LastIndexByte(text, '\n') + 1
	return text[:end], end < len(text)
}

func load(text []byte, each func(line []byte)) {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			each(line)
		}
	}
}

// renew replaces the file, whole or not at all.
func (j *Journal) renew() error {
	path := j.file.Name()
	text := j.content.Whole()
	j.close() // Windows replaces no file that is open
	err := textfile.Replace(path, text)
	if err == nil {
		j.behind = false
		j.most = max(smallest, 2*int64(len(text)))
	} else {
		j.behind = true
	}
	if opened := j.open(); err == nil {
		err = opened
	}
	return err
}

func (j *Journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}

// Close closes the file.
func (j *Journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.close()
}

// Stamp changes when what other processes have kept under the same name does.
func (j *Journal) Stamp() string {
	var stamp string
	for _, place := range j.dir.othersOf(j.name) {
		if info, err := os.Stat(place); err == nil {
			stamp += fmt.Sprintf("%s %d %d\n", place, info.Size(), info.ModTime().UnixNano())
		}
	}
	return stamp
}

// Others reads what other processes, of now and of before, have kept under the
// same name. next, unless nil, is called before the lines of each.
func (j *Journal) Others(next func(), each func(line []byte)) {
	for _, path := range j.dir.othersOf(j.name) {
		if text, err := os.ReadFile(path); err == nil {
			if next != nil {
				next()
			}
			text, _ = wholeLines(text)
			load(text, each)
		}
	}
}

func (d *Dir) othersOf(name string) []string {
	if d.root == "" {
		return nil
	}
	var all []string
	for _, place := range d.others() {
		all = append(all, filepath.Join(place, name))
	}
	return all
}

// Forget removes the lines that match from what processes have kept that live
// no more. Those that do live forget by themselves.
func (j *Journal) Forget(match func(line []byte) bool) {
	for _, path := range j.dir.othersOf(j.name) {
		lock, _, err := lockPlace(filepath.Dir(path)) // before it is read: who has it may add to it
		if err != nil {
			continue
		}
		j.forgetIn(path, match)
		lock.Close()
	}
}

func (j *Journal) forgetIn(path string, match func(line []byte) bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var kept []byte
	load(text, func(line []byte) {
		if !match(line) {
			kept = append(append(kept, line...), '\n')
		}
	})
	if len(kept) != len(text) {
		j.told(textfile.Replace(path, kept))
	}
}
