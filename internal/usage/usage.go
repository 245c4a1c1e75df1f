// Package usage counts who calls what: per tenant, caller, service and API
// version, by the hour for two days and by the day for a month. It survives a
// restart where STATE_DIR is set: a kill costs the last seconds. What strangers
// and callers can make up makes no rows without end.
package usage

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dynproxy/internal/statedir"
)

const (
	// longest is how far back usage is known.
	longest = 31 * 24 * time.Hour

	hourly     = 48 * time.Hour // how far back by the hour
	mostOfOne  = 100            // rows of one tenant, before callers are one
	mostRows   = 50_000         // likewise, of all
	mostCounts = 500_000        // hours and days of all rows, before less is kept
	hour       = 3600           // seconds
	day        = 24 * hour
)

// others stands for callers that are too many to tell apart.
const others = "(others)"

// Call is a call that has ended, as far as it counts.
type Call struct {
	Tenant     string
	Caller     string
	Path       string // at the organization
	Operations int    // that it may have carried out there; 0 where it was refused here
	Failed     bool
	At         time.Time
}

// key is what a row is about.
type key struct {
	tenant, caller string
	service        Service
	version        string
}

// span is an hour or a day: its beginning, as seconds since 1970.
type span struct {
	at  int64
	day bool
}

func hourOf(t time.Time) span { return span{at: t.Unix() - t.Unix()%hour} }

func (s span) ofDay() span { return span{s.at - s.at%day, true} }

func (s span) end() int64 {
	if s.day {
		return s.at + day
	}
	return s.at + hour
}

// counts are what is counted of a span.
type counts struct{ requests, operations, errors, last int64 }

func (c counts) plus(d counts) counts {
	return counts{c.requests + d.requests, c.operations + d.operations, c.errors + d.errors, max(c.last, d.last)}
}

// rows are counts by what they are about and when.
type rows map[key]map[span]counts

func (r rows) add(k key, s span, c counts) {
	if r[k] == nil {
		r[k] = make(map[span]counts)
	}
	r[k][s] = r[k][s].plus(c)
}

// Usage counts. What this process counts lies apart from what was kept before,
// and from what other processes on the same directory count.
type Usage struct {
	journal *statedir.Journal
	seed    maphash.Seed
	shards  [64]shard
	total   atomic.Int64 // rows

	counting sync.Mutex     // guards perOne
	perOne   map[string]int // rows of each tenant

	mu     sync.Mutex // guards what follows
	before rows       // that this process has found in its place
	beside rows       // of other processes
	stamp  string     // of those
	gone   map[string]bool
	folded int64 // the hour in which what is old was put together
}

// shard is a part of the rows, so that calls of different callers do not wait
// for each other.
type shard struct {
	mu      sync.RWMutex // guards rows
	rows    map[key]*row
	changed atomic.Bool
}

type row struct {
	mu    sync.Mutex // guards what follows
	spans map[span]counts
	at    span // that is counted in at present
	now   counts
	dirty bool   // whether now is not kept
	owed  []span // in spans, likewise
}

// Open returns a Usage that goes on where what is kept in dir ends.
func Open(dir *statedir.Dir) *Usage {
	u := &Usage{seed: maphash.MakeSeed(), before: make(rows), beside: make(rows), gone: make(map[string]bool), perOne: make(map[string]int)}
	for i := range u.shards {
		u.shards[i].rows = make(map[key]*row)
	}
	u.journal = dir.Journal("usage", u)
	return u
}

// Count counts c. It is quick, and takes no memory for a row that is there.
func (u *Usage) Count(c *Call) {
	k := key{tenant: c.Tenant, caller: c.Caller}
	k.service, k.version = serviceOf(c.Path)
	at, failed := hourOf(c.At), int64(0)
	if c.Failed {
		failed = 1
	}
	s, r := u.row(k)
	r.mu.Lock()
	if r.at != at {
		r.turn(at)
	}
	r.now.requests++
	r.now.operations += int64(c.Operations)
	r.now.errors += failed
	r.now.last = max(r.now.last, c.At.Unix())
	r.dirty = true
	r.mu.Unlock()
	if !s.changed.Load() {
		s.changed.Store(true)
	}
}

// turn goes on to another hour.
func (r *row) turn(at span) {
	if r.spans == nil {
		r.spans = make(map[span]counts)
	}
	if r.now != (counts{}) {
		r.spans[r.at] = r.now
	}
	if r.dirty {
		r.owed = append(r.owed, r.at)
	}
	r.at, r.now, r.dirty = at, r.spans[at], false
	delete(r.spans, at)
}

