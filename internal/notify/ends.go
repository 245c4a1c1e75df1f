package notify

import (
	"fmt"
	"time"
)

const day = 24 * time.Hour

// reminders are how long before its end something is told of, the shortest
// first.
var reminders = []time.Duration{day, 3 * day, 7 * day, 14 * day, 30 * day}

// End is when something ends that somebody must renew.
type End struct {
	Subject string // "the secret of app registration 6f1a...": what, and whose
	At      time.Time
	OfTLS   bool // the proxy's own certificate, and no credential of the app
}

// Due reports whether the end is to be told of by now, and as what: how long
// before it, at the latest.
func (e End) Due(now time.Time) (before time.Duration, due bool) {
	left := e.At.Sub(now)
	if e.At.IsZero() || left > reminders[len(reminders)-1] {
		return 0, false
	}
	before = reminders[0]
	for i := len(reminders) - 1; i >= 0 && left <= reminders[i]; i-- {
		before = reminders[i]
	}
	return before, true
}

// Remind tells of what ends soon: 30, 14, 7, 3 and 1 days before, each once.
func (n *Notifier) Remind(ends []End, now time.Time) {
	for _, e := range ends {
		before, due := e.Due(now)
		if !due {
			continue
		}
		news := Notice{
			Kind: Ends, At: now, Subject: e.Subject, Ends: e.At,
			key: fmt.Sprintf("%s %s %d", e.Subject, e.At.UTC().Format(time.DateOnly), before/day),
		}
		n.mu.Lock()
		_, told := n.marks[news.key]
		n.mu.Unlock()
		if !told {
			n.add(news)
		}
	}
}
