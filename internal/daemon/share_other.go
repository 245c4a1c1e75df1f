//go:build !linux && !darwin

package daemon

import (
	"errors"
	"syscall"
)

// CanShare says whether several processes can listen at one address here.
const CanShare = false

func reusePort(int) error { return errors.ErrUnsupported }

func inUse(err error) bool {
	const windowsInUse = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, windowsInUse)
}

func (s *Socket) handOver() {}
