// Package statedir is a process's own place in STATE_DIR: files to which lines
// are only added, bounded, and whole again after a kill, a torn line or a full
// disk. Several processes, as in a rolling restart, each have a place of their
// own in it, which the system gives free when a process ends, however it ends.
package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	mostPlaces = 64               // processes on one directory at the same time
	retryEvery = 5 * time.Second  // of a directory that cannot be used
	aliveEvery = 20 * time.Second // how often a process leaves a sign of life
	lockName   = "lock"
	placeName  = "process-"
)

// Dir is the directory. What is kept there is kept in memory too, so that one
// that cannot be used costs only what shall survive a restart; it is tried
// again. The zero value keeps nothing.
type Dir struct {
	root string

	mu    sync.Mutex // guards what follows
	place string     // "" before one is taken
	turn  int        // how often one was taken
	lock  *os.File
	seen  time.Time // when whoever had the place before was last alive
	fault error     // why there is no place
	files map[string]error
	tried time.Time
	alive time.Time // the last sign of life
	ended bool
}

// Open takes a place in the directory at root, which is made if it is not
// there. "" keeps nothing. A directory that cannot be used is no error of Open:
// Fault tells of it.
func Open(root string) *Dir {
	d := &Dir{root: root}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.take()
	return d
}

// Fault is why nothing is kept at the moment, nil if all is well or nothing
// shall be kept.
func (d *Dir) Fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault != nil {
		return d.fault
	}
	for _, err := range d.files {
		if err != nil {
			return err
		}
	}
	return nil
}

// Kept reports whether something shall be kept at all.
func (d *Dir) Kept() bool { return d.root != "" }

// Seen is when a process that kept something here was last alive before this
// one, to about half a minute; zero where there was none.
func (d *Dir) Seen() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// Close gives the place back. Nothing is kept from then on.
func (d *Dir) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.lock != nil {
		d.touch()
		d.lock.Close()
		d.lock = nil
	}
}

// Touch leaves a sign of life, if the last one is some time ago, and notices
// that the directory was taken away. Whoever keeps something calls it now and
// then.
func (d *Dir) Touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock != nil && time.Since(d.alive) > aliveEvery {
		d.touch()
	}
}

// touch is called with d.mu held.
func (d *Dir) touch() {
	d.alive = time.Now()
	if err := os.Chtimes(filepath.Join(d.place, lockName), d.alive, d.alive); err != nil {
		d.fault = plain(err)
		d.lock.Close()
		d.lock = nil
	}
}

// ready returns the place, and takes it where that was not possible before.
// Another turn means that it was taken anew.
func (d *Dir) ready() (place string, turn int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ended:
		return "", 0, os.ErrClosed
	case d.lock == nil && time.Since(d.tried) > retryEvery:
		d.take()
	}
	if d.lock == nil {
		return "", 0, d.fault
	}
	return d.place, d.turn, nil
}

// told notes what came of a write to the file called name.
func (d *Dir) told(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files == nil {
		d.files = make(map[string]error)
	}
	d.files[name] = plain(err)
}

// plain is err without the path, which is nobody's business but the log's.
func plain(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	return err
}

// take takes the first place that no living process has. d.mu is held.
func (d *Dir) take() {
	if d.root == "" {
		return
	}
	d.tried = time.Now()
	d.fault = plain(os.MkdirAll(d.root, 0o700))
	for n := 0; n < mostPlaces && d.fault == nil; n++ {
		place := filepath.Join(d.root, placeName+strconv.Itoa(n))
		if d.fault = plain(os.MkdirAll(place, 0o700)); d.fault != nil {
			return
		}
		lock, seen, err := lockPlace(place)
		switch {
		case errors.Is(err, errTaken):
			continue
		case err != nil:
			d.fault = plain(err)
			return
		}
		d.place, d.lock = place, lock
		d.turn++
		if d.turn == 1 {
			d.seen = d.lastAlive(seen)
		}
		d.touch()
		clean(place)
		return
	}
	if d.fault == nil {
		d.fault = fmt.Errorf("more than %d processes use it", mostPlaces)
	}
}

// lastAlive is the latest sign of life in any place. d.mu is held.
func (d *Dir) lastAlive(seen time.Time) time.Time {
	for n := range mostPlaces {
		info, err := os.Stat(filepath.Join(d.root, placeName+strconv.Itoa(n), lockName))
		if err != nil {
			break
		}
		if filepath.Join(d.root, placeName+strconv.Itoa(n)) != d.place && info.ModTime().After(seen) {
			seen = info.ModTime()
		}
	}
	return seen
}

var errTaken = errors.New("another process has it")

// lockPlace locks a place, and returns when its lock was last touched.
func lockPlace(place string) (*os.File, time.Time, error) {
	path := filepath.Join(place, lockName)
	var seen time.Time
	if info, err := os.Stat(path); err == nil {
		seen = info.ModTime()
	}
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, seen, err
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return nil, seen, err
	}
	return lock, seen, nil
}

// clean removes what a process has left half written when it was killed.
func clean(place string) {
	left, _ := filepath.Glob(filepath.Join(place, ".*.tmp"))
	for _, path := range left {
		os.Remove(path)
	}
}

// others are the places beside our own.
func (d *Dir) others() []string {
	d.mu.Lock()
	own := d.place
	d.mu.Unlock()
	entries, _ := os.ReadDir(d.root)
	var all []string
	for _, e := range entries {
		if place := filepath.Join(d.root, e.Name()); strings.HasPrefix(e.Name(), placeName) && place != own {
			all = append(all, place)
		}
	}
	return all
}
