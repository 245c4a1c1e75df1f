package audit

import (
	"slices"
	"time"

	"dynproxy/internal/panics"
)

// settle is how long a change that was seen in a file is held back: a command
// writes the file first, and tells of it then.
const settle = time.Second

// Notice tells of a change that was seen in a file, whose Stamp is that of the
// file as it was found. It is recorded in a moment, unless a command or HTTP
// has told of it by then.
func (l *Log) Notice(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.At = time.Now()
	l.noticed = append(l.noticed, e)
	if l.noticing == nil {
		l.recording.Add(1)
		l.noticing = time.AfterFunc(settle, func() {
			defer l.recording.Done()
			defer panics.Recover(l.Log, "record of changes", nil)
			l.settleNotices()
		})
	}
}

// Close records what is still held back.
func (l *Log) Close() {
	l.mu.Lock()
	waiting := l.noticing
	l.mu.Unlock()
	if waiting != nil && waiting.Stop() {
		l.settleNotices()
		l.recording.Done()
	}
	l.recording.Wait()
}

func (l *Log) settleNotices() {
	l.mu.Lock()
	defer l.mu.Unlock()
	noticed := l.noticed
	l.noticed, l.noticing = nil, nil
	told := l.told()
	var fresh []Entry
	for _, n := range noticed {
		if !told[key{n.Kind, n.Name, n.Stamp}] {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 0 {
		return
	}
	if err := l.record(fresh); err != nil {
		l.Log.Error().AnErr("reason", err).Int("entries", len(l.memory)).
			Msg("changes cannot be recorded in STATE_DIR; they are kept in memory and written when that can be")
	}
}

// key is a file as a change has left it.
type key struct{ kind, name, stamp string }

// told are the files, as they were left, of the latest entries. It is called
// with mu held.
func (l *Log) told() map[key]bool {
	entries := slices.Clone(l.memory)
	slices.Reverse(entries)
	if l.Dir != "" {
		kept, _ := l.read(MostEntries)
		entries = append(entries, kept...)
	}
	told, newer := make(map[key]bool, len(entries)), make(map[key]bool, len(entries))
	for _, e := range entries {
		// One that is gone may have come and gone before.
		outdated := e.Stamp == Gone && newer[key{e.Kind, e.Name, ""}]
		newer[key{e.Kind, e.Name, ""}] = true
		if e.Via != File && e.Stamp != "" && !outdated {
			told[key{e.Kind, e.Name, e.Stamp}] = true
		}
	}
	return told
}
