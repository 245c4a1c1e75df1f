package main

import (
	"fmt"
	"slices"
)

// counters counts the writes of a lap, or of all.
type counters struct {
	done, not, maybe, found, reads int
	refused                        map[string]int // why
}

func (t counters) plus(u counters) counters {
	sum := counters{t.done + u.done, t.not + u.not, t.maybe + u.maybe, t.found + u.found, t.reads + u.reads, make(map[string]int)}
	for _, one := range []counters{t, u} {
		for why, n := range one.refused {
			sum.refused[why] += n
		}
	}
	return sum
}

func (t counters) String() string {
	return fmt.Sprintf("%d writes done, %d refused %v, %d untold of which %d done, %d reads", t.done, t.not, t.refused, t.maybe, t.found, t.reads)
}

// compare holds what callers were told against what the organization has.
func (l *ledger) compare(counted map[string]int) (counters, error) {
	if l.torn != nil {
		return counters{}, l.torn
	}
	t := counters{reads: l.reads, refused: l.refused}
	for id, told := range l.fates {
		n := counted[id]
		switch {
		case n > 1:
			return t, fmt.Errorf("%s was done %d times", id, n)
		case told == done && n == 0:
			return t, fmt.Errorf("%s is lost, though its caller was told of success", id)
		case told == not && n == 1:
			return t, fmt.Errorf("%s was done, though its caller was told that it was not", id)
		}
		switch told {
		case done:
			t.done++
		case not:
			t.not++
		default:
			t.maybe++
			t.found += n
		}
	}
	for id := range counted {
		if _, sent := l.fates[id]; !sent {
			return t, fmt.Errorf("nobody has sent %s", id)
		}
	}
	if t.done == 0 || t.reads == 0 {
		return t, fmt.Errorf("nothing was done: %v", t)
	}
	return t, nil
}

// sample is what the proxy holds when all is still.
type sample struct{ heap, goroutines, descriptors float64 }

func (s sample) String() string {
	return fmt.Sprintf("%.1f MiB to the next collection, %.0f goroutines, %.0f descriptors", s.heap/(1<<20), s.goroutines, s.descriptors)
}

// flat judges whether anything grows. Of the samples after a third, in which
// pools fill, the medians of the first and of the last half are compared: what
// leaks leaks in every lap. The slack is what connections that are kept, and not
// always as many, account for.
func flat(samples []sample) error {
	settled := samples[len(samples)/3:]
	early, late := settled[:len(settled)/2], settled[len(settled)/2:]
	if len(early) == 0 {
		return fmt.Errorf("%d laps are too few", len(samples))
	}
	for _, figure := range []struct {
		name  string
		of    func(sample) float64
		slack float64
	}{
		{"heap", func(s sample) float64 { return s.heap }, 4 << 20},
		{"goroutines", func(s sample) float64 { return s.goroutines }, 20},
		{"descriptors", func(s sample) float64 { return s.descriptors }, 10},
	} {
		before, after := median(early, figure.of), median(late, figure.of)
		fmt.Printf("%s: %.0f, later %.0f\n", figure.name, before, after)
		if after > before*1.1+figure.slack {
			return fmt.Errorf("%s grow: the median was %.0f and came to %.0f", figure.name, before, after)
		}
	}
	return nil
}

func median(samples []sample, of func(sample) float64) float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, of(s))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
