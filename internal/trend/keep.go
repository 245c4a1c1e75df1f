package trend

import (
	"bytes"
	"encoding/json"
	"time"
)

// line is how a point is kept: all that is known of the step in its place.
type line struct {
	Tenant  string       `json:"t"`
	Level   int          `json:"s"` // 0 of the hour, 1 of the day, 2 of the week
	At      int64        `json:"at"`
	Calls   uint32       `json:"n"`
	Errors  uint32       `json:"e,omitempty"`
	Refused uint32       `json:"r,omitempty"`
	Times   [3][2]uint16 `json:"d"`
	Used    float32      `json:"u,omitempty"`
	Waiting uint32       `json:"w,omitempty"`
}

func encode(to *json.Encoder, tenant string, level int, p point) {
	to.Encode(line{tenant, level, p.at, p.calls, p.errors, p.refused, p.times, p.used, p.waiting})
}

// read is what a line says, false if it makes no sense or is too old.
func read(text []byte, now time.Time) (tenant string, p settled, ok bool) {
	var l line
	if json.Unmarshal(text, &l) != nil || l.Tenant == "" || l.Level < 0 || l.Level >= levels || l.At%steps[l.Level] != 0 {
		return "", settled{}, false
	}
	for _, t := range l.Times {
		if t[0] > finest || t[1] > finest {
			return "", settled{}, false
		}
	}
	if l.At < now.Unix()-kept[l.Level]-steps[l.Level] || l.At > now.Unix()+steps[l.Level] {
		return "", settled{}, false
	}
	return l.Tenant, settled{l.Level, point{l.At, l.Calls, l.Errors, l.Refused, l.Times, l.Used, l.Waiting}}, true
}

// Load is statedir.Content's. A later line of the same step replaces the
// former.
func (t *Trend) Load(text []byte) {
	tenant, p, ok := read(text, time.Now())
	if !ok {
		return
	}
	r := t.locked(tenant)
	defer r.mu.Unlock()
	for i := range r.past[p.level] {
		if q := &r.past[p.level][i]; q.at == p.at {
			*q = p.point
			return
		}
	}
	r.settle(p.level, p.point)
}

// Whole is statedir.Content's.
func (t *Trend) Whole() []byte {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	oldest := time.Now().Unix()
	for name, v := range t.tenants.Range {
		r := v.(*record)
		r.mu.Lock()
		for level := range levels {
			for _, p := range r.past[level] {
				if p.at >= oldest-kept[level] {
					encode(to, name.(string), level, p)
				}
			}
			if p := r.present(level); p.calls > 0 {
				encode(to, name.(string), level, p)
			}
		}
		r.mu.Unlock()
	}
	return text.Bytes()
}

// present is all that is known of the open step of a level.
func (r *record) present(level int) point {
	p := r.unsettled(level).point()
	for _, q := range r.past[level] {
		if q.at == p.at {
			p = q.and(p)
		}
	}
	return p
}

// Keep writes what is new. It is called every few seconds, and writes a step
// when it is over, and what it is so far when the one within it is.
func (t *Trend) Keep() { t.keep(time.Now(), false) }

func (t *Trend) keep(now time.Time, all bool) {
	minute := now.Unix() / steps[0]
	t.mu.Lock()
	gone := t.gone
	t.gone = make(map[string]bool)
	walk := all || minute != t.walked
	t.walked = minute
	t.mu.Unlock()
	if len(gone) > 0 {
		t.journal.Renew()
		t.journal.Forget(func(text []byte) bool {
			var l line
			return json.Unmarshal(text, &l) == nil && gone[l.Tenant]
		})
	}
	if !walk {
		t.journal.Append(nil)
		return
	}
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	for name, v := range t.tenants.Range {
		r := v.(*record)
		r.mu.Lock()
		r.turn(now.Unix())
		if r.prune(now.Unix()) {
			r.ended = true
			t.tenants.CompareAndDelete(name, r)
		}
		for _, p := range r.owed {
			encode(to, name.(string), p.level, p.point)
		}
		r.owed = nil
		for level := range levels {
			if (level > 0 || all) && r.dirty[level] {
				encode(to, name.(string), level, r.present(level))
				r.dirty[level] = false
			}
		}
		r.mu.Unlock()
	}
	t.journal.Append(text.Bytes())
}

// Close keeps what there is, and ends the keeping.
func (t *Trend) Close() {
	t.keep(time.Now(), true)
	t.journal.Close()
}

// others is what other processes have kept of a tenant.
func (t *Trend) others(tenant string) []settled {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stamp := t.journal.Stamp(); stamp != t.stamp {
		t.stamp = stamp
		t.beside = make(map[string][]settled)
		place := make(map[string]map[[2]int64]point)
		flush := func() {
			for name, points := range place {
				for at, p := range points {
					t.beside[name] = append(t.beside[name], settled{int(at[0]), p})
				}
			}
			clear(place)
		}
		now := time.Now()
		t.journal.Others(flush, func(text []byte) {
			if name, p, ok := read(text, now); ok {
				if place[name] == nil {
					place[name] = make(map[[2]int64]point)
				}
				place[name][[2]int64{int64(p.level), p.at}] = p.point
			}
		})
		flush()
	}
	return t.beside[tenant]
}
