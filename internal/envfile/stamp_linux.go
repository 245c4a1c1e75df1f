package envfile

import (
	"os"
	"syscall"
)

// changeTime is when the file was last changed in any way: unlike the time of
// modification, nobody can set it.
func changeTime(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ctim.Nano()
	}
	return 0
}
