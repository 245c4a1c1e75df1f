package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// exchange is one request on its way: which of its bounds runs, and what of it
// was written.
type exchange struct {
	client *Client
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	unsafe bool // the request must not be carried out twice

	mu    sync.Mutex // guards what follows
	stage Stage
	phase phase         // of the connection that is being made
	left  time.Duration // of AnswerWithin
	since time.Time     // when timer was started for left
	timer *time.Timer   // nil without bounds
	conn  *conn         // the last that the request was given
	base  int64         // bytes written on conn before the request
}

// errSwitched is an answer that is none.
var errSwitched = errors.New("switched protocol")

func newExchange(c *Client, r *http.Request) *exchange {
	parent := r.Context()
	x := &exchange{client: c, parent: parent, unsafe: !harmless(r), left: c.patience.Load().AnswerWithin, since: time.Now()}
	x.ctx, x.cancel = context.WithCancelCause(parent)
	if x.left > 0 {
		x.timer = time.AfterFunc(x.left, x.expire)
	}
	return x
}

func (x *exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cancel(x.late())
}

// late is why the exchange ends itself at the stage, or phase of the
// connection, that it has come to.
func (x *exchange) late() late {
	if x.stage == Connect {
		return x.phase.late()
	}
	return x.stage.late()
}

// traced is the context that tells the exchange how far it has come. The wait
// for the organization does not run while a body is sent: how fast that goes
// is the caller's affair, and a connection that takes no more is noticed there.
func (x *exchange) traced() context.Context {
	return httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{
		ConnectDone:       func(string, string, error) { x.making(phaseConnect) },
		TLSHandshakeStart: func() { x.making(phaseHandshake) },
		GotConn: func(info httptrace.GotConnInfo) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.stage = Send
			if x.conn = connOf(info.Conn); x.conn != nil {
				x.base = x.conn.written.Load()
				x.conn.begin(x)
			}
			if x.timer != nil && x.timer.Stop() {
				x.left -= time.Since(x.since)
			}
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			x.mu.Lock()
			defer x.mu.Unlock()
			if info.Err != nil || x.stage != Send {
				return
			}
			x.stage = Await
			if x.timer != nil {
				x.since = time.Now()
				x.timer.Reset(max(x.left, time.Millisecond))
			}
		},
	})
}

func (x *exchange) making(p phase) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.phase = p
}

// hungUp reports whether the exchange has ended itself. What still comes then,
// a whole answer too, is what the other side made of being hung up on.
func (x *exchange) hungUp() bool {
	_, own := context.Cause(x.ctx).(late)
	return own
}

// answered ends the wait for the answer's head, and reports whether that came
// in time.
func (x *exchange) answered() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil && !x.timer.Stop() && x.stage == Await {
		x.cancel(x.late()) // expire is about to
	}
	if x.hungUp() {
		return false
	}
	x.stage = Body
	if x.conn != nil {
		x.client.idle.survived(x.conn.host, time.Duration(x.conn.idled.Load()))
	}
	return true
}

// openEnded returns resp's body, as it is read of the exchange's connection.
func (x *exchange) openEnded(resp *http.Response) io.ReadCloser {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		return resp.Body
	}
	return openEnded(resp, &x.conn.meter)
}

// rest ends the exchange, whose mutex is held, when all of the answer has come.
func (x *exchange) rest() {
	if x.conn != nil {
		x.conn.end(x)
	}
	x.cancel(nil)
}

// failed makes the error of an exchange without an answer.
func (x *exchange) failed(err error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := &Error{Stage: x.stage, Err: err}
	if x.conn != nil {
		e.Sent = x.conn.delivered(x.base)
	}
	return x.end(e)
}

// end stops the exchange, whose mutex is held, and returns e, or the cause for
// which the request's own context ended.
func (x *exchange) end(e *Error) error {
	if x.timer != nil {
		x.timer.Stop()
	}
	hungUp := x.hungUp()
	e.Timeout = hungUp || isTimeout(e.Err)
	switch {
	case hungUp:
		e.Err = context.Cause(x.ctx)
	case e.Timeout && e.Stage != Connect:
		e.Err = e.Stage.late()
	}
	x.cancel(nil)
	if x.parent.Err() != nil && !e.Timeout {
		return context.Cause(x.parent)
	}
	return e
}

// answer is a body that may not be silent for too long.
type answer struct {
	io.ReadCloser
	*exchange
	err error
}

func (a *answer) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	idle := a.client.patience.Load().IdleWithin
	if idle > 0 {
		a.arm(idle)
	}
	n, err := a.ReadCloser.Read(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && !a.hungUp():
		a.rest()
	default:
		err = a.end(&Error{Stage: Body, Sent: 1, Err: err})
	}
	a.err = err
	return n, err
}

func (a *answer) arm(idle time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer == nil {
		a.timer = time.AfterFunc(idle, a.expire)
		return
	}
	a.timer.Reset(idle)
}

func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.cancel(nil)
	return err
}
