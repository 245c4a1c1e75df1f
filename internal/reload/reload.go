// Package reload keeps what files hold, and reads them again when their content
// changes.
package reload

import (
	"context"
	"crypto/sha256"
	"sync/atomic"
	"time"

	"dynproxy/internal/textfile"
)

// lookEvery is how often the files are looked at. A change counts when two
// looks agree, so that none is taken while it is being copied: it is in use
// within a second.
const lookEvery = 400 * time.Millisecond

// Files is what one file says, or several that go together.
type Files[T any] struct {
	load    func() (T, error)
	paths   []string
	current atomic.Pointer[T]
	opened  [sha256.Size]byte
}

// Open loads what the files at paths hold. load reads them.
func Open[T any](load func() (T, error), paths ...string) (*Files[T], error) {
	f := &Files[T]{load: load, paths: paths}
	f.opened = f.look() // a change while they are loaded is one more
	if err := f.refresh(); err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns what was loaded last without an error.
func (f *Files[T]) Get() T { return *f.current.Load() }

// Watch loads the files again whenever their content changes, until ctx ends,
// and tells each time what came of it: nil when the new content is in use, an
// error when it cannot be used and what was stays.
func (f *Files[T]) Watch(ctx context.Context, told func(error)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	taken, seen := f.opened, f.opened
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := f.look()
		settled := now == seen
		seen = now
		if settled && now != taken {
			taken = now
			told(f.refresh())
		}
	}
}

func (f *Files[T]) refresh() error {
	value, err := f.load()
	if err == nil {
		f.current.Store(&value)
	}
	return err
}

// look sums up what the files hold now, or why they cannot be read. Neither
// time stamps nor ways of replacing a file deceive it.
func (f *Files[T]) look() [sha256.Size]byte {
	all := sha256.New()
	for _, path := range f.paths {
		text, err := textfile.ReadRaw(path)
		if err != nil {
			text = []byte(err.Error())
		}
		one := sha256.Sum256(text)
		all.Write(one[:])
	}
	return [sha256.Size]byte(all.Sum(nil))
}
