package emulator

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// applyFaults lets the faults of Entra ID act on a request, and reports whether one
// of them has answered it.
func (e *Entra) applyFaults(w http.ResponseWriter, r *http.Request, q TokenRequest) bool {
	at := moment{r.Method, r.URL.Path, q.Tenant, q.Client}
	if _, ok := e.faults.take(Down, at); ok {
		panic(http.ErrAbortHandler)
	}
	if f, ok := e.faults.take(Slow, at); ok && !wait(r, f.Delay) {
		panic(http.ErrAbortHandler)
	}
	e.faults.skew(w, at)
	if f, ok := e.faults.take(Status, at); ok {
		writeGatewayError(w, f)
		return true
	}
	if f, ok := e.faults.take(Redirect, at); ok {
		http.Redirect(w, r, f.Location, http.StatusTemporaryRedirect)
		return true
	}
	if !strings.HasSuffix(r.URL.Path, "/token") {
		return false
	}
	if _, ok := e.faults.take(HTML, at); ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!DOCTYPE html><html><head><title>Access to this site is monitored</title></head><body><p>Please accept the terms of use.</p></body></html>")
		return true
	}
	if _, ok := e.faults.take(Empty, at); ok {
		w.WriteHeader(http.StatusOK)
		return true
	}
	if f, ok := e.faults.take(AADSTS, at); ok {
		refused := refuse(f.Number, q, "")
		if f.RetryAfter > 0 {
			refused.retryAfter = f.RetryAfter
		}
		e.writeRefusal(w, r, refused)
		return true
	}
	return false
}

// writeGatewayError answers as a front end does that never asked the service
// behind it.
func writeGatewayError(w http.ResponseWriter, f Fault) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(f.RetryAfter))
	}
	w.Header().Set("Content-Type", "text/html; charset=us-ascii")
	w.WriteHeader(f.Status)
	fmt.Fprintf(w, "<html><head><title>%s</title></head><body><h2>%[1]s</h2><hr><p>HTTP Error %d.</p></body></html>\r\n",
		http.StatusText(f.Status), f.Status)
}

// wait lets d pass. It reports false if the client went away first.
func wait(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
