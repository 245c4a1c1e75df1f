package egress

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ackedBytes returns how many bytes the other side's system has acknowledged
// on c, -1 where that is not known. A system may acknowledge late what its
// program has read; with the end of a connection it acknowledges all.
func ackedBytes(c net.Conn) int64 {
	raw, ok := c.(syscall.Conn)
	if !ok {
		return -1
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return -1
	}
	acked := int64(-1)
	rc.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.Bytes_acked > 0 {
			acked = int64(info.Bytes_acked) - 1 // the first stands for the connection itself
		}
	})
	return acked
}
