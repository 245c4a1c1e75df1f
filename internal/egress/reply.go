package egress

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"sync"
)

// reply is the body of an answer. Its end gives the link back.
type reply struct {
	trip *trip
	src  io.Reader // chunks, or what net/http reads; nil for a body with a length
	left int64     // of the length

	mu  sync.Mutex // guards what is above, and the link
	err error      // with what it ended
}

// answered makes the answer of what its head said. The link is free at once
// where no body follows.
func (x *trip) answered() error {
	x.at(Body)
	l, resp := x.link, x.answer
	l.room, l.bound, l.armed = -1, x.direct.patience.Load().IdleWithin, false
	x.direct.idle.survived(l.host.address, l.idled)
	resp.TLS = l.state
	x.spoilt = x.spoilt || resp.Close || x.r.Close || closes(x.r.Header)
	x.reply = reply{trip: x, left: resp.ContentLength}
	switch {
	case resp.Body != nil: // net/http has read the head
		if resp.Body == http.NoBody {
			x.end(false)
			return nil
		}
		x.reply.src = openEnded(resp, l.meter)
	case x.r.Method == http.MethodHead || resp.ContentLength == 0:
		resp.Body = http.NoBody
		x.end(true)
		return nil
	case resp.ContentLength < 0:
		x.reply.src = &chunks{in: l.in, resp: resp, data: httputil.NewChunkedReader(l.in)}
	}
	resp.Body = &x.reply
	return nil
}

// Read waits for each piece for so long as IdleWithin says.
func (b *reply) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	x := b.trip
	x.link.armed = false
	n, err := b.read(p)
	switch {
	case err == io.EOF:
		x.end(true)
	case err != nil:
		err = x.failed(err)
	}
	b.err = err
	return n, err
}

func (b *reply) read(p []byte) (int, error) {
	if b.src != nil {
		return b.src.Read(p)
	}
	n, err := b.trip.link.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// errClosed is what is read of a body behind its Close.
var errClosed = errors.New("the body was closed")

// interrupt ends a Read under way.
func (x *trip) interrupt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.link != nil {
		x.link.meter.leave()
	}
}

// Close gives the link back if the rest of the body is here already, and cuts
// it otherwise; a Read under way ends with that.
func (b *reply) Close() error {
	if !b.mu.TryLock() {
		b.trip.interrupt()
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errClosed
		b.trip.end(b.ends())
	}
	return nil
}

// restMost is how much of an answer that nobody reads on is taken up for the
// sake of the link.
const restMost = inSize

// ends takes up what is here of the body, and reports whether it ends there.
func (b *reply) ends() bool {
	l := b.trip.link
	if l.meter.left.Load() {
		return false
	}
	l.armed = true
	for _, y := range l.layers {
		y.below.deaf = true
		defer func() { y.below.deaf = false }()
	}
	var rest [512]byte
	for taken := 0; taken < restMost; {
		n, err := b.read(rest[:])
		if err != nil {
			return err == io.EOF
		}
		taken += n
	}
	return false
}

// chunks reads a chunked body and what follows it.
type chunks struct {
	in   *bufio.Reader
	resp *http.Response
	data io.Reader // ends behind the last chunk
}

func (c *chunks) Read(p []byte) (int, error) {
	n, err := c.data.Read(p)
	if err != io.EOF {
		return n, err
	}
	if err := c.trailer(); err != nil {
		return n, err
	}
	return n, io.EOF
}

// errTrailer is a trailer that is no header, or longer than what is read ahead.
var errTrailer = errors.New("malformed or too long trailer behind the last chunk")

// trailer reads what may stand behind the last chunk, which is most often
// nothing, as net/http does.
func (c *chunks) trailer() error {
	text, err := wholeHead(c.in)
	switch {
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case text == "":
		return errTrailer
	case text == "\r\n":
		c.in.Discard(len(text))
		return nil
	}
	header, err := textproto.NewReader(c.in).ReadMIMEHeader()
	if err != nil {
		return errTrailer
	}
	if c.resp.Trailer == nil {
		c.resp.Trailer = make(http.Header, len(header))
	}
	for name, values := range header {
		c.resp.Trailer[name] = values
	}
	return nil
}
