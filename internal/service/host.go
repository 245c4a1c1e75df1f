package service

import (
	"io"
	"sync/atomic"
)

// Host is the service manager, as the proxy sees it that runs under it. To the
// nil Host everything can be said; it is for a proxy that nobody manages.
type Host struct {
	Data   string    // the service's own folder
	Errors io.Writer // what standard error is elsewhere

	reload  chan struct{}
	serving atomic.Bool
	woken   chan struct{} // by Serving
	events  *teller
}

// Reload is asked when the settings shall be read again.
func (h *Host) Reload() <-chan struct{} {
	if h == nil {
		return nil
	}
	return h.reload
}

// Serving tells that the start is over and callers are let in.
func (h *Host) Serving() {
	if h == nil {
		return
	}
	h.serving.Store(true)
	nudge(h.woken)
}

// Tell puts an event into the system's event log, some time soon. details are
// for people, and hold no secret.
func (h *Host) Tell(e Event, details string) {
	if h != nil {
		h.events.tell(e, details)
	}
}

// HasServed reports whether the start was ever over.
func (h *Host) HasServed() bool { return h != nil && h.serving.Load() }

// nudge wakes who waits for c; of several nudges one is enough.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
