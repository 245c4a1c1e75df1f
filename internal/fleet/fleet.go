// Package fleet is what all proxies know together. Each keeps its own; when
// somebody looks, the others are asked for theirs.
package fleet

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

	"github.com/rs/zerolog"

	"dynproxy/internal/audit"
	"dynproxy/internal/calls"
	"dynproxy/internal/cluster"
	"dynproxy/internal/panics"
	"dynproxy/internal/status"
	"dynproxy/internal/usage"
)

// Fleet is all proxies, as one of them sees them: what it has itself, and a
// way to the others.
type Fleet struct {
	*status.Board
	Remembered  *calls.Ring
	Counted     *usage.Usage
	Recorded    *audit.Log
	Entitlement func(tenant string) int // its DAILY_REQUESTS, 0 where none are set

	Dir    string          // in which Counted and Recorded are kept, "" for none
	Others *cluster.Client // off where there are none
	Vault  *cluster.Vault  // by which they are asked
	Log    zerolog.Logger

	mu      sync.Mutex // guards what follows
	asked   time.Time
	traffic map[string][]status.Traffic // of tenants at the others, as they said when they were asked
}

// What proxies ask each other.
const (
	askCalls     = "calls"
	askCall      = "call"
	askUsage     = "usage"
	askForecasts = "forecasts"
	askAudit     = "audit"
	askTraffic   = "traffic"
)

// question is what another proxy is asked.
type question struct {
	Place   string         `json:"place,omitempty"` // of the asker's records: who keeps its own there too is not asked
	Filter  calls.Filter   `json:"filter,omitzero"`
	Limit   int            `json:"limit,omitempty"`
	ID      string         `json:"id,omitempty"`
	Usage   usage.Question `json:"usage,omitzero"`
	Tenants []string       `json:"tenants,omitempty"`
}

// Answer says what this proxy knows. Whoever asks may be of another version: a
// fault costs it this answer.
func (f *Fleet) Answer(_ context.Context, kind string, content []byte) any {
	defer panics.Recover(f.Log, "question of another proxy", nil)
	var q question
	if json.Unmarshal(content, &q) != nil {
		return nil
	}
	kept := q.Place == "" || q.Place != f.place()
	switch {
	case kind == askCalls:
		return f.Remembered.Last(q.Filter, q.Limit)
	case kind == askCall:
		if d, known := f.Remembered.Explain(q.ID); known {
			return &d
		}
	case kind == askUsage && kept:
		return f.Counted.Rows(q.Usage)
	case kind == askForecasts && kept:
		return f.ownForecasts()
	case kind == askAudit && kept:
		entries, _ := f.Recorded.Recent(q.Limit)
		return entries
	case kind == askTraffic:
		var all []status.Traffic
		for _, name := range q.Tenants {
			if t, known := f.Board.Tenant(name); known {
				all = append(all, t.Of())
			}
		}
		return all
	}
	return nil
}

// place tells apart where proxies keep usage and audit: those of one directory
// have one record.
func (f *Fleet) place() string {
	if f.Dir == "" {
		return ""
	}
	machine, _ := os.Hostname()
	whole, err := filepath.Abs(f.Dir)
	if err != nil {
		whole = f.Dir
	}
	sum := sha256.Sum256([]byte(machine + "\x00" + whole))
	return hex.EncodeToString(sum[:8])
}

// ask asks the other proxies and returns what they answer.
func ask[T any](f *Fleet, kind string, q question) []T {
	if !f.Others.On() {
		return nil
	}
	q.Place = f.place()
	answers, missing := cluster.Ask[T](context.Background(), f.Vault, kind, q)
	if len(missing) > 0 {
		f.Log.Warn().Strs("members", missing).Str("asked", kind).Msg("other proxies did not answer in time: what is shown is without them")
	}
	var all []T
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		all = append(all, answers[name])
	}
	return all
}

// Calls are the calls of all proxies; those that are watched as they happen are
// this one's own.
type Calls struct {
	*calls.Ring
	fleet *Fleet
}

// AllCalls are the calls that any proxy remembers.
func (f *Fleet) AllCalls() Calls { return Calls{f.Remembered, f} }

// Last is calls.Ring's.
func (c Calls) Last(f calls.Filter, limit int) []*calls.Call {
	others := ask[[]*calls.Call](c.fleet, askCalls, question{Filter: f, Limit: limit})
	return calls.Merge(limit, append(others, c.Ring.Last(f, limit))...)
}

// Explain is calls.Ring's.
func (c Calls) Explain(id string) (calls.Detail, bool) {
	if d, known := c.Ring.Explain(id); known {
		return d, true
	}
	for _, d := range ask[*calls.Detail](c.fleet, askCall, question{ID: id}) {
		if d != nil && d.Call != nil {
			return *d, true
		}
	}
	return calls.Detail{}, false
}

// Usage is who called what, at all proxies.
func (f *Fleet) Usage(q usage.Question) []usage.Row {
	own := f.Counted.Rows(q)
	others := ask[[]usage.Row](f, askUsage, question{Usage: q})
	if len(others) == 0 {
		return own
	}
	return usage.Merge(append(others, own)...)
}

// Forecasts are what that comes to by the end of the day.
func (f *Fleet) Forecasts() []usage.Forecast {
	own := f.ownForecasts()
	others := ask[[]usage.Forecast](f, askForecasts, question{})
	if len(others) == 0 {
		return own
	}
	return usage.MergeForecasts(append(others, own)...)
}

// ownForecasts are by what this proxy has counted.
func (f *Fleet) ownForecasts() []usage.Forecast {
	return f.Counted.Forecasts(time.Now(), f.Entitlement)
}

// Audit is the record of changes, the newest first, and what is wrong with it.
func (f *Fleet) Audit(limit int) ([]audit.Entry, error) {
	own, err := f.Recorded.Recent(limit)
	others := ask[[]audit.Entry](f, askAudit, question{Limit: limit})
	if len(others) == 0 {
		return own, err
	}
	return audit.Merge(limit, append(others, own)...), err
}

// saidLately is how long what the others have said of calls is good.
const saidLately = 3 * time.Second

// Refresh is status.Board's, and asks the others too.
func (f *Fleet) Refresh(names []string) {
	f.Board.Refresh(names)
	said := make(map[string][]status.Traffic)
	for _, one := range ask[[]status.Traffic](f, askTraffic, question{Tenants: names}) {
		for _, t := range one {
			said[t.Name] = append(said[t.Name], t)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(said) == 0 {
		f.traffic = nil
		return
	}
	if time.Since(f.asked) > saidLately || f.traffic == nil {
		f.traffic = make(map[string][]status.Traffic)
	}
	maps.Copy(f.traffic, said)
	f.asked = time.Now()
}

// Tenant is status.Board's; its calls are those of all proxies.
func (f *Fleet) Tenant(name string) (status.Tenant, bool) {
	t, known := f.Board.Tenant(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.asked) < saidLately {
		for _, other := range f.traffic[t.Name] {
			t.Add(other)
		}
	}
	return t, known
}
