package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"dynproxy/internal/calls"
	"dynproxy/internal/panics"
)

// observer is the ResponseWriter of a call: it sees what the caller gets, and
// writes one line and one set of figures at the end.
type observer struct {
	http.ResponseWriter
	h    *Handler
	c    *call
	r    *http.Request
	conn http.ResponseController

	status  int
	out     int64
	buf     *bufio.Writer // what is written and not yet sent; nil before the first byte
	sender  callerWriter
	faulty  bool // whether a flush has panicked: what follows would not fit what was sent
	aborted bool // whether the answer broke off
	in      *counted
}

func (h *Handler) observe(w http.ResponseWriter, r *http.Request, c *call) *observer {
	o := &observer{ResponseWriter: w, h: h, c: c, r: r, conn: *http.NewResponseController(w)}
	policy := h.entrance.Load()
	o.sender = callerWriter{to: counting{o}, conn: &o.conn, leeway: policy.leeway(policy.AnswerIdle)}
	o.conn.SetWriteDeadline(time.Time{}) // of the answer before, on the same connection
	if r.Body != nil && r.Body != http.NoBody {
		o.in = &counted{ReadCloser: r.Body}
		r.Body = o.in
	}
	c.answer = w.Header()
	h.Metrics.inFlight.Inc()
	return o
}

// Unwrap lets http.ResponseController reach the connection.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// WriteHeader gives the answer's headers Dataverse's spelling, which
// ReverseProxy has lost on the way, and keeps net/http from adding what the
// organization did not say. A caller that has proved itself gets its proof in turn.
func (o *observer) WriteHeader(status int) {
	header := o.Header()
	if status < 200 {
		o.inform(status, header)
		return
	}
	spell(header)
	if o.c.proof != "" {
		header["WWW-Authenticate"] = []string{o.c.proof}
	}
	if o.status == 0 {
		o.status = status
	}
	if o.c.failed == nil {
		leaveOut(header, "Content-Type", "Date")
	}
	if o.h.leaving.Load() {
		header["Connection"] = []string{"close"}
	}
	o.ResponseWriter.WriteHeader(status)
}

// inform passes an interim answer on, which a goroutine of net/http brings.
// HTTP/1.0 has none: its clients would take it for the answer.
func (o *observer) inform(status int, header http.Header) {
	defer panics.Recover(o.h.Log, "interim answer", nil)
	if !o.r.ProtoAtLeast(1, 1) {
		return
	}
	answerHeader(header, o.c.links)
	spell(header)
	o.sender.within(0, func() (int, error) { o.ResponseWriter.WriteHeader(status); return 0, nil })
}

// leaveOut keeps net/http from making up headers that are not there.
func leaveOut(header http.Header, names ...string) {
	for _, name := range names {
		if _, there := header[name]; !there {
			header[name] = nil
		}
	}
}

func (o *observer) Write(p []byte) (int, error) {
	if o.faulty {
		return 0, http.ErrAbortHandler
	}
	if o.status == 0 {
		o.WriteHeader(http.StatusOK)
	}
	if o.buf == nil {
		o.buf = answerBuffers.Get().(*bufio.Writer)
		o.buf.Reset(&o.sender)
	}
	return o.buf.Write(p)
}

// FlushError sends what is written. ReverseProxy calls it for answers that
// come slowly.
func (o *observer) FlushError() (err error) {
	defer panics.Recover(o.h.Log, "flush", func() { o.faulty, err = true, http.ErrAbortHandler })
	if o.buf != nil {
		if err := o.buf.Flush(); err != nil {
			return err
		}
	}
	return o.sender.flush()
}

// release gives the buffer back; what it holds is sent if the answer is whole.
func (o *observer) release() {
	if o.buf == nil {
		return
	}
	if !o.aborted {
		o.buf.Flush()
	}
	o.buf.Reset(nil)
	answerBuffers.Put(o.buf)
	o.buf = nil
}

// counting counts what the caller was sent.
type counting struct{ *observer }

func (c counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.out += int64(n)
	return n, err
}

// done runs when the trip is over, whether it ended or was broken off by a
// panic with http.ErrAbortHandler, which passes on.
func (o *observer) done() {
	c := o.c
	if broken := recover(); broken != nil {
		o.aborted = true
		o.release()
		o.resetConn()
		defer panic(broken)
	}
	o.release()
	o.boundTheRest()
	c.body.close()
	took := time.Since(c.started)
	done := o.record(took)
	o.h.Metrics.count(c, done)
	o.line(done)
	c.trace.End(done)
	if o.h.OnCallDone != nil {
		o.h.OnCallDone(done)
	}
}

// boundTheRest keeps what net/http does by itself, now that the answer is
// made, from lasting for ever: it sends the answer's end, and reads on where
// the caller has not sent its body to the end.
func (o *observer) boundTheRest() {
	policy := o.h.entrance.Load()
	if idle := policy.AnswerIdle; idle > 0 {
		o.conn.SetWriteDeadline(time.Now().Add(idle))
	}
	if idle := policy.BodyIdle; idle > 0 && o.in != nil && !o.in.ended.Load() {
		o.conn.SetReadDeadline(time.Now().Add(idle))
	}
}

// resetConn resets the connection of a caller that speaks HTTP/1.0, to which an
// answer without a length ends where the connection does: closed in the usual
// way, half an answer would look whole.
func (o *observer) resetConn() {
	if o.r.ProtoAtLeast(1, 1) || o.status == 0 {
		return
	}
	conn, _, err := o.conn.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	for inner := conn; inner != nil; {
		if tcp, ok := inner.(*net.TCPConn); ok {
			tcp.SetLinger(0)
			return
		}
		wrapper, ok := inner.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		inner = wrapper.NetConn()
	}
}

// line writes the access line: typed fields only, so that nothing gets in
// that must not.
func (o *observer) line(done *calls.Call) {
	e := o.h.Log.Info()
	if done.Status >= 500 {
		e = o.h.Log.Warn()
	}
	e.EmbedObject(done).Msg("call")
}

// counted counts what a caller sent.
type counted struct {
	io.ReadCloser
	n     atomic.Int64
	ended atomic.Bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

func (c *counted) count() int64 {
	if c == nil {
		return 0
	}
	return c.n.Load()
}
