// Package history knows how tenants were: their states, since when each held,
// and when nobody was there to look. It survives a restart where STATE_DIR is
// set, and is bounded whatever comes.
package history

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"dynproxy/internal/statedir"
)

const (
	// kept is how far back states are known.
	kept = 31 * 24 * time.Hour

	mostOfOne = 100 // changes of one tenant
	mostGaps  = 200
	shortGap  = 90 * time.Second // what is shorter is a restart, and drawn as if there were none
)

// Event is a change of a tenant's state, which holds until the next.
type Event struct {
	At    time.Time `json:"at"`
	State string    `json:"state"`
	Why   string    `json:"why,omitempty"` // the code that callers got, "" for none
}

// Gap is a time in which no proxy ran that could have looked.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// line is how either is kept.
type line struct {
	Tenant string `json:"tenant,omitempty"`
	Event
	From time.Time `json:"from,omitzero"` // of a gap, which ends At
}

// History is what is known.
type History struct {
	journal *statedir.Journal

	mu      sync.Mutex         // guards what follows
	tenants map[string][]Event // the oldest first
	gaps    []Gap              // likewise
	gone    map[string]bool    // tenants of which the disk still has something
}

// Open reads what was kept in dir, and notes for how long nothing was.
func Open(dir *statedir.Dir) *History {
	h := &History{tenants: make(map[string][]Event), gone: make(map[string]bool)}
	h.journal = dir.Journal("states", h)
	h.journal.Others(nil, h.Load)
	now := time.Now()
	if seen := dir.Seen(); !seen.IsZero() && now.Sub(seen) > shortGap {
		h.append(line{Event: Event{At: now}, From: seen})
	}
	return h
}

// Load is statedir.Content's.
func (h *History) Load(text []byte) {
	var l line
	if json.Unmarshal(text, &l) != nil || l.At.IsZero() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.take(l)
}

// take puts l in its place. It reports false for what is known.
func (h *History) take(l line) bool {
	if l.Tenant == "" {
		gap := Gap{l.From, l.At}
		at, known := slices.BinarySearchFunc(h.gaps, gap, func(a, b Gap) int { return a.To.Compare(b.To) })
		if !known {
			h.gaps = slices.Insert(h.gaps, at, gap)
			h.gaps = h.gaps[max(0, len(h.gaps)-mostGaps):]
		}
		return !known
	}
	events := h.tenants[l.Tenant]
	at, known := slices.BinarySearchFunc(events, l.Event, func(a, b Event) int { return a.At.Compare(b.At) })
	if known || at > 0 && events[at-1].State == l.State {
		return false
	}
	events = slices.Insert(events, at, l.Event)
	h.tenants[l.Tenant] = events[old(events):]
	return true
}

// old is how many of events are not kept: what is too old, but for the state
// that held when that began, and too many.
func old(events []Event) int {
	limit := time.Now().Add(-kept)
	n := max(0, len(events)-mostOfOne)
	for n+1 < len(events) && events[n+1].At.Before(limit) {
		n++
	}
	return n
}

// Whole is statedir.Content's.
func (h *History) Whole() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	for _, g := range h.gaps {
		to.Encode(line{Event: Event{At: g.To}, From: g.From})
	}
	for _, tenant := range slices.Sorted(maps.Keys(h.tenants)) {
		for _, e := range h.tenants[tenant] {
			to.Encode(line{Tenant: tenant, Event: e})
		}
	}
	return text.Bytes()
}

// Note notes that tenant is in this state from at on. One that it is in already
// is no news.
func (h *History) Note(tenant, state, why string, at time.Time) {
	h.append(line{Tenant: tenant, Event: Event{At: at.Round(0).UTC(), State: state, Why: why}})
}

func (h *History) append(l line) {
	h.mu.Lock()
	news := h.take(l)
	h.mu.Unlock()
	if !news {
		return
	}
	if text, err := json.Marshal(l); err == nil {
		h.journal.Append(append(text, '\n'))
	}
}

// Keep brings the disk up to date: with what could not be kept before, and
// without what was forgotten. It is called now and then.
func (h *History) Keep() {
	h.mu.Lock()
	gone := h.gone
	h.gone = make(map[string]bool)
	h.mu.Unlock()
	if len(gone) == 0 {
		h.journal.Append(nil)
		return
	}
	h.journal.Renew()
	h.journal.Forget(func(text []byte) bool {
		var l line
		return json.Unmarshal(text, &l) == nil && gone[l.Tenant]
	})
}

// Of returns the states of a tenant, the oldest first.
func (h *History) Of(tenant string) []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.tenants[tenant])
}

// Turn is a change of some tenant's state.
type Turn struct {
	Tenant string
	Event
	Before string // the state before, "" where that is not known
}

// Recent are the last turns of all tenants, the newest first; what became known
// of a tenant first is none.
func (h *History) Recent(limit int) []Turn {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Turn
	for tenant, events := range h.tenants {
		for i := len(events) - 1; i > 0 && i >= len(events)-limit; i-- {
			all = append(all, Turn{tenant, events[i], events[i-1].State})
		}
	}
	slices.SortFunc(all, func(a, b Turn) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Tenant, b.Tenant)) })
	return all[:min(limit, len(all))]
}

// Last returns the state that the tenant is known to be in.
func (h *History) Last(tenant string) (Event, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.tenants[tenant]
	if len(events) == 0 {
		return Event{}, false
	}
	return events[len(events)-1], true
}

// Gaps are when no proxy ran, the oldest first.
func (h *History) Gaps() []Gap {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.gaps)
}

// Retain forgets all tenants but those that are there; Keep does so on disk.
func (h *History) Retain(there func(tenant string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for tenant := range h.tenants {
		if !there(tenant) {
			delete(h.tenants, tenant)
			h.gone[tenant] = true
		}
	}
}

// Close ends the keeping.
func (h *History) Close() { h.journal.Close() }
