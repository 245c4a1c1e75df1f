package egress

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// link is a connection to a host, TLS included, for one trip at a time. Whoever
// makes the trip reads and writes it; no goroutine stands beside.
type link struct {
	host   *host
	tcp    net.Conn // as it was dialled
	meter  *meter   // around tcp
	peek   *peeker  // into tcp
	leave  func()   // meter's
	layers []*layer // of TLS, the host's own last: a proxy that speaks TLS itself makes one more
	tls    *tls.Conn
	state  *tls.ConnectionState
	roots  *x509.CertPool // by which it was verified, as pool.trusted returns them

	// of the trip under way
	in    *bufio.Reader
	bound time.Duration // longest wait for each piece of the answer's body; 0 for ever
	armed bool          // whether the present wait has its deadline
	room  int64         // bytes that may still come of heads; below 0 for any number
	heard bool          // something of an answer has come
	base  int64         // bytes written before the trip

	served bool          // a trip has ended on it
	rested time.Time     // since when it is not in use
	idled  time.Duration // how long it was not in use before the trip under way; 0 on its first
}

// layer is TLS on top of what is below, which it is told not to ask when it
// shall say what it has already.
type layer struct {
	conn  *tls.Conn
	below *records
	one   [1]byte
}

// records follows where one record of TLS ends and the next begins in what is
// read.
type records struct {
	net.Conn
	deaf   bool // Read takes nothing from the connection
	header int  // bytes of the present record's header that have come
	left   int  // bytes of the present record that are to come
}

// recordHeader is type, version and length, the last in two bytes.
const recordHeader = 5

func (r *records) Read(p []byte) (int, error) {
	if r.deaf {
		return 0, os.ErrDeadlineExceeded // which does no harm to TLS
	}
	n, err := r.Conn.Read(p)
	r.follow(p[:n])
	return n, err
}

func (r *records) follow(p []byte) {
	for len(p) > 0 {
		if r.header == recordHeader {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
		} else {
			if r.header >= recordHeader-2 {
				r.left = r.left<<8 | int(p[0])
			}
			r.header++
			p = p[1:]
		}
		if r.header == recordHeader && r.left == 0 {
			r.header = 0
		}
	}
}

// empty reports whether TLS holds nothing of what came: no byte for whoever
// reads, no message of its own, no part of a record.
func (y *layer) empty() bool {
	y.below.deaf = true
	defer func() { y.below.deaf = false }()
	n, err := y.conn.Read(y.one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && y.below.header == 0
}

// inSize is what a short answer fits into, with its head.
const inSize = 8 << 10

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, inSize) }}

// begin gives the link to a trip.
func (l *link) begin() {
	l.in = readers.Get().(*bufio.Reader)
	l.in.Reset(l)
	l.bound, l.armed, l.heard, l.room = 0, false, false, -1
	l.base = l.meter.written.Load()
	l.meter.acked.Store(-1) // a look at the link may have ended with an error that was none
}

// rest takes the link back from its trip.
func (l *link) rest() {
	l.in.Reset(nil)
	readers.Put(l.in)
	l.in = nil
	l.served, l.rested = true, time.Now()
}

// Read is in's source: what TLS has, or what comes within the bound.
func (l *link) Read(p []byte) (int, error) {
	if !l.armed {
		l.until(l.bound)
	}
	if l.room >= 0 {
		if l.room == 0 {
			return 0, errHeadTooLarge
		}
		p = p[:min(int64(len(p)), l.room)]
	}
	if l.meter.left.Load() {
		return 0, errLeft
	}
	n, err := l.tls.Read(p)
	if err == io.EOF {
		l.meter.goodbye() // TLS has its own
	}
	l.heard = l.heard || n > 0
	if l.room >= 0 {
		l.room -= int64(n)
	}
	return n, err
}

// until bounds what is read from now on; 0 ends the bound. It is for whoever
// reads.
func (l *link) until(d time.Duration) {
	l.armed = true
	l.deadline(d)
}

func (l *link) deadline(d time.Duration) {
	if d > 0 {
		l.tcp.SetReadDeadline(time.Now().Add(d))
	} else {
		l.tcp.SetReadDeadline(time.Time{})
	}
	if l.meter.left.Load() {
		l.meter.leave() // it may have come between
	}
}

// quiet reports whether nothing of what has come is unread. What came behind an
// answer that has ended would be taken for the next.
func (l *link) quiet() bool {
	if l.in.Buffered() > 0 {
		return false
	}
	for _, y := range l.layers {
		if !y.empty() {
			return false
		}
	}
	return true
}

// cut ends the connection at once, and whatever is under way on it.
func (l *link) cut() { l.tcp.Close() }

// close says goodbye, which takes no time on a link that is not in use.
func (l *link) close() { l.tls.Close() }

// stands reports whether the other side of a link that was kept since it was
// made is still there. There TLS may have left messages of its own, so that a
// look at the connection alone does not tell.
func (l *link) stands() bool {
	l.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
	y := l.layers[len(l.layers)-1]
	n, err := y.conn.Read(y.one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}
