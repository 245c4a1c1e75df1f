package limits

import (
	"encoding/json"
	"math"
	"time"
)

// learning is what was told to the other proxies of what answers have taught.
type learning struct {
	number  int64   // of the news that we know
	told    lessons // as they were told or heard last
	telling lessons // in the report under way
}

// lessons is what answers have taught about the limits, with the store's clock
// in place of our own. A later version may add to it; what is missing is zero.
type lessons struct {
	Span        time.Duration `json:"w,omitempty"` // named by a refusal
	Requests    lesson        `json:"r,omitzero"`
	Execution   lesson        `json:"e,omitzero"`
	Concurrency lesson        `json:"c,omitzero"`
	Until       time.Duration `json:"u,omitempty"` // the gate is closed
	Slots       int32         `json:"s,omitempty"`
	Kind        LimitKind     `json:"k,omitempty"`
}

// lesson is what is known of one limit.
type lesson struct {
	Named  float64       `json:"n,omitempty"`
	Doubt  heldBack      `json:"d,omitzero"`
	Others heldBack      `json:"o,omitzero"`
	Bias   float64       `json:"b,omitempty"`
	BiasAt time.Duration `json:"a,omitempty"`
}

// heldBack is a backoff.
type heldBack struct {
	Held     float64       `json:"h,omitempty"`
	Since    time.Duration `json:"s,omitempty"`
	ProbeAt  time.Duration `json:"p,omitempty"`
	Failures int           `json:"f,omitempty"`
	Step     float64       `json:"t,omitempty"`
}

// lessons are the news for the other proxies, nil for none.
func (l *ledger) lessons(now time.Duration) []byte {
	x := l.shared
	if x.generation == "" || x.isApart {
		return nil // the clock of the store is not known well enough
	}
	offset := x.clock - x.got
	mine := lessons{
		Requests:    l.requests.lesson(offset, l.requests.biasNow(now), l.requests.biasAt),
		Execution:   l.execution.lesson(offset, l.execution.biasNow(now), l.execution.biasAt),
		Concurrency: l.concurrency.lesson(offset, 0, 0),
		Kind:        l.cooldown.kind,
		Slots:       l.cooldown.slots,
	}
	if l.span != l.budget.Window {
		mine.Span = l.span
	}
	if l.cooldown.slots > 0 {
		mine.Until = l.cooldown.until + offset
	}
	if !mine.news(x.learning.told, l) {
		return nil
	}
	x.learning.telling = mine
	told, err := json.Marshal(mine)
	if err != nil {
		return nil
	}
	return told
}

// news reports whether others must hear of it.
func (m lessons) news(told lessons, l *ledger) bool {
	return m.Span != told.Span || m.Slots != told.Slots || away(m.Until, told.Until) ||
		m.Requests.news(told.Requests, l.requests.limit()) || m.Execution.news(told.Execution, l.execution.limit()) ||
		m.Concurrency.news(told.Concurrency, l.concurrency.limit())
}

// away reports whether two instants differ by more than a way to the store may.
func away(a, b time.Duration) bool { return a-b > patience || b-a > patience }

func (m lesson) news(told lesson, limit float64) bool {
	little := limit / 50
	return m.Named != told.Named || m.Doubt.news(told.Doubt) || m.Others.news(told.Others) ||
		!math.IsInf(limit, 1) && (math.Abs(m.Bias-told.Bias) > little)
}

func (h heldBack) news(told heldBack) bool {
	return h.Held != told.Held || h.Failures != told.Failures || h.Step > 2*told.Step || h.Held > 0 && away(h.ProbeAt, told.ProbeAt)
}

func (c *ceiling) lesson(offset time.Duration, bias float64, biasAt time.Duration) lesson {
	m := lesson{Named: c.named, Doubt: c.doubt.heldBack(offset), Others: c.others.heldBack(offset)}
	if bias != 0 {
		m.Bias, m.BiasAt = bias, biasAt+offset
	}
	return m
}

func (b *backoff) heldBack(offset time.Duration) heldBack {
	if b.held == 0 && b.since == 0 {
		return heldBack{}
	}
	return heldBack{b.held, b.since + offset, b.probeAt + offset, b.failures, b.step}
}

func (h heldBack) backoff(offset time.Duration) backoff {
	if h.Since == 0 {
		return backoff{}
	}
	return backoff{h.Held, h.Since - offset, h.ProbeAt - offset, h.Failures, h.Step}
}

// learn takes the news of another proxy. Of two that have learned of one limit
// at the same time who was refused last is right.
func (l *ledger) learn(told []byte, now time.Duration) {
	var theirs lessons
	if json.Unmarshal(told, &theirs) != nil {
		return
	}
	x := l.shared
	offset := x.clock - x.got
	if theirs.Span > 0 && theirs.Span != l.span && theirs.Span <= longestWindow*l.budget.Window {
		l.stretch(now, theirs.Span)
	}
	l.requests.hear(theirs.Requests, offset)
	l.execution.hear(theirs.Execution, offset)
	l.concurrency.hear(theirs.Concurrency, offset)
	x.learning.told = theirs
	until := theirs.Until - offset
	switch {
	case theirs.Slots == 0 && l.cooldown.slots > 0 && now > l.cooldown.until:
		l.cooldown.slots = 0 // another has opened it
	case theirs.Slots > 0 && until > now && until > l.cooldown.until+patience:
		l.cooldown = cooldown{until, 1, theirs.Kind}
		l.evict(now)
	case theirs.Slots > l.cooldown.slots && l.cooldown.slots > 0:
		l.cooldown.slots = theirs.Slots
	}
}

func (m *budgetCounter) hear(theirs lesson, offset time.Duration) {
	m.ceiling.hear(theirs, offset)
	if at := theirs.BiasAt - offset; theirs.BiasAt > 0 && at > m.biasAt {
		m.bias, m.biasAt = theirs.Bias, at
		if m.named > 0 || m.fixed {
			m.bias = math.Min(m.bias, 0)
		}
	}
}

func (c *ceiling) hear(theirs lesson, offset time.Duration) {
	mine := max(c.doubt.since, c.others.since)
	then := max(theirs.Doubt.Since, theirs.Others.Since) - offset
	if mine > then+patience {
		return
	}
	c.named, c.doubt, c.others = theirs.Named, theirs.Doubt.backoff(offset), theirs.Others.backoff(offset)
}
