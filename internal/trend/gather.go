package trend

import (
	"math"
	"slices"
	"time"
)

// gathering is a step that is not over.
type gathering struct {
	at                     int64 // when it began, in seconds since 1970
	calls, errors, refused uint32
	parts                  [3]histogram // own, queue, upstream
	used                   float64
	waiting                int
}

func (g *gathering) count(c *Call) {
	g.calls++
	if c.Failed {
		g.errors++
	}
	if c.Refused {
		g.refused++
	}
	for i, took := range [...]time.Duration{c.Own, c.Queue, c.Upstream} {
		g.parts[i].add(scale(took), 1)
	}
}

// add adds what h holds, a step within this one.
func (g *gathering) add(h *gathering) {
	g.calls, g.errors, g.refused = g.calls+h.calls, g.errors+h.errors, g.refused+h.refused
	for i := range g.parts {
		for _, b := range h.parts[i] {
			g.parts[i].add(b.of, b.n)
		}
	}
	g.used, g.waiting = max(g.used, h.used), max(g.waiting, h.waiting)
}

func (g *gathering) point() point {
	p := point{at: g.at, calls: g.calls, errors: g.errors, refused: g.refused, used: float32(g.used), waiting: uint32(g.waiting)}
	for i := range g.parts {
		p.times[i] = [2]uint16{g.parts[i].quantile(0.5), g.parts[i].quantile(0.95)}
	}
	return p
}

// histogram counts durations by their scale, in ascending order. Calls of one
// tenant take a handful of different ones.
type histogram []bin

type bin struct {
	of uint16
	n  uint32
}

// binsAnOctave is how finely durations are told apart: by some six percent.
const (
	binsAnOctave = 12
	finest       = 4096 / binsAnOctave * binsAnOctave
)

func (h *histogram) add(scale uint16, n uint32) {
	i, there := slices.BinarySearchFunc(*h, scale, func(b bin, of uint16) int { return int(b.of) - int(of) })
	if !there {
		*h = slices.Insert(*h, i, bin{of: scale})
	}
	(*h)[i].n += n
}

func (h histogram) quantile(q float64) uint16 {
	var all, seen uint32
	for _, b := range h {
		all += b.n
	}
	for _, b := range h {
		if seen += b.n; float64(seen) >= q*float64(all) {
			return b.of
		}
	}
	return 0
}

// scale is a duration as the number of steps, a twelfth of an octave each,
// above a microsecond; 0 for none.
func scale(d time.Duration) uint16 {
	if d < time.Microsecond {
		return 0
	}
	return uint16(min(finest, 1+math.Round(binsAnOctave*math.Log2(float64(d)/float64(time.Microsecond)))))
}

func unscale(s uint16) time.Duration {
	if s == 0 {
		return 0
	}
	return time.Duration(math.Exp2(float64(s-1)/binsAnOctave) * float64(time.Microsecond))
}

// point is a step as it is kept: a Point in as few bytes as will do.
type point struct {
	at                     int64
	calls, errors, refused uint32
	times                  [3][2]uint16 // own, queue, upstream: scales of p50 and p95
	used                   float32
	waiting                uint32
}

// settled is a point of a level.
type settled struct {
	level int
	point
}

// and is p and q as one: two processes have served calls in the same step.
// Their durations weigh as many as their calls.
func (p point) and(q point) point {
	whole := point{
		at: p.at, calls: p.calls + q.calls, errors: p.errors + q.errors, refused: p.refused + q.refused,
		used: max(p.used, q.used), waiting: max(p.waiting, q.waiting),
	}
	for i := range p.times {
		for j := range p.times[i] {
			sum := float64(p.times[i][j])*float64(p.calls) + float64(q.times[i][j])*float64(q.calls)
			whole.times[i][j] = uint16(sum / max(1, float64(whole.calls)))
		}
	}
	return whole
}

func (p point) public() Point {
	t := func(i int) Times { return Times{unscale(p.times[i][0]), unscale(p.times[i][1])} }
	return Point{
		At: time.Unix(p.at, 0), Calls: int(p.calls), Errors: int(p.errors), Refused: int(p.refused),
		Own: t(0), Queue: t(1), Upstream: t(2), Used: float64(p.used), Waiting: int(p.waiting),
	}
}
