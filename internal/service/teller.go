package service

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	mostWaiting = 256             // events
	burst       = 20              // events of one kind at once, and then
	every       = time.Minute     // one of them
	lastWords   = 2 * time.Second // that the end waits for the event log
)

// teller writes events by and by. Whatever the event log does, nobody waits for
// it but the end, and that not for long.
type teller struct {
	write  func(e Event, m meaning, text string) error
	errors io.Writer // is told once that the event log takes nothing

	waiting chan told
	ending  chan struct{} // closed by close
	idle    chan struct{} // closed when all is written after that

	limits map[Event]*limit
	failed bool
}

type told struct {
	event   Event
	details string
}

// limit bounds the events of one kind.
type limit struct {
	*rate.Limiter
	leftOut int
}

func newTeller(write func(Event, meaning, string) error, errors io.Writer) *teller {
	t := &teller{
		write: write, errors: errors,
		waiting: make(chan told, mostWaiting), ending: make(chan struct{}), idle: make(chan struct{}), limits: make(map[Event]*limit),
	}
	go t.run() // ends with close
	return t
}

// tell takes an event that is to be written; more than can be kept are dropped,
// and so is what comes after the end.
func (t *teller) tell(e Event, details string) {
	select {
	case t.waiting <- told{e, strings.ReplaceAll(details, "\x00", "")}:
	default:
	}
}

// close writes what is left, within lastWords.
func (t *teller) close() {
	close(t.ending)
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-t.idle:
	case <-timer.C:
	}
}

func (t *teller) run() {
	defer close(t.idle)
	for {
		select {
		case next := <-t.waiting:
			t.one(next)
		case <-t.ending:
			for len(t.waiting) > 0 { // nobody else takes from it
				t.one(<-t.waiting)
			}
			return
		}
	}
}

func (t *teller) one(next told) {
	l := t.limits[next.event]
	if l == nil {
		l = &limit{Limiter: rate.NewLimiter(rate.Every(every), burst)}
		t.limits[next.event] = l
	}
	if !l.Allow() {
		l.leftOut++
		return
	}
	if l.leftOut > 0 {
		next.details += fmt.Sprintf("\r\n\r\n%d events of this kind before it were left out; the proxy's log has all of them.", l.leftOut)
		l.leftOut = 0
	}
	m := meanings[next.event]
	err := t.write(next.event, m, m.text(next.details))
	if err != nil && !t.failed {
		fmt.Fprintf(t.errors, "dynproxy: the event log takes no events (%v); the proxy goes on without it\n", err)
	}
	t.failed = err != nil
}
