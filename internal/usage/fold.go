package usage

import (
	"maps"
	"time"
)

// fold puts hours that are long past together into days, and drops what is
// older than is kept; once an hour. It reports whether it has. u.mu is held.
func (u *Usage) fold(now time.Time) bool {
	if at := hourOf(now).at; at == u.folded {
		return false
	}
	u.folded = hourOf(now).at
	byHour, all := hourly, longest
	size := 0
	u.each(func(_ key, r *row) { size += len(r.spans) + 1 })
	for _, spans := range u.before {
		size += len(spans)
	}
	if size > mostCounts {
		byHour, all = hourly/2, longest/2
	}
	hours, days := now.Add(-byHour).Unix(), now.Add(-all).Unix()
	changed := false
	for k, spans := range u.before {
		changed = foldSpans(spans, hours, days) || changed
		if len(spans) == 0 {
			delete(u.before, k)
		}
	}
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		maps.DeleteFunc(s.rows, func(k key, r *row) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.at.at <= hours && r.now.requests > 0 {
				r.turn(hourOf(now))
			}
			changed = foldSpans(r.spans, hours, days) || changed
			empty := len(r.spans) == 0 && r.now.requests == 0
			if empty {
				u.dropped(k)
			}
			return empty
		})
		s.mu.Unlock()
	}
	return changed
}

// foldSpans puts hours that end before that time into days, and drops what ends
// before the other.
func foldSpans(spans map[span]counts, hours, days int64) (changed bool) {
	for s, c := range spans {
		switch {
		case s.end() <= days:
			delete(spans, s)
			changed = true
		case !s.day && s.end() <= hours:
			delete(spans, s)
			spans[s.ofDay()] = spans[s.ofDay()].plus(c)
			changed = true
		}
	}
	return changed
}

// Retain forgets all tenants but those that are there; Keep does so on disk.
func (u *Usage) Retain(there func(tenant string) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	forget := func(k key) bool {
		if there(k.tenant) {
			return false
		}
		u.gone[k.tenant] = true
		return true
	}
	maps.DeleteFunc(u.before, func(k key, _ map[span]counts) bool { return forget(k) })
	maps.DeleteFunc(u.beside, func(k key, _ map[span]counts) bool { return forget(k) })
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		maps.DeleteFunc(s.rows, func(k key, _ *row) bool {
			gone := forget(k)
			if gone {
				u.dropped(k)
			}
			return gone
		})
		s.mu.Unlock()
	}
}
