package egress

import (
	"net"
	"syscall"
)

// peeker looks whether a connection, on which nothing is to come, still
// stands.
type peeker struct {
	raw  syscall.RawConn // nil where it cannot be looked into
	look func(fd uintptr)
	gone bool
}

func newPeeker(c net.Conn) *peeker {
	p := new(peeker)
	if inside, ok := c.(syscall.Conn); ok {
		p.raw, _ = inside.SyscallConn()
	}
	p.look = func(fd uintptr) { p.gone = readable(fd) }
	return p
}

// closed reports whether the other side has closed the connection, or sent what
// nobody asked for. It does not wait. Where it cannot look, false.
func (p *peeker) closed() bool {
	if p.raw == nil {
		return false
	}
	p.gone = false
	// Control, and not Read: a reader of the Transport's waits inside Read.
	err := p.raw.Control(p.look)
	return p.gone || err != nil
}