// row returns the row of k, which is another's where there are too many.
func (u *Usage) row(k key) (*shard, *row) {
	s := u.shard(k)
	s.mu.RLock()
	r := s.rows[k]
	s.mu.RUnlock()
	if r != nil {
		return s, r
	}
	if k.caller != others && (u.rowsOf(k.tenant) >= mostOfOne || u.total.Load() >= mostRows) {
		k.caller = others
		return u.row(k)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r = s.rows[k]; r == nil {
		k.tenant, k.caller = strings.Clone(k.tenant), strings.Clone(k.caller)
		r = &row{}
		s.rows[k] = r
		u.total.Add(1)
		u.counting.Lock()
		u.perOne[k.tenant]++
		u.counting.Unlock()
	}
	return s, r
}

func (u *Usage) rowsOf(tenant string) int {
	u.counting.Lock()
	defer u.counting.Unlock()
	return u.perOne[tenant]
}

// dropped counts that a row is gone.
func (u *Usage) dropped(k key) {
	u.total.Add(-1)
	u.counting.Lock()
	defer u.counting.Unlock()
	if u.perOne[k.tenant]--; u.perOne[k.tenant] <= 0 {
		delete(u.perOne, k.tenant)
	}
}

func (u *Usage) shard(k key) *shard {
	h := maphash.String(u.seed, k.tenant) ^ maphash.String(u.seed, k.caller)*31 ^ maphash.String(u.seed, k.version)
	return &u.shards[h%uint64(len(u.shards))]
}

// each calls f with every row of this process, under its lock.
func (u *Usage) each(f func(k key, r *row)) {
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.RLock()
		all := maps.Clone(s.rows)
		s.mu.RUnlock()
		for k, r := range all {
			r.mu.Lock()
			f(k, r)
			r.mu.Unlock()
		}
	}
}

// line is how counts are kept: those of a row in a span, all in all.
type line struct {
	Tenant     string  `json:"t"`
	Caller     string  `json:"c"`
	Service    Service `json:"s"`
	Version    string  `json:"v,omitempty"`
	At         int64   `json:"at"`
	Day        bool    `json:"day,omitempty"`
	Requests   int64   `json:"n"`
	Operations int64   `json:"o,omitempty"`
	Errors     int64   `json:"e,omitempty"`
	Last       int64   `json:"l"`
}

func encode(to *json.Encoder, k key, s span, c counts) {
	to.Encode(line{k.tenant, k.caller, k.service, k.version, s.at, s.day, c.requests, c.operations, c.errors, c.last})
}

// read takes a line into r, in the place of what stood there.
func (r rows) read(text []byte, oldest int64) {
	var l line
	if json.Unmarshal(text, &l) != nil || l.Tenant == "" || l.Requests <= 0 || l.At%hour != 0 {
		return
	}
	k, s := key{l.Tenant, l.Caller, l.Service, l.Version}, span{l.At, l.Day}
	if s.end() <= oldest {
		return
	}
	if r[k] == nil {
		r[k] = make(map[span]counts)
	}
	r[k][s] = counts{l.Requests, l.Operations, l.Errors, l.Last}
}

func oldest() int64 { return time.Now().Add(-longest).Unix() }

// Load is statedir.Content's.
func (u *Usage) Load(text []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.before.read(text, oldest())
}

// Whole is statedir.Content's.
func (u *Usage) Whole() []byte {
	u.mu.Lock()
	all := u.own()
	u.mu.Unlock()
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	for k, spans := range all {
		for s, c := range spans {
			encode(to, k, s, c)
		}
	}
	return text.Bytes()
}

// own are the rows of this process and of those that had its place before. u.mu
// is held.
func (u *Usage) own() rows {
	all := make(rows, len(u.before))
	for k, spans := range u.before {
		all[k] = maps.Clone(spans)
	}
	u.each(func(k key, r *row) {
		for s, c := range r.spans {
			all.add(k, s, c)
		}
		if r.now.requests > 0 {
			all.add(k, r.at, r.now)
		}
	})
	return all
}

// Keep writes what has been counted since. It is called every few seconds.
func (u *Usage) Keep() {
	u.mu.Lock()
	gone := u.gone
	u.gone = make(map[string]bool)
	folded := u.fold(time.Now())
	u.mu.Unlock()
	if folded || len(gone) > 0 {
		u.journal.Renew()
	}
	if len(gone) > 0 {
		u.journal.Forget(func(text []byte) bool {
			var l line
			return json.Unmarshal(text, &l) == nil && gone[l.Tenant]
		})
	}
	u.journal.Append(u.news())
}

// news are the lines of what has changed.
func (u *Usage) news() []byte {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.shards {
		s := &u.shards[i]
		if !s.changed.Swap(false) {
			continue
		}
		s.mu.RLock()
		for k, r := range s.rows {
			r.mu.Lock()
			for _, at := range r.owed {
				if c, there := r.spans[at]; there {
					encode(to, k, at, u.before[k][at].plus(c))
				}
			}
			if r.dirty {
				encode(to, k, r.at, u.before[k][r.at].plus(r.now))
			}
			r.dirty, r.owed = false, nil
			r.mu.Unlock()
		}
		s.mu.RUnlock()
	}
	return text.Bytes()
}

// Close keeps what there is, and ends the keeping.
func (u *Usage) Close() {
	u.Keep()
	u.journal.Close()
}
