//go:build linux || darwin

package envfile

import (
	"os"
	"syscall"
)

// identity is what tells one file from another, and one state of it from the
// next: changed is when it was last changed in any way, which unlike the time of
// modification nobody can set.
type identity struct {
	device, inode uint64
	changed       int64
}

func identityOf(info os.FileInfo) identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(st.Dev), st.Ino, changedAt(st)}
}

func (a identity) same(b identity) bool { return a == b }
