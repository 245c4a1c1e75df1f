package egress

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// meter counts what is written on a connection, and knows what of it arrived.
type meter struct {
	net.Conn
	patience *atomic.Pointer[Patience]

	written atomic.Int64 // bytes that the system took
	acked   atomic.Int64 // bytes that the other side's system had when it said goodbye; -1 for unknown
	ended   atomic.Bool  // the other side's end came, and TLS had not said goodbye before
	left    atomic.Bool  // nobody waits any more: nothing is read or written
}

// errLeft is the end of an exchange that its caller has left.
var errLeft = errors.New("nobody waits for the answer any more")

func (m *meter) Write(p []byte) (int, error) {
	if writing := m.patience.Load().IdleWithin; writing > 0 {
		m.SetWriteDeadline(time.Now().Add(writing))
	}
	if m.left.Load() {
		return 0, errLeft
	}
	n, err := m.Conn.Write(p)
	m.written.Add(int64(n))
	return n, err
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if err == io.EOF {
		m.ended.Store(true)
		m.goodbye()
	}
	return n, err
}

// goodbye notes what the other side had when it ended the connection, which it
// has acknowledged by then. A reset acknowledges nothing, nor does silence:
// what was written before one may have been read.
func (m *meter) goodbye() { m.acked.CompareAndSwap(-1, ackedBytes(m.Conn)) }

// leave ends what is read and written now, and all that would be.
func (m *meter) leave() {
	m.left.Store(true)
	m.SetDeadline(time.Unix(1, 0))
}

// delivered returns how many bytes of what was written since base may have
// arrived: those that the other side had at its goodbye, where that is known,
// and else all.
func (m *meter) delivered(base int64) int64 {
	written := m.written.Load() - base
	if acked := m.acked.Load(); acked >= 0 {
		return max(0, min(written, acked-base))
	}
	return written
}
