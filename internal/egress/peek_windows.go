package egress

import (
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

// readable reports whether a Read of a socket would not wait: for bytes, the
// end or an error.
func readable(fd uintptr) bool {
	if wsaPoll.Find() != nil {
		return false
	}
	look := pollFD{socket: fd, events: pollIn}
	found, _, _ := wsaPoll.Call(uintptr(unsafe.Pointer(&look)), 1, 0)
	return int32(found) > 0
}
