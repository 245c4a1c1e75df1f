package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Bounds of what ours may take, in KiB a connection and MiB in all.
const (
	mostIdle     = 24
	mostInFlight = 64
	mostLarge    = 32
	mostTenants  = 96
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// settles is how long a process is given to come to rest before its memory is
// read.
const settles = 5 * time.Second

// memory measures what peers hold, each in a fresh process: a step from some
// connections to many, so that what a program takes for itself is left out.
func (f *field) memory(t *table) error {
	for _, s := range starters {
		if s.name == "nginx again" || f.short && s.name == "Caddy" {
			continue
		}
		limit := func(most float64) float64 {
			if s.name == us {
				return most
			}
			return 0
		}
		idle, err := f.step(s, 2000, 8000, f.idle)
		if err != nil {
			return fmt.Errorf("%s, idle: %w", s.name, err)
		}
		t.amount("idle connection", s.name, idle/kib, "%.1f KiB", limit(mostIdle))
		flight, err := f.step(s, 500, 2500, f.inFlight)
		if err != nil {
			return fmt.Errorf("%s, in flight: %w", s.name, err)
		}
		t.amount("call in flight", s.name, flight/kib, "%.1f KiB", limit(mostInFlight))
		large, err := f.large(s)
		if err != nil {
			return fmt.Errorf("%s, 5 MB: %w", s.name, err)
		}
		t.amount("8 callers of 5 MB pages, RSS at the most", s.name, large/mib, "%.0f MiB", limit(mostLarge))
	}
	return nil
}

// step returns the bytes that one more of what hold brings takes.
func (f *field) step(s starter, some, many int, hold func(*peer, int) (crowd, error)) (float64, error) {
	if f.short {
		some, many = 10, 30
	}
	p, err := f.begin(s)
	if err != nil {
		return 0, err
	}
	defer f.End(p.root)
	var at [2]float64
	for i, n := range []int{some, many - some} {
		held, err := hold(p, n)
		if err != nil {
			return 0, err
		}
		defer held.leave()
		f.settle()
		if at[i], err = p.resident("VmRSS"); err != nil {
			return 0, err
		}
	}
	return (at[1] - at[0]) / float64(many-some), f.released()
}

func (f *field) settle() {
	if !f.short {
		time.Sleep(settles)
	}
}

// idle brings n connections that have made a call, a hundred at a time.
func (f *field) idle(p *peer, n int) (crowd, error) {
	var all crowd
	for len(all) < n {
		some, err := gather(p.address, min(100, n-len(all)))
		if err == nil {
			err = some.calls([][]byte{ask(p, "GET", "small", "", nil)}, len(some))
		}
		if all = append(all, some...); err != nil {
			all.leave()
			return nil, err
		}
	}
	return all, nil
}

// inFlight brings n calls that the organization does not answer, a few at a
// time, so that no peer gives up a connection that it waits for.
func (f *field) inFlight(p *peer, n int) (crowd, error) {
	before, err := f.heldCalls()
	if err != nil {
		return nil, err
	}
	var all crowd
	for len(all) < n && err == nil {
		var some crowd
		if some, err = gather(p.address, min(50, n-len(all))); err != nil {
			break
		}
		all = append(all, some...)
		for _, c := range some {
			c.SetDeadline(time.Now().Add(patience))
			if _, err = c.Write(ask(p, "GET", "hold", "", nil)); err != nil {
				break
			}
		}
		if err == nil {
			err = f.awaitHeld(before + len(all))
		}
	}
	if err != nil {
		all.leave()
		return nil, err
	}
	return all, nil
}

func (f *field) awaitHeld(n int) error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		held, err := f.heldCalls()
		switch {
		case err != nil:
			return err
		case held >= n:
			return nil
		case time.Since(began) > patience:
			return fmt.Errorf("%d of %d calls have arrived", held, n)
		}
	}
}

// heldCalls is how many calls the organization has not answered.
func (f *field) heldCalls() (int, error) {
	text, err := f.tell("held")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// released lets the organization answer them.
func (f *field) released() error {
	_, err := f.tell("release")
	return err
}

// tell asks the organization itself for something.
func (f *field) tell(what string) (string, error) {
	one, err := f.directly(1)
	if err != nil {
		return "", err
	}
	defer one.leave()
	var text bytes.Buffer
	_, err = one[0].call(directAsk(&peer{address: f.organization}, what), &text)
	return text.String(), err
}

// large is the most that a process held that has started and come to rest,
// while eight callers read pages of 5 MB.
func (f *field) large(s starter) (float64, error) {
	p, err := f.begin(s)
	if err != nil {
		return 0, err
	}
	defer f.End(p.root)
	pages := 10
	if f.short {
		pages = 1
	}
	readers, err := gather(p.address, 8)
	if err != nil {
		return 0, err
	}
	defer readers.leave()
	f.settle()
	if err := p.forgetPeak(); err != nil {
		return 0, err
	}
	if err := readers.each(func(_ int, c *client) error {
		for range pages {
			if _, err := c.call(ask(p, "GET", "large-chunked", "", nil), io.Discard); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	return p.resident("VmHWM")
}
