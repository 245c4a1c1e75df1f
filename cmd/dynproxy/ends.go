package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"dynproxy/internal/notify"
)

const (
	remindAfter = 5 * time.Second // the start, and then
	remindEvery = time.Hour
)

// remind tells until ctx ends of what ends soon.
func (h *server) remind(ctx context.Context) {
	next := time.NewTimer(remindAfter)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		ends, now := h.ends(), time.Now()
		h.past.Notices.Remind(ends, now)
		h.events.Remind(ends, now)
		next.Reset(remindEvery)
	}
}

// ends are the credentials and certificates whose end is known.
func (h *server) ends() []notify.End {
	var all []notify.End
	told := make(map[notify.End]bool)
	for t := range h.book.All() {
		kind, at := h.tokens.Credential(t)
		own := t.Registration.ClientID != ""
		if at.IsZero() && own {
			at = t.SecretExpires
		}
		e := notify.End{Subject: fmt.Sprintf("the %s of app registration %s", kind, h.tokens.ClientID(t)), At: at}
		if own {
			e.Subject += " (tenant " + t.Name + ")"
		}
		if !told[e] {
			told[e] = true
			all = append(all, e)
		}
	}
	for setting, over := range map[string]*tls.Config{"LISTEN": h.guards.callersTLS, "OPS_LISTEN": h.guards.operatorsTLS} {
		if at := certificateEnds(over); !at.IsZero() {
			all = append(all, notify.End{Subject: "the TLS certificate of " + setting, At: at, OfTLS: true})
		}
	}
	return all
}
