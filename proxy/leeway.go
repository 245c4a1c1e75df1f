package proxy

import (
	"io"
	"net/http"
	"os"
	"time"
)

// leeway is how far a caller may fall behind. Waiting for it uses the leeway
// up, and what it sends or takes earns it back: at the least rate, a second
// for so many bytes. A pause costs nobody a connection, and a trickle does.
type leeway struct {
	idle time.Duration // the most there is; 0 for no bound
	rate int           // bytes a second; 0 when any byte earns all of it
	left time.Duration
}

func (e *AccessPolicy) leeway(idle time.Duration) leeway {
	return leeway{idle: idle, rate: e.MinRate, left: idle}
}

// cost is how long n bytes take at the least rate.
func (l *leeway) cost(n int) time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(l.rate)
}

// moved says that n bytes came after waiting so long for the caller, and
// reports whether it may go on.
func (l *leeway) moved(n int, waited time.Duration) bool {
	if l.left -= waited; n > 0 {
		l.left += l.cost(n)
		if l.rate == 0 {
			l.left = l.idle
		}
	}
	l.left = min(l.left, l.idle)
	return l.idle == 0 || l.left > 0
}

// callerReader reads a request's body. Its deadline runs only while the
// caller is waited for: HTTP/2 would end a body that nobody reads just now, and
// after the body's end it would be that of the next request.
type callerReader struct {
	src  io.Reader
	conn *http.ResponseController
	leeway
}

func (c *callerReader) Read(p []byte) (int, error) {
	if c.idle == 0 {
		return c.src.Read(p)
	}
	began := time.Now()
	c.conn.SetReadDeadline(began.Add(c.left))
	n, err := c.src.Read(p)
	if err == nil && !c.moved(n, time.Since(began)) {
		return n, os.ErrDeadlineExceeded
	}
	if err == nil || err == io.EOF {
		c.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// callerWriter writes an answer, in pieces that a caller of the least rate
// takes within its leeway.
type callerWriter struct {
	to   io.Writer
	conn *http.ResponseController
	leeway
}

const leastPiece = 4 << 10

func (c *callerWriter) Write(b []byte) (int, error) {
	written := 0
	for written < len(b) {
		piece := b[written:min(len(b), written+c.piece())]
		n, err := c.within(len(piece), func() (int, error) { return c.to.Write(piece) })
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (c *callerWriter) piece() int {
	if c.rate == 0 {
		return answerBuffer
	}
	return min(max(int(c.left.Seconds()*float64(c.rate)), leastPiece), answerBuffer)
}

func (c *callerWriter) flush() error {
	_, err := c.within(0, func() (int, error) { return 0, c.conn.Flush() })
	return err
}

// within lets send, which sends so many bytes, wait for the caller within its
// leeway. While the organization is waited for, no deadline runs.
func (c *callerWriter) within(size int, send func() (int, error)) (int, error) {
	if c.idle == 0 {
		return send()
	}
	began := time.Now()
	c.conn.SetWriteDeadline(began.Add(max(c.left, c.cost(size))))
	n, err := send()
	if err == nil && !c.moved(n, time.Since(began)) {
		return n, os.ErrDeadlineExceeded
	}
	if err == nil {
		c.conn.SetWriteDeadline(time.Time{})
	}
	return n, err
}
