package machine

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// settle gives back what only the start has needed: memory that is free, and
// those pages of the program that stand beside the few that have run. What is
// needed again is read from the file, as it was at first.
func settle() {
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	own, err := os.Executable()
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		// 00400000-00e21000 r-xp 00000000 fe:00 10002459    /usr/bin/dynproxy
		fields := bytes.Fields(line)
		if len(fields) != 6 || string(fields[5]) != own || bytes.IndexByte(fields[1], 'w') >= 0 {
			continue
		}
		first, last, _ := bytes.Cut(fields[0], []byte("-"))
		from, _ := strconv.ParseUint(string(first), 16, 64)
		to, err := strconv.ParseUint(string(last), 16, 64)
		if err == nil && from < to {
			unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
		}
	}
}
