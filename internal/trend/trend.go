// Package trend knows how the calls of each tenant went over the last hour, day
// and week: how many, how many failed or were refused for want of budget, how
// long they took and where, and how far the budget was spent. It survives a
// restart where STATE_DIR is set: a kill costs the last minute. A tenant that
// nobody calls takes no room.
package trend

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/statedir"
)

// Call is a call that has ended, as far as it counts here.
type Call struct {
	Tenant  string
	Failed  bool
	Refused bool // by the proxy, since the budget had no room for it
	At      time.Time

	Own, Queue, Upstream time.Duration // parts of its time
}

// Span is how far back a picture goes, and how much time each of its points is.
type Span struct {
	Name       string // hour, day or week
	Long, Step time.Duration
}

// Spans are all of them, the shortest first.
func Spans() []Span {
	return []Span{{"hour", time.Hour, time.Minute}, {"day", 24 * time.Hour, 15 * time.Minute}, {"week", 7 * 24 * time.Hour, 2 * time.Hour}}
}

// Times are the durations that half of all calls and 95 of 100 did not exceed.
type Times struct{ P50, P95 time.Duration }

// Point is what was in one step of a span.
type Point struct {
	At                     time.Time // when the step began
	Calls, Errors, Refused int
	Own, Queue, Upstream   Times

	// The highest that was seen of the budget: requests in its window, and calls
	// that waited.
	Used    float64
	Waiting int
}

// levels is the number of spans. Steps of one are whole numbers of the steps of
// the one before, so that each is made of those.
const levels = 3

// steps are the lengths of the spans' steps, kept those of the spans, in
// seconds.
var steps, kept = func() (steps, kept [levels]int64) {
	for i, s := range Spans() {
		steps[i], kept[i] = int64(s.Step/time.Second), int64(s.Long/time.Second)
	}
	return
}()

// Trend is what is known.
type Trend struct {
	journal *statedir.Journal
	tenants sync.Map // name to *record

	mu     sync.Mutex           // guards what follows
	walked int64                // the minute in which the tenants were walked through
	beside map[string][]settled // of other processes on the same directory, by tenant
	stamp  string               // of those
	gone   map[string]bool      // tenants of which the disk still has something
}

// record is one tenant's.
type record struct {
	mu    sync.Mutex         // guards what follows
	open  [levels]*gathering // the steps that have begun; nil where nothing was in them
	past  [levels][]point    // the oldest first
	dirty [levels]bool       // whether open has something that is not kept
	owed  []settled          // that is not kept
	ended bool               // whether it was forgotten, since it held nothing
}

// Open goes on where what is kept in dir ends.
func Open(dir *statedir.Dir) *Trend {
	t := &Trend{beside: make(map[string][]settled), gone: make(map[string]bool)}
	t.journal = dir.Journal("trend", t)
	return t
}

// Count counts c. It is quick.
func (t *Trend) Count(c *Call) {
	r := t.locked(c.Tenant)
	defer r.mu.Unlock()
	r.now(c.At.Unix()).count(c)
	r.dirty = [levels]bool{true, true, true}
}

// locked returns the record of a tenant, locked.
func (t *Trend) locked(tenant string) *record {
	for {
		v, ok := t.tenants.Load(tenant)
		if !ok {
			v, _ = t.tenants.LoadOrStore(strings.Clone(tenant), &record{})
		}
		r := v.(*record)
		r.mu.Lock()
		if !r.ended {
			return r
		}
		r.mu.Unlock()
	}
}

// now is the smallest step that is open at that second.
func (r *record) now(at int64) *gathering {
	r.turn(at)
	if r.open[0] == nil {
		r.open[0] = &gathering{at: at - at%steps[0]}
	}
	return r.open[0]
}

// turn closes the steps that have ended by then. What was in one becomes a part
// of the next larger one. A clock that was set back closes nothing.
func (r *record) turn(at int64) {
	for level := range levels {
		g := r.open[level]
		if g == nil || at-at%steps[level] <= g.at {
			continue
		}
		r.open[level] = nil
		if level+1 < levels {
			r.gather(level+1, g)
		}
		r.settle(level, g.point())
		r.owed = append(r.owed, settled{level, r.last(level)})
		r.dirty[level] = false
	}
}

