package httpguard

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What a caller still sends behind its answer is read and thrown away within
// these bounds: bytes left unread when a connection is closed make the kernel
// reset it, and a client that writes first and reads later would lose the
// answer. In bytes that is half as much again as the largest body that an
// organization takes: also who sends too much shall read so.
const (
	drainBytes  = 192 << 20
	drainTime   = 30 * time.Second
	drainSilent = 5 * time.Second // a caller that sends nothing for so long has seen the answer, or never will
	drainAsked  = time.Second     // likewise of one that waits for 100 Continue, and should never send
)

var sinks = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// drain reads at most limit bytes. It reports whether the end came.
func drain(from io.Reader, limit int64, silent time.Duration, deadline func(time.Time) error) bool {
	sink := sinks.Get().(*[64 << 10]byte)
	defer sinks.Put(sink)
	last := time.Now().Add(drainTime)
	for limit > 0 {
		until := time.Now().Add(silent)
		if until.After(last) {
			until = last
		}
		if deadline(until) != nil {
			return false
		}
		n, err := from.Read(sink[:min(int64(len(sink)), limit)])
		limit -= int64(n)
		if err != nil {
			return err == io.EOF
		}
	}
	return false
}

// answering lets an answer that comes before the request's end reach the
// caller. HTTP/2 needs no help: there an answer does not wait for the request.
func (g *Guard) answering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := r.Context().Value(sessionKey{}).(*session)
		var c *conn
		if s != nil {
			c = s.framed.Load()
		}
		if c != nil {
			c.served()
		}
		if c == nil || r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		u := &upload{ResponseWriter: w, control: http.NewResponseController(w), body: r.Body, session: s, length: r.ContentLength}
		// net/http looks at the body of its own request.
		own := new(http.Request)
		*own = *r
		own.Body = u.reader()
		expects := strings.EqualFold(r.Header.Get("Expect"), "100-continue") // the header is the handler's from here
		next.ServeHTTP(u, own)
		u.finish(expects)
	})
}

// upload is a request that has a body, and the way of its answer.
type upload struct {
	http.ResponseWriter
	control *http.ResponseController
	body    io.ReadCloser
	session *session
	length  int64 // -1 when only the end will tell
	wrote   bool

	read          atomic.Int64
	ended, closed atomic.Bool

	bounding sync.Mutex // guards answered, and is held while a deadline is set
	answered bool
}

// Unwrap lets http.ResponseController reach the connection.
func (u *upload) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// WriteHeader sends the header of an early answer at once: net/http would read
// on first.
func (u *upload) WriteHeader(status int) {
	if status >= 200 && !u.wrote {
		u.wrote = true
		if !u.ended.Load() {
			u.control.EnableFullDuplex()
			if u.length-u.read.Load() > drainBytes || u.session.framed.Load().broken.Load() != nil {
				u.Header().Set("Connection", "close")
			}
		}
	}
	u.ResponseWriter.WriteHeader(status)
}

func (u *upload) Write(p []byte) (int, error) {
	if !u.wrote {
		u.WriteHeader(http.StatusOK)
	}
	return u.ResponseWriter.Write(p)
}

// FlushError sends what is written.
func (u *upload) FlushError() error {
	if !u.wrote {
		u.WriteHeader(http.StatusOK)
	}
	return u.control.Flush()
}

// SetReadDeadline bounds the handler's own reading. What still reads when the
// handler has ended, as what sends the body on may, bounds nothing any more:
// neither the wait for the rest of this request nor the next one.
func (u *upload) SetReadDeadline(until time.Time) error {
	u.bounding.Lock()
	defer u.bounding.Unlock()
	if u.answered {
		return http.ErrBodyReadAfterClose
	}
	return u.control.SetReadDeadline(until)
}

// finish sends the answer and takes the rest of the request. If that does not
// come, nothing more is read of the connection: net/http would wait on for it,
// without a bound.
func (u *upload) finish(expected bool) {
	u.closed.Store(true)
	u.bounding.Lock()
	u.answered = true
	u.bounding.Unlock()
	if u.ended.Load() {
		return
	}
	until := time.Time{}
	if !u.takeRest(expected) {
		u.session.framed.Load().left.Store(true)
		until = time.Unix(1, 0) // for who reads now
	}
	u.control.SetReadDeadline(until)
}

// takeRest reports whether the request came to its end.
func (u *upload) takeRest(expected bool) bool {
	u.Write(nil) // from here on, reading does not ask a waiting caller to send
	if u.control.Flush() != nil {
		return false
	}
	g, silent := u.session.guard, drainSilent
	if expected && u.read.Load() == 0 {
		silent = drainAsked
	}
	g.connections.wait(&u.session.place)
	defer g.connections.busy(&u.session.place)
	if !g.drains.take(&u.session.rest, u.session, 1) {
		return false
	}
	defer g.drains.leave(&u.session.rest)
	return drain(u.body, drainBytes, silent, u.control.SetReadDeadline)
}

func (u *upload) reader() io.ReadCloser { return (*uploadBody)(u) }

// uploadBody is the body that handlers read. Closing it leaves the rest to
// finish.
type uploadBody upload

func (b *uploadBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.body.Read(p)
	b.read.Add(int64(n))
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

func (b *uploadBody) Close() error {
	b.closed.Store(true)
	return nil
}
