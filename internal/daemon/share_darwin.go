package daemon

import (
	"errors"
	"syscall"
	"time"
)

// CanShare says whether several processes can listen at one address here.
const CanShare = true

func reusePort(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEPORT, 1)
}

func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// handOver leaves a shared socket: here new connections go to the process that came
// last, so that what stands in the queue is all there is to take.
func (s *Socket) handOver() { s.SetDeadline(time.Now().Add(handshakeTime)) }
