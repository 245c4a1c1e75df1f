package portal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dynproxy/internal/history"
	"dynproxy/internal/status"
)

// timeline is a stretch of a tenant's past, drawn: 1000 wide and 20 high. States
// differ in height as they do in colour.
type timeline struct {
	Title   string
	Summary string // the same in words
	Parts   []stretch
	Marks   []string // along its lower edge, evenly
}

// stretch is a time in which nothing changed.
type stretch struct {
	Class               string // the state, or "nobody"
	X, Y, Width, Height string
	Says                string
}

const (
	wholeWidth  = 1000.0
	wholeHeight = 20.0
	leastWidth  = 3.0 // so that a moment can be seen
)

var heights = map[string]float64{
	string(status.Broken): 20, string(status.Attention): 14, string(status.Ready): 9, string(status.Unchecked): 4,
}

// timelines draws the last day and the last week.
func timelines(events []history.Event, gaps []history.Gap) []timeline {
	if len(events) == 0 {
		return nil
	}
	now := time.Now()
	return []timeline{
		drawn("The last 24 hours", events, gaps, now.Add(-24*time.Hour), now, 6*time.Hour, "15:04"),
		drawn("The last 7 days", events, gaps, now.Add(-7*24*time.Hour), now, 24*time.Hour, "Jan 2"),
	}
}

// drawn is the timeline from since until now, with a mark every so often.
func drawn(title string, events []history.Event, gaps []history.Gap, since, now time.Time, every time.Duration, form string) timeline {
	t := timeline{Title: title}
	lasted, spells := make(map[string]time.Duration), 0
	for i, e := range events {
		until := now
		if i+1 < len(events) {
			until = events[i+1].At
		}
		from := e.At
		if from.Before(since) {
			from = since
		}
		if !until.After(from) {
			continue
		}
		lasted[e.State] += until.Sub(from)
		if e.State == string(status.Broken) {
			spells++
		}
		says := fmt.Sprintf("%s from %s to %s", e.State, from.Local().Format("Jan 2 15:04:05"), until.Local().Format("Jan 2 15:04:05"))
		if e.Why != "" {
			says += ": " + e.Why
		}
		t.Parts = append(t.Parts, stretchOf(e.State, heights[e.State], from, until, since, now, says))
	}
	for _, g := range gaps {
		if g.To.After(since) {
			from := g.From
			if from.Before(since) {
				from = since
			}
			t.Parts = append(t.Parts, stretchOf("nobody", 2, from, g.To, since, now, "the proxy did not run from "+from.Local().Format("Jan 2 15:04")+" to "+g.To.Local().Format("Jan 2 15:04")))
		}
	}
	t.Summary = summary(lasted, spells, now.Sub(since))
	for at := since; !at.After(now); at = at.Add(every) {
		t.Marks = append(t.Marks, at.Local().Format(form))
	}
	return t
}

func stretchOf(class string, height float64, from, until, since, now time.Time, says string) stretch {
	whole := float64(now.Sub(since))
	x := wholeWidth * float64(from.Sub(since)) / whole
	width := max(leastWidth, wholeWidth*float64(until.Sub(from))/whole)
	x = max(0, min(x, wholeWidth-width))
	number := func(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }
	return stretch{Class: class, X: number(x), Y: number(wholeHeight - height), Width: number(width), Height: number(height), Says: says}
}

// summary says in words how a tenant was.
func summary(lasted map[string]time.Duration, spells int, of time.Duration) string {
	var words []string
	known := time.Duration(0)
	for _, s := range status.States() {
		d := lasted[string(s)]
		known += d
		if d == 0 {
			continue
		}
		word := fmt.Sprintf("%s for %s", s, span(d))
		if s == status.Broken && spells > 1 {
			word += fmt.Sprintf(", %d times", spells)
		}
		words = append(words, word)
	}
	if left := of - known; left > of/100 {
		words = append(words, "not known for "+span(left))
	}
	return strings.Join(words, "; ")
}

// change is a change of a tenant's state as the page lists it.
type change struct {
	history.Event
	State status.State
	For   string // how long it lasted
}

const changesShown = 12

// lastChanges are the last of events, the newest first.
func lastChanges(events []history.Event) []change {
	var all []change
	for i, e := range events {
		c := change{Event: e, State: status.State(e.State), For: "until now"}
		if i+1 < len(events) {
			c.For = span(events[i+1].At.Sub(e.At))
		}
		all = append(all, c)
	}
	slices.Reverse(all)
	return all[:min(len(all), changesShown)]
}
