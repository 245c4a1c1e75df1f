//go:build !windows

package envfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// hold locks the directory itself, so that nothing of it is left behind.
func hold(dir string) (release func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		d.Close()
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
			err = errHeld
		}
		return nil, err
	}
	return func() { d.Close() }, nil
}
