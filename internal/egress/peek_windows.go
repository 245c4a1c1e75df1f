package egress

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

var wsaPoll = windows.NewLazySystemDLL("ws2_32.dll").NewProc("WSAPoll")

// pollFD is Winsock's WSAPOLLFD.
type pollFD struct {
	socket  uintptr
	events  int16
	revents int16
}

const pollIn = 0x0300 // POLLRDNORM | POLLRDBAND

// closed reports whether the other side has closed c, or sent what nobody
// asked for. It does not wait. Where connections cannot be looked into, false.
func closed(c net.Conn) bool {
	raw, ok := c.(syscall.Conn)
	if !ok || wsaPoll.Find() != nil {
		return false
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = rc.Control(func(fd uintptr) {
		look := pollFD{socket: fd, events: pollIn}
		found, _, _ := wsaPoll.Call(uintptr(unsafe.Pointer(&look)), 1, 0)
		gone = int32(found) > 0
	})
	return gone || err != nil
}
