package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/odata"
	"dynproxy/internal/problem"
)

// body is what a request carries. It is read from the caller once, and what
// was read is held, so that it can be sent again.
type body struct {
	length int64 // -1 when only the end will tell

	reading sync.Mutex // guards src
	src     io.Reader

	mu     sync.Mutex // guards what follows
	held   spool      // what was read of src
	lost   bool       // more was read than is held
	ended  bool       // src has been read to its end
	err    error      // of src: the caller's fault
	reader *bodyReader
}

// takeBody makes c.body. What has links in it is read to its end and rewritten
// before anything is sent: a body that breaks off changes nothing, and the
// length is known. Everything else streams.
func (h *Handler) takeBody(c *call, w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		if c.batch {
			return problem.New(problem.BadRequest, "A batch must have a body.")
		}
		return nil
	}
	src := io.Reader(r.Body)
	if idle := h.Entrance.BodyIdle; idle > 0 {
		src = &impatient{r.Body, http.NewResponseController(w), idle}
	}
	c.body = &body{src: src, length: r.ContentLength}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if c.batch {
		if err != nil || kind != "multipart/mixed" || params["boundary"] == "" || r.Header.Get("Content-Encoding") != "" {
			return problem.New(problem.BadRequest, "A batch must be sent as multipart/mixed with a boundary.")
		}
		return c.body.takeBatch(c, params["boundary"])
	}
	if kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return nil
	}
	return c.body.takeJSON(c.links)
}

func (b *body) takeJSON(links *odata.Rewriter) error {
	b.src = links.RequestBody(b.src)
	b.length = -1
	buf := copyBuffers.Get()
	defer copyBuffers.Put(buf)
	for !b.ended && !b.lost {
		if _, err := b.more(buf); err != nil && err != io.EOF {
			return cutOff(err)
		}
	}
	if !b.lost {
		b.length = b.held.size
	}
	return nil
}

func (b *body) takeBatch(c *call, boundary string) error {
	var raw spool
	defer raw.close()
	if _, err := io.Copy(&raw, b.src); errors.Is(err, errSpoolFull) {
		return problem.New(problem.BadRequest, "A batch must not be larger than %d MiB.", spoolDisk>>20)
	} else if err != nil {
		b.err = err
		return cutOff(err)
	}
	b.ended = true
	err := c.links.BatchRequest(&b.held, raw.reader(), boundary, func(p *odata.Part) error {
		return judgePart(c, p)
	})
	b.length = b.held.size
	if _, ours := errors.AsType[*problem.Error](err); err == nil || ours {
		return err
	}
	return &problem.Error{Code: problem.BadRequest, Message: "The batch cannot be understood: " + err.Error() + ".", Err: err}
}

// judgePart holds a request inside a batch to the same policy as one that
// comes alone.
func judgePart(c *call, p *odata.Part) error {
	path, _, _ := strings.Cut(p.Target, "?")
	if reason := ambiguous(path); reason != "" {
		return problem.New(problem.BadRequest, "A path inside the batch holds %s, which servers read differently.", reason)
	}
	if isBatch(p.Method, path) {
		return problem.New(problem.BadRequest, "A batch must not hold another batch.")
	}
	if !strings.HasPrefix(path, "/") {
		path = c.path[:strings.LastIndexByte(strings.TrimRight(c.path, "/"), '/')+1] + path
	}
	if err := c.allowed(p.Method, http.Header(p.Header), path, false); err != nil {
		return err
	}
	c.operations++
	stripPart(p.Header, c.impersonation())
	return nil
}

func stripPart(header textproto.MIMEHeader, impersonation bool) {
	for name := range header {
		if forbidden(name, impersonation) {
			delete(header, name)
		}
	}
}

func cutOff(err error) error {
	return &problem.Error{Code: problem.BadRequest, Message: "The request's body broke off before its end; nothing was sent on.", Err: err}
}

// more reads from src into buf and holds what it got. Whoever calls it has
// reading, but not mu: a caller that stalls must not hold up the rest.
func (b *body) more(buf []byte) (int, error) {
	n, err := b.src.Read(buf)
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && !b.lost {
		if _, full := b.held.Write(buf[:n]); full != nil {
			b.lost = true // streams on; it just cannot be sent again
		}
	}
	if err != nil {
		b.ended = true
		if err != io.EOF {
			b.err = err
		}
	}
	return n, err
}

// open returns the body from its beginning, for one attempt; the reader of the
// attempt before is dead from then on. Only a replayable body may be opened
// again.
func (b *body) open() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reader = &bodyReader{body: b}
	return b.reader
}

// replayable reports whether the body can be sent once more.
func (b *body) replayable() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost && b.err == nil
}

// failure returns the error with which the caller's body broke off.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *body) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reader, b.lost = nil, true
	b.held.close()
}

type bodyReader struct {
	body *body
	off  int64
}

var errStaleReader = errors.New("the body was given to another attempt")

func (r *bodyReader) Read(p []byte) (int, error) {
	if n, err, ok := r.readHeld(p); ok {
		return n, err
	}
	b := r.body
	b.reading.Lock()
	defer b.reading.Unlock()
	// The attempt before may have been reading until now.
	if n, err, ok := r.readHeld(p); ok {
		return n, err
	}
	n, err := b.more(p)
	r.off += int64(n)
	return n, err
}

// readHeld reads without the caller's help, if that will do.
func (r *bodyReader) readHeld(p []byte) (int, error, bool) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.reader != r:
		return 0, errStaleReader, true
	case r.off < b.held.size:
		n, err := b.held.ReadAt(p, r.off)
		r.off += int64(n)
		if err == io.EOF {
			err = nil // of what is held; src may have more
		}
		return n, err, true
	case b.err != nil:
		return 0, b.err, true
	case b.ended:
		return 0, io.EOF, true
	}
	return 0, nil, false
}

func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.body.reader == r {
		r.body.reader = nil
	}
	return nil
}

// impatient reads a request's body and gives up when the caller stalls.
type impatient struct {
	io.Reader
	conn *http.ResponseController
	idle time.Duration
}

func (i *impatient) Read(p []byte) (int, error) {
	i.conn.SetReadDeadline(time.Now().Add(i.idle))
	n, err := i.Reader.Read(p)
	if err == io.EOF {
		// Past the body, the deadline would end the call for want of a next request.
		i.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}
