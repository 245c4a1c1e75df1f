package emulator

import (
	"cmp"
	"net/http"
	"strings"
)

// bent is how an answer differs from the one that was meant.
type bent struct {
	noContentType  bool
	rootedLocation bool
	informational  int    // the status of an answer before the answer, or 0
	stall          *Fault // nil if the body flows
	sent           int    // bytes of the body, before compression
}

// bend lets act the faults that change an answer and not what is done.
func (o *Organization) bend(a *answer, at moment) {
	if f, ok := o.faults.take(Stall, at); ok {
		a.bent.stall = &f
	}
	if f, ok := o.faults.take(Informational, at); ok {
		a.bent.informational = cmp.Or(f.Status, http.StatusEarlyHints)
	}
	_, a.bent.noContentType = o.faults.take(NoContentType, at)
	_, a.bent.rootedLocation = o.faults.take(RootedLocation, at)
}

// inform sends the answer before the answer. It carries what a front end would
// put there, all of which is meant for browsers.
func (a *answer) inform() {
	if a.bent.informational == 0 {
		return
	}
	h := a.Header()
	h.Set("WWW-Authenticate", "Bearer")
	h.Set("Link", "<https://"+a.r.Host+"/api/data/v9.2/>; rel=preconnect")
	a.w.WriteHeader(a.bent.informational)
	h.Del("WWW-Authenticate")
	h.Del("Link")
}

// bendHeader changes the header on its way out.
func (a *answer) bendHeader(h http.Header) {
	if a.bent.noContentType {
		// Without an entry the server would guess.
		h["Content-Type"] = nil
	}
	if at := h.Get("Location"); a.bent.rootedLocation && at != "" {
		h.Set("Location", strings.TrimPrefix(at, "https://"+a.r.Host))
	}
}

// stalled sends p up to the place where the answer pauses, pauses there, and
// returns the rest.
func (a *answer) stalled(p []byte) ([]byte, error) {
	f := a.bent.stall
	if f == nil || a.bent.sent+len(p) <= f.After {
		a.bent.sent += len(p)
		return p, nil
	}
	a.bent.stall = nil
	before := p[:f.After-a.bent.sent]
	if err := a.send(before); err != nil {
		return nil, err
	}
	if a.zip != nil {
		a.zip.Flush()
	}
	_ = http.NewResponseController(a.w).Flush()
	if f.Delay > 0 && wait(a.r, f.Delay) {
		return p[len(before):], nil
	}
	<-a.r.Context().Done()
	panic(http.ErrAbortHandler)
}
