// Package mirror keeps the files of tenants and callers of this machine in step
// with those that all proxies have in common, in Redis. Whatever reads a
// directory of settings reads the copy, with or without Redis.
package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/changes"
	"dynproxy/internal/cluster"
	"dynproxy/internal/textfile"
)

// Mirror is this machine's copy of the book in Redis: the folders tenants and
// callers of Dir.
type Mirror struct {
	Dir  string
	Book *cluster.Book
	Log  zerolog.Logger
	// Keep says whether Dir outlives the process: then it is noted what it holds.
	Keep bool
	// Changed, if set, is told that files have changed that others have written.
	Changed func()
	// Tell, if set, tells the others that there is something new.
	Tell func()

	wake chan struct{}

	mu     sync.Mutex // guards what follows, and the files
	state  state
	behind bool // whether what the copy holds could not be written down
	said   string
}

// state is what the copy holds.
type state struct {
	cluster.Edition
	Files map[string]int64 `json:"files"` // versions, by kind/name
}

const (
	stateName = "copy.json"
	pullEvery = 2 * time.Second
)

// fileName is what a file of the book is called: its folder, and what it stands
// for.
var fileName = regexp.MustCompile(`^(tenants|callers)/[a-z0-9][a-z0-9._-]{0,62}$`)

// Open makes the folders of m.Dir, and reads what the copy there holds.
func (m *Mirror) Open() error {
	m.wake = make(chan struct{}, 1)
	for _, folder := range []string{m.Tenants(), m.Callers()} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	m.state.Files = make(map[string]int64)
	text, err := os.ReadFile(filepath.Join(m.Dir, stateName))
	if err == nil && json.Unmarshal(text, &m.state) != nil || m.state.Files == nil {
		m.state = state{Files: make(map[string]int64)}
	}
	return nil
}

// Tenants is the folder of tenants.
func (m *Mirror) Tenants() string { return filepath.Join(m.Dir, "tenants") }

// Callers is the folder of callers.
func (m *Mirror) Callers() string { return filepath.Join(m.Dir, "callers") }

func (m *Mirror) path(name string) string {
	return filepath.Join(m.Dir, filepath.FromSlash(name)+".env")
}

// Wake has Run look at once.
func (m *Mirror) Wake() {
	select {
	case m.wake <- struct{}{}:
	default: // it is about to
	}
}

// Run keeps the copy in step until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	every := time.NewTicker(pullEvery)
	defer every.Stop()
	for {
		changed, err := m.Pull(ctx)
		m.tell(err)
		if changed && m.Changed != nil {
			m.Changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-every.C:
		}
	}
}

// tell tells of each new reason why the copy is not in step.
func (m *Mirror) tell(err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	if now != "" && now != m.said {
		m.Log.Warn().Str("reason", now).Msg("tenants and callers cannot be read from Redis; those that were read last stay in force")
	}
	m.said = now
}

// Pull brings the copy in step, and reports whether that changed a file.
func (m *Mirror) Pull(ctx context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pull(ctx)
}

func (m *Mirror) pull(ctx context.Context) (bool, error) {
	if m.behind {
		m.note()
	}
	edition, news, err := m.Book.Since(ctx, m.state.Version)
	if err != nil {
		return false, err
	}
	switch {
	case edition.Epoch == 0:
		return false, m.restore(ctx, 0)
	case edition.Epoch != m.state.Epoch:
		return m.takeWhole(ctx)
	case edition.Version < m.state.Version: // a replica took over that had not heard the last
		return false, m.restore(ctx, edition.Version)
	}
	return m.take(edition, news)
}

// takeWhole takes a book that is another than the copy's. What only this copy
// has was lost when that was begun, and is put back.
func (m *Mirror) takeWhole(ctx context.Context) (bool, error) {
	edition, all, err := m.Book.Since(ctx, 0)
	if err != nil {
		return false, err
	}
	had, mine := m.state.Epoch != 0, m.state.Files
	m.state.Files = make(map[string]int64)
	changed, err := m.take(edition, all)
	if err != nil {
		return changed, err
	}
	for name := range mine {
		if _, there := m.state.Files[name]; there {
			continue
		}
		text, err := os.ReadFile(m.path(name))
		if err != nil || !had {
			continue
		}
		if err := m.put(ctx, name, string(text), false, 0); err != nil && !errors.Is(err, cluster.ErrChanged) {
			return changed, err
		}
	}
	return changed, nil
}

