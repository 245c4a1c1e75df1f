//go:build unix

package audit

import (
	"os"
	"syscall"
)

// giveTo gives f to the owner of dir where this process may do so: a command of
// root must not make a file that the proxy, which is another user's, cannot
// write.
func giveTo(f *os.File, dir string) {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return
	}
	if owner, is := info.Sys().(*syscall.Stat_t); is {
		f.Chown(int(owner.Uid), int(owner.Gid))
	}
}
