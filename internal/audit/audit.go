// Package audit is the record of changes to tenants, callers and settings: who
// changed what, when, from where, and what it was before and after.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// The ways by which a change comes.
const (
	Command = "command"
	HTTP    = "http"
	File    = "file" // by whoever can write it
)

// Gone is the Stamp of a file that is no longer there.
const Gone = "gone"

// Entry is one change. Values of secrets, and hashes of keys, are never in it.
type Entry struct {
	At     time.Time         `json:"at"`
	By     string            `json:"by,omitempty"`   // the user of the system, or the name given at the operators' door
	Via    string            `json:"via"`            // command, http or file
	From   string            `json:"from,omitempty"` // the address, or the machine of the command
	Kind   string            `json:"kind"`           // tenant, caller, settings or proxy
	Name   string            `json:"name,omitempty"` // of the tenant or caller
	Action string            `json:"action"`         // added, changed, removed, rotated, checked, drained and their like
	Before map[string]string `json:"before,omitempty"`
	After  map[string]string `json:"after,omitempty"` // of both only what differs

	// Stamp tells the file as this change left it from others: so who sees the
	// file change knows that it is told already.
	Stamp string `json:"stamp,omitempty"`
}

// Differing leaves in Before and After what differs. A value that is hidden in
// both stays: it may be another.
func (e Entry) Differing(hidden string) Entry {
	e.Before, e.After = maps.Clone(e.Before), maps.Clone(e.After)
	for name, value := range e.Before {
		if now, both := e.After[name]; both && now == value && value != hidden {
			delete(e.Before, name)
			delete(e.After, name)
		}
	}
	return e
}

const (
	inMemory    = 1000 // entries, where no file keeps them
	MostEntries = 1000 // that are told at once
)

// Log keeps entries: in files of Dir, or in memory without one. Several
// processes may keep theirs in one directory.
type Log struct {
	Dir string // "" for none
	Log zerolog.Logger

	mu        sync.Mutex // guards what follows
	memory    []Entry    // the oldest first: all without Dir, else those that could not be written
	lost      int        // entries for which there was room nowhere
	noticed   []Entry    // seen in files, and held back
	noticing  *time.Timer
	recording sync.WaitGroup
}

// Record keeps entries, in their order. An error says that they are not in a
// file: what they tell of has happened all the same, so they are kept in memory
// and written with the next that can be.
func (l *Log) Record(entries ...Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record(entries)
}

func (l *Log) record(entries []Entry) error {
	for i := range entries {
		if entries[i].At.IsZero() {
			entries[i].At = time.Now()
		}
		entries[i].At = entries[i].At.UTC().Truncate(time.Millisecond)
	}
	l.memory = append(l.memory, entries...)
	var err error
	if l.Dir != "" {
		if err = l.write(l.memory); err == nil {
			l.memory = nil
		}
	}
	if over := len(l.memory) - inMemory; over > 0 {
		l.memory = slices.Delete(l.memory, 0, over)
		l.lost += over
	}
	return err
}

// Recent are the latest entries, the newest first, and what is wrong with the
// record, or nil.
func (l *Log) Recent(limit int) ([]Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit = min(max(limit, 1), MostEntries)
	newest := slices.Clone(l.memory)
	slices.Reverse(newest)
	if len(newest) >= limit || l.Dir == "" {
		return newest[:min(limit, len(newest))], nil
	}
	kept, err := l.read(limit - len(newest))
	if len(newest) > 0 {
		err = errors.Join(fmt.Errorf("the newest entries, %d of them, could not be written to STATE_DIR and are kept in memory; %d were lost", len(l.memory), l.lost), err)
	}
	return append(newest, kept...), err
}

// Kept is where entries are kept: "file" or "memory".
func (l *Log) Kept() string {
	if l.Dir != "" {
		return "file"
	}
	return "memory"
}

// Operator is the user of the system who runs this process. One who has become
// another by sudo is told by both names.
func Operator(sudoUser string) string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudoUser != "" && sudoUser != name {
		return sudoUser + " as " + name
	}
	return name
}

func encode(entries []Entry) []byte {
	var text []byte
	for _, e := range entries {
		line, _ := json.Marshal(e) // strings and a time: nothing that could fail
		text = append(append(text, line...), '\n')
	}
	return text
}
