package egress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"dynproxy/internal/panics"
)

const (
	atOnce     = 64 << 10 // bodies of up to so many bytes are written with their head
	uploadSize = 16 << 10 // pieces in which longer ones are written: a record of TLS
)

// message is a request as it is written, kept to be used again.
type message struct {
	bytes.Buffer
	names []string
	one   [1]byte
}

var messages = sync.Pool{New: func() any { return new(message) }}

// release gives m back; nil is fine.
func (m *message) release() {
	if m == nil || m.Cap() > 2*atOnce {
		return
	}
	m.Reset()
	clear(m.names)
	m.names = m.names[:0]
	messages.Put(m)
}

// prepare makes what is written at once: head and body, if that is short and
// at hand, as GetBody says. The caller's fault at reading it costs no link.
func (x *trip) prepare() error {
	r := x.r
	if x.out != nil || r.Body != nil && r.Body != http.NoBody && (r.GetBody == nil || r.ContentLength <= 0 || r.ContentLength > atOnce) {
		return nil
	}
	x.out = messages.Get().(*message)
	if err := x.out.head(r); err != nil {
		return err
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	defer r.Body.Close()
	return x.out.body(r.Body, int(r.ContentLength))
}

// head writes the request's line and header, as net/http does: sorted, and
// spelled as in the map. What it does not hold of names and values is suits's.
func (m *message) head(r *http.Request) error {
	m.line(r.Method, " ")
	m.target(r.URL)
	if bytes.ContainsFunc(m.Bytes(), func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return errors.New("a control character in the request's target")
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	m.line(" HTTP/1.1\r\nHost: ", host, "\r\n")
	agent, told := r.Header["User-Agent"]
	switch {
	case !told:
		m.line("User-Agent: Go-http-client/1.1\r\n")
	case len(agent) > 0 && agent[0] != "":
		m.line("User-Agent: ", strings.Trim(agent[0], " \t"), "\r\n")
	}
	if r.Close && !closes(r.Header) {
		m.line("Connection: close\r\n")
	}
	bodiless := r.Body == nil || r.Body == http.NoBody
	if !bodiless || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		m.WriteString("Content-Length: ")
		length := r.ContentLength
		if bodiless {
			length = 0
		}
		m.Write(strconv.AppendInt(m.AvailableBuffer(), length, 10))
		m.line("\r\n")
	}
	for name := range r.Header {
		switch name {
		case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer":
		default:
			m.names = append(m.names, name)
		}
	}
	slices.Sort(m.names)
	for _, name := range m.names {
		for _, value := range r.Header[name] {
			m.line(name, ": ", strings.Trim(value, " \t"), "\r\n")
		}
	}
	m.line("\r\n")
	return nil
}

// target writes what u asks a server for, as u.RequestURI returns it.
func (m *message) target(u *url.URL) {
	if u.Opaque == "" || strings.HasPrefix(u.Opaque, "//") {
		m.line(u.RequestURI())
		return
	}
	m.line(u.Opaque)
	if u.ForceQuery || u.RawQuery != "" {
		m.line("?", u.RawQuery)
	}
}

func (m *message) line(parts ...string) {
	for _, part := range parts {
		m.WriteString(part)
	}
}

// body appends a body of n bytes, no more and no less.
func (m *message) body(body io.Reader, n int) error {
	m.Grow(n)
	room := m.AvailableBuffer()[:n]
	got, err := io.ReadFull(body, room)
	if err == nil {
		m.Write(room)
		var more int
		if more, err = io.ReadFull(body, m.one[:]); more == 0 && err == io.EOF {
			return nil
		}
		got += more
	}
	if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the request has a length of %d and a body of %d bytes", n, got)
	}
	return err
}

// send writes the request, or begins to.
func (x *trip) send() error {
	x.link.room = headMost
	if x.out == nil {
		x.link.until(0)
		x.beside()
		return nil
	}
	_, err := x.link.tls.Write(x.out.Bytes())
	x.out.release()
	x.out = nil
	if err != nil {
		return x.lastWords(err)
	}
	x.at(Await)
	x.link.until(x.left)
	return nil
}

// wordsWithin is how long an answer is looked for behind a request that could
// not be written: what made it fail may have come with one.
const wordsWithin = time.Second

// lastWords waits for an answer to a request that failed with err while it was
// written, and returns err if there is none.
func (x *trip) lastWords(err error) error {
	x.spoilt = true
	x.link.until(wordsWithin)
	if _, none := x.link.in.Peek(1); none != nil {
		return err
	}
	return nil
}

// upload is a body that is written by a goroutine of its own.
type upload struct {
	body io.ReadCloser
	to   io.Writer
	done chan struct{}

	// of the one who writes, until done
	read   error // with what the body ended, io.EOF included
	broken error // of to
	err    error // why it was not written whole
}

// uploads are the buffers through which bodies are written beside.
var uploads = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, uploadSize) }}

// Read notes the body's own error.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.body.Read(p)
	if err != nil {
		u.read = err
	}
	return n, err
}

// Write notes the connection's own error, which net/http takes for the body's.
func (u *upload) Write(p []byte) (int, error) {
	n, err := u.to.Write(p)
	if err != nil {
		u.broken = err
	}
	return n, err
}

// Close is for net/http, once all is written or cannot be.
func (u *upload) Close() error { return u.body.Close() }

// beside writes the request in a goroutine that ends when it is written, or
// cannot be, and when the link is cut, as soon as the body lets go.
func (x *trip) beside() {
	u := &upload{body: x.r.Body, to: x.link.tls, done: make(chan struct{})}
	x.mu.Lock()
	x.upload = u
	x.mu.Unlock()
	l, once := x.link, *x.r
	once.Body = u
	go func() {
		defer close(u.done)
		defer panics.Recover(x.direct.config.Log, "upload", func() {
			u.err = errFault
			l.meter.leave()
		})
		out := uploads.Get().(*bufio.Writer)
		out.Reset(u)
		u.err = once.Write(out)
		if u.err == nil {
			u.err = out.Flush()
		}
		out.Reset(nil)
		uploads.Put(out)
		x.wrote(l, u)
	}()
}

// wrote begins the wait for the answer when all of u is written on l, or for
// one that explains why it is not.
func (x *trip) wrote(l *link, u *upload) {
	switch {
	case u.broken != nil:
		u.err = u.broken
	case u.err != nil:
		if u.read != nil && u.read != io.EOF {
			u.err = u.read
		}
		l.meter.leave() // half a body is not to be answered
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.upload != u || x.stage != Send:
	case u.err == nil:
		x.stage = Await
		l.deadline(x.left)
	default:
		l.deadline(wordsWithin)
	}
}

// uploaded reports whether all of the request is written. An answer may have
// come before the one who wrote has said so.
func (x *trip) uploaded() bool {
	if x.upload == nil {
		return true
	}
	patience := time.NewTimer(50 * time.Millisecond)
	defer patience.Stop()
	select {
	case <-x.upload.done:
		return x.upload.err == nil
	case <-patience.C:
		return false
	}
}

// blame returns why there is no answer: err, or why the request could not be
// written.
func (x *trip) blame(err error) error {
	if x.upload == nil {
		return err
	}
	if x.link.meter.left.Load() && x.ctx.Err() == nil {
		<-x.upload.done // it was the one who wrote that gave up
	}
	select {
	case <-x.upload.done:
		if x.upload.err != nil {
			return x.upload.err
		}
	default:
	}
	return err
}