// restore puts back what Redis has lost: files later than version.
func (m *Mirror) restore(ctx context.Context, version int64) error {
	for name, at := range m.state.Files {
		if at <= version {
			continue
		}
		text, err := os.ReadFile(m.path(name))
		if err != nil {
			continue
		}
		if err := m.put(ctx, name, string(text), false, -1); err != nil {
			return err
		}
	}
	if version > 0 && m.state.Version > version { // what is left was a removal
		m.state.Version = version
	}
	return nil
}

// put writes to the book and notes it.
func (m *Mirror) put(ctx context.Context, name, text string, remove bool, known int64) error {
	edition, err := m.Book.Put(ctx, name, text, remove, known)
	if err != nil {
		return err
	}
	delete(m.state.Files, name)
	if !remove {
		m.state.Files[name] = edition.Version
	}
	if m.state.Epoch == 0 || m.state.Epoch != edition.Epoch {
		m.state.Epoch, m.state.Version = edition.Epoch, 0
	}
	m.note()
	return nil
}

// take writes what is new.
func (m *Mirror) take(edition cluster.Edition, news []cluster.BookFile) (changed bool, err error) {
	removed := make(map[string]bool)
	for _, f := range news {
		if f.Name == "" {
			removed[f.ID] = true
			continue
		}
		if !fileName.MatchString(f.Name) {
			return changed, fmt.Errorf("there is a file called %q, which cannot be", f.Name)
		}
		if before, err := os.ReadFile(m.path(f.Name)); err != nil || string(before) != f.Text {
			if err := textfile.Replace(m.path(f.Name), []byte(f.Text)); err != nil {
				return changed, err
			}
			changed = true
		}
		m.state.Files[f.Name] = f.Version
	}
	if len(removed) > 0 || edition.Epoch != m.state.Epoch {
		gone, err := m.drop(removed, edition.Epoch != m.state.Epoch)
		changed = changed || gone
		if err != nil {
			return changed, err
		}
	}
	if edition == m.state.Edition {
		return changed, nil
	}
	m.state.Edition = edition
	m.note()
	return changed, nil
}

// drop removes the files that stand for removed, and with strays those that the
// book does not have and this copy never had from it.
func (m *Mirror) drop(removed map[string]bool, strays bool) (changed bool, err error) {
	for _, kind := range []string{"tenants", "callers"} {
		entries, err := os.ReadDir(filepath.Join(m.Dir, kind))
		if err != nil {
			return changed, err
		}
		for _, e := range entries {
			base, is := strings.CutSuffix(e.Name(), ".env")
			name := kind + "/" + base
			_, known := m.state.Files[name]
			if !is || !removed[m.Book.ID(name)] && (!strays || known || m.state.Epoch != 0) {
				continue
			}
			if err := os.Remove(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return changed, err
			}
			delete(m.state.Files, name)
			changed = true
		}
	}
	return changed, nil
}

// note writes down what the copy holds, for the next start. If that cannot be,
// the next pull tries again: what Redis and the files say holds all the same.
func (m *Mirror) note() {
	if !m.Keep {
		return
	}
	text, err := json.Marshal(m.state)
	if err == nil {
		err = textfile.Replace(filepath.Join(m.Dir, stateName), text)
	}
	if err != nil && !m.behind {
		m.Log.Warn().AnErr("reason", err).Msg("which tenants and callers were read from Redis cannot be written down; they are in force, and a start without Redis may not know the latest")
	}
	m.behind = err != nil
}

// Change is changes.Shared's: what change does to the file of a tenant or
// caller is done to the book, or not at all.
func (m *Mirror) Change(kind, name string, change func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := m.pull(ctx); err != nil {
		return &changes.AwayError{Err: err}
	}
	file := kind + "s/" + name
	before, was := os.ReadFile(m.path(file))
	if err := change(); err != nil {
		return err
	}
	after, is := os.ReadFile(m.path(file))
	err := m.put(ctx, file, string(after), is != nil, m.state.Files[file])
	if err == nil {
		if m.Tell != nil {
			m.Tell()
		}
		return nil
	}
	if was == nil {
		textfile.Replace(m.path(file), before)
	} else {
		os.Remove(m.path(file))
	}
	if errors.Is(err, cluster.ErrChanged) {
		return err
	}
	return &changes.AwayError{Err: err}
}