// gather puts g into the open step of a larger level, which it may begin.
func (r *record) gather(level int, g *gathering) {
	at := g.at - g.at%steps[level]
	if larger := r.open[level]; larger != nil && larger.at < at {
		r.open[level] = nil
		if level+1 < levels {
			r.gather(level+1, larger)
		}
		r.settle(level, larger.point())
		r.owed = append(r.owed, settled{level, r.last(level)})
	}
	if r.open[level] == nil {
		r.open[level] = &gathering{at: at}
	}
	r.open[level].add(g)
}

// settle puts p among the past, together with what is there of the same step:
// that of this place's former process.
func (r *record) settle(level int, p point) {
	past := r.past[level]
	i, there := slices.BinarySearchFunc(past, p.at, func(q point, at int64) int { return int(q.at - at) })
	if there {
		past[i] = past[i].and(p)
	} else {
		past = slices.Insert(past, i, p)
	}
	r.past[level] = past
}

// prune drops what is too old to be shown, and reports whether nothing is left.
func (r *record) prune(now int64) (empty bool) {
	empty = true
	for level, past := range r.past {
		from, _ := slices.BinarySearchFunc(past, now-kept[level]-steps[level], func(q point, at int64) int { return int(q.at - at) })
		r.past[level] = slices.Delete(past, 0, from)
		empty = empty && from == len(past) && r.open[level] == nil
	}
	return empty
}

func (r *record) last(level int) point { return r.past[level][len(r.past[level])-1] }

// Active are the tenants with a call in the present minute.
func (t *Trend) Active(now time.Time) []string {
	var names []string
	for name, v := range t.tenants.Range {
		r := v.(*record)
		r.mu.Lock()
		if g := r.open[0]; g != nil && g.at == now.Unix()-now.Unix()%steps[0] {
			names = append(names, name.(string))
		}
		r.mu.Unlock()
	}
	return names
}

// Level notes how far a tenant's budget is spent at the moment, and how many
// calls wait for it.
func (t *Trend) Level(tenant string, used float64, waiting int, now time.Time) {
	r := t.locked(tenant)
	defer r.mu.Unlock()
	if g := r.now(now.Unix()); used > g.used || waiting > g.waiting {
		g.used, g.waiting = max(g.used, used), max(g.waiting, waiting)
		r.dirty = [levels]bool{true, true, true}
	}
}

// Of returns a tenant's points of a span until now, the oldest first: one for
// each step, those without a call included; the last one is not over.
func (t *Trend) Of(tenant string, s Span, now time.Time) []Point {
	level := slices.IndexFunc(Spans(), func(known Span) bool { return known.Name == s.Name })
	step := steps[level]
	last := now.Unix() - now.Unix()%step
	points := make([]point, kept[level]/step)
	first := last - int64(len(points)-1)*step
	put := func(p point) {
		if i := (p.at - first) / step; p.at >= first && i < int64(len(points)) {
			points[i] = points[i].and(p)
		}
	}
	if v, ok := t.tenants.Load(tenant); ok {
		r := v.(*record)
		r.mu.Lock()
		r.turn(now.Unix())
		for _, p := range r.past[level] {
			put(p)
		}
		put(r.unsettled(level).point())
		r.mu.Unlock()
	}
	for _, p := range t.others(tenant) {
		if p.level == level {
			put(p.point)
		}
	}
	all := make([]Point, len(points))
	for i, p := range points {
		p.at = first + int64(i)*step
		all[i] = p.public()
	}
	return all
}

// unsettled is what the open step of a level holds with that of the smaller
// ones, which will become a part of it.
func (r *record) unsettled(level int) *gathering {
	whole := &gathering{}
	for _, g := range r.open[:level+1] {
		if g != nil {
			whole.at = max(whole.at, g.at-g.at%steps[level])
		}
	}
	for _, g := range r.open[:level+1] {
		if g != nil && g.at-g.at%steps[level] == whole.at {
			whole.add(g)
		}
	}
	return whole
}

// Retain forgets all tenants but those that are there; Keep does so on disk.
func (t *Trend) Retain(there func(tenant string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.tenants.Range {
		if !there(name.(string)) {
			t.tenants.Delete(name)
			t.gone[name.(string)] = true
		}
	}
	maps.DeleteFunc(t.beside, func(name string, _ []settled) bool {
		if !there(name) {
			t.gone[name] = true
		}
		return !there(name)
	})
}
