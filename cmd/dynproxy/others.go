package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"dynproxy/internal/audit"
	"dynproxy/internal/calls"
	"dynproxy/internal/cluster"
	"dynproxy/internal/panics"
	"dynproxy/internal/status"
	"dynproxy/internal/usage"
)

// What proxies ask each other, when somebody looks; until then it costs nothing.
const (
	askCalls     = "calls"
	askCall      = "call"
	askUsage     = "usage"
	askForecasts = "forecasts"
	askAudit     = "audit"
	askTraffic   = "traffic"
)

// asked is a question of another proxy.
type asked struct {
	Place   string         `json:"place,omitempty"` // of the asker's records: who keeps its own there too is not asked
	Filter  calls.Filter   `json:"filter,omitzero"`
	Limit   int            `json:"limit,omitempty"`
	ID      string         `json:"id,omitempty"`
	Usage   usage.Question `json:"usage,omitzero"`
	Tenants []string       `json:"tenants,omitempty"`
}

// answer says what this proxy knows. Whoever asks may be of another version: a
// fault costs it this answer.
func (h *server) answer(_ context.Context, kind string, content []byte) (said any) {
	defer panics.Recover(h.log, "question of another proxy", func() { said = nil })
	var q asked
	if json.Unmarshal(content, &q) != nil {
		return nil
	}
	kept := q.Place == "" || q.Place != h.recordPlace()
	switch {
	case kind == askCalls:
		return h.remembered.Last(q.Filter, q.Limit)
	case kind == askCall:
		if d, known := h.remembered.Explain(q.ID); known {
			return &d
		}
	case kind == askUsage && kept:
		return h.kept.usage.Rows(q.Usage)
	case kind == askForecasts && kept:
		return portalSource{h.board, h}.ownForecasts()
	case kind == askAudit && kept:
		entries, _ := h.audit.Recent(q.Limit)
		return entries
	case kind == askTraffic:
		var all []status.Traffic
		for _, name := range q.Tenants {
			if t, known := h.board.Tenant(name); known {
				all = append(all, t.Of())
			}
		}
		return all
	}
	return nil
}

// recordPlace tells apart where proxies keep usage and audit: those of one
// directory have one record.
func (h *server) recordPlace() string {
	dir := h.config().StateDir
	if dir == "" {
		return ""
	}
	machine, _ := os.Hostname()
	whole, err := filepath.Abs(dir)
	if err != nil {
		whole = dir
	}
	sum := sha256.Sum256([]byte(machine + "\x00" + whole))
	return hex.EncodeToString(sum[:8])
}

// everyone asks the other proxies and returns what they answer.
func everyone[T any](h *server, kind string, q asked) []T {
	if !h.cluster.On() {
		return nil
	}
	q.Place = h.recordPlace()
	answers, missing := cluster.Ask[T](context.Background(), h.vault, kind, q)
	if len(missing) > 0 {
		h.log.Warn().Strs("members", missing).Str("asked", kind).Msg("other proxies did not answer in time: what is shown is without them")
	}
	var all []T
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		all = append(all, answers[name])
	}
	return all
}

// everyonesCalls are the calls of all proxies; those that are watched as they
// happen are this one's own.
type everyonesCalls struct {
	*calls.Ring
	server *server
}

// Last is calls.Ring's.
func (e everyonesCalls) Last(f calls.Filter, limit int) []*calls.Call {
	others := everyone[[]*calls.Call](e.server, askCalls, asked{Filter: f, Limit: limit})
	return calls.Merge(limit, append(others, e.Ring.Last(f, limit))...)
}

// Explain is calls.Ring's.
func (e everyonesCalls) Explain(id string) (calls.Detail, bool) {
	if d, known := e.Ring.Explain(id); known {
		return d, true
	}
	for _, d := range everyone[*calls.Detail](e.server, askCall, asked{ID: id}) {
		if d != nil && d.Call != nil {
			return *d, true
		}
	}
	return calls.Detail{}, false
}

// Usage is portal.Source's.
func (p portalSource) Usage(q usage.Question) []usage.Row {
	own := p.server.kept.usage.Rows(q)
	others := everyone[[]usage.Row](p.server, askUsage, asked{Usage: q})
	if len(others) == 0 {
		return own
	}
	return usage.Merge(append(others, own)...)
}

// Forecasts is portal.Source's.
func (p portalSource) Forecasts() []usage.Forecast {
	own := p.ownForecasts()
	others := everyone[[]usage.Forecast](p.server, askForecasts, asked{})
	if len(others) == 0 {
		return own
	}
	return usage.MergeForecasts(append(others, own)...)
}

// ownForecasts are by what this proxy has counted.
func (p portalSource) ownForecasts() []usage.Forecast {
	return p.server.kept.usage.Forecasts(time.Now(), func(tenant string) int {
		if t := p.server.book.Lookup(tenant); t != nil {
			return t.DailyRequests
		}
		return 0
	})
}

// Audit is portal.Source's.
func (p portalSource) Audit(limit int) ([]audit.Entry, error) { return p.server.recent(limit) }

// recent is the record of all proxies.
func (h *server) recent(limit int) ([]audit.Entry, error) {
	own, err := h.audit.Recent(limit)
	others := everyone[[]audit.Entry](h, askAudit, asked{Limit: limit})
	if len(others) == 0 {
		return own, err
	}
	return audit.Merge(limit, append(others, own)...), err
}

// elsewhere is what other proxies have said of tenants' calls, a moment ago.
type elsewhere struct {
	mu    sync.Mutex // guards what follows
	asked time.Time
	of    map[string][]status.Traffic
}

const saidLately = 3 * time.Second

// Refresh is portal.Source's: it asks the others too.
func (p portalSource) Refresh(names []string) {
	p.Board.Refresh(names)
	said := make(map[string][]status.Traffic)
	for _, one := range everyone[[]status.Traffic](p.server, askTraffic, asked{Tenants: names}) {
		for _, t := range one {
			said[t.Name] = append(said[t.Name], t)
		}
	}
	e := &p.server.elsewhere
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(said) == 0 {
		e.of = nil
		return
	}
	if time.Since(e.asked) > saidLately || e.of == nil {
		e.of = make(map[string][]status.Traffic)
	}
	maps.Copy(e.of, said)
	e.asked = time.Now()
}

// Tenant is portal.Source's: its calls are those of all proxies.
func (p portalSource) Tenant(name string) (status.Tenant, bool) {
	t, known := p.Board.Tenant(name)
	e := &p.server.elsewhere
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.asked) < saidLately {
		for _, other := range e.of[t.Name] {
			t.Add(other)
		}
	}
	return t, known
}
