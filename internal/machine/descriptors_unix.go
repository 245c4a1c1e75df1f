//go:build unix

package machine

import (
	"math"
	"syscall"
)

// Descriptors returns how many files and connections the process may have
// open, 0 for any number. Go has raised the soft limit to the hard one.
func Descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || uint64(limit.Cur) > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}
