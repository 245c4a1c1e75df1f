package emulator

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// heldBack is how many bytes are held back at most: one would do, and a large
// file must not be copied.
const heldBack = 512

// answer is the response of an organization on its way out: compressed when
// asked for, torn when a fault says so, and its last bytes held back until the
// request was counted out, so that a client which sends its next request upon
// the end of this answer finds its place free.
type answer struct {
	w       http.ResponseWriter
	r       *http.Request
	entry   *entry
	conn    *conn // nil where the network is not the emulator's own
	bent    bent
	leave   func() // counts the request out; nil if it was not counted in
	tear    FaultKind
	status  int
	zips    *sync.Pool // of *gzip.Writer, each of which is near a megabyte
	zip     *gzip.Writer
	pending []byte
}

// Header returns the header that will be sent.
func (a *answer) Header() http.Header { return a.w.Header() }

// WriteHeader decides on compression and sends the header.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	if status >= 100 && status < 200 {
		a.w.WriteHeader(status)
		return
	}
	a.status = status
	if a.tear == ResetAfter {
		return
	}
	h := a.Header()
	a.bendHeader(h)
	if a.compresses(status, h) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Vary", "Accept-Encoding")
		h.Del("Content-Length")
		var ok bool
		if a.zip, ok = a.zips.Get().(*gzip.Writer); !ok {
			a.zip = gzip.NewWriter(a.w)
		}
		a.zip.Reset(a.w)
	}
	a.entry.answered(status)
	a.w.WriteHeader(status)
}

// compresses reports whether the client understands gzip and the body is text.
func (a *answer) compresses(status int, h http.Header) bool {
	if a.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusPartialContent {
		return false
	}
	if h.Get("Content-Encoding") != "" || !acceptsGzip(a.r.Header.Values("Accept-Encoding")) {
		return false
	}
	kind := h.Get("Content-Type")
	return strings.Contains(kind, "json") || strings.Contains(kind, "xml") || strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "multipart/mixed")
}

func acceptsGzip(values []string) bool {
	for coding := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.TrimSpace(quality) != "q=0" {
			return true
		}
	}
	return false
}

// Write sends what was held back before, and holds back the end of p.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0, a.tear == ResetAfter:
		return len(p), nil
	case a.tear == ResetMiddle:
		a.send(p[:len(p)/2])
		a.tearNow()
	}
	if err := a.send(a.pending); err != nil {
		return 0, err
	}
	held := max(0, len(p)-heldBack)
	if err := a.send(p[:held]); err != nil {
		return 0, err
	}
	a.pending = append(a.pending[:0], p[held:]...)
	return len(p), nil
}

// Flush sends everything written so far.
func (a *answer) Flush() {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.tear == ResetAfter || a.send(a.pending) != nil {
		return
	}
	a.pending = a.pending[:0]
	if a.zip != nil {
		a.zip.Flush()
	}
	_ = http.NewResponseController(a.w).Flush()
}

func (a *answer) send(p []byte) error {
	p, err := a.stalled(p)
	if len(p) == 0 || err != nil {
		return err
	}
	if a.zip != nil {
		_, err = a.zip.Write(p)
		return err
	}
	_, err = a.w.Write(p)
	return err
}

// finish counts the request out and sends the end of the answer.
func (a *answer) finish() {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.leave != nil {
		a.leave()
	}
	if a.tear != "" {
		// An answer without a body has no middle.
		a.tear = ResetAfter
		a.tearNow()
	}
	a.conn.end(a.entry)
	// If the client is gone there is nobody to tell.
	_ = a.send(a.pending)
	if a.zip != nil {
		_ = a.zip.Close()
		a.zips.Put(a.zip)
		a.zip = nil
	}
}

// tearNow breaks the connection (or the HTTP/2 stream) off, after what was
// sent is on its way.
func (a *answer) tearNow() {
	if a.leave != nil {
		a.leave()
	}
	if a.tear == ResetMiddle {
		if a.zip != nil {
			a.zip.Flush()
		}
		_ = http.NewResponseController(a.w).Flush()
	}
	panic(http.ErrAbortHandler)
}
