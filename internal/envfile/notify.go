package envfile

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// rest is how long the events of one change are awaited: editors remove and
// write in several steps.
const rest = 60 * time.Millisecond

// notifier says that something may have changed in a directory or with the
// directory itself. Where the system has no notification it is silent.
type notifier struct {
	path     string
	events   *fsnotify.Watcher
	followed os.FileInfo // the directory that is watched
	woken    chan struct{}
}

func newNotifier(path string) *notifier {
	n := &notifier{path: filepath.Clean(path), woken: make(chan struct{}, 1)}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return n
	}
	n.events = w
	w.Add(filepath.Dir(n.path)) // where another directory may take this one's place
	n.follow()
	go func() { // ends with close
		for e := range w.Events {
			if e.Name == n.path || strings.HasPrefix(e.Name, n.path+string(filepath.Separator)) {
				n.wake()
			}
		}
	}()
	go func() {
		for range w.Errors { // events were lost
			n.wake()
		}
	}()
	return n
}

func (n *notifier) wake() {
	select {
	case n.woken <- struct{}{}:
	default:
	}
}

// follow watches the directory that has the path now, which may be another
// than before: one moved into its place, or where a link leads since.
func (n *notifier) follow() {
	info, err := os.Stat(n.path)
	if n.events == nil || err != nil || n.followed != nil && os.SameFile(info, n.followed) {
		return
	}
	if n.followed != nil {
		n.events.Remove(n.path) // fails, and may, when the system did it
	}
	n.followed = nil
	if n.events.Add(n.path) == nil {
		n.followed = info
		n.wake() // for what changed before
	}
}

// wait returns after the given time, or when something may have changed and
// has come to rest; false when ctx ends.
func (n *notifier) wait(ctx context.Context, longest time.Duration) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-n.woken:
	}
	timer.Reset(rest)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (n *notifier) close() {
	if n.events != nil {
		n.events.Close()
	}
}
