//go:build unix

package egress

import (
	"errors"
	"net"
	"syscall"
)

// closed reports whether the other side has closed c, or sent what nobody
// asked for. It does not wait. Where connections cannot be looked into, false.
func closed(c net.Conn) bool {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	// Control, and not Read: the transport's own reader waits inside Read.
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
	})
	return gone || err != nil
}
