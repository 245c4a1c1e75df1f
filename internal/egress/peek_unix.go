//go:build unix

package egress

import (
	"errors"
	"syscall"
)

// readable reports whether a Read of a socket would not wait: for bytes, the
// end or an error.
func readable(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
}
