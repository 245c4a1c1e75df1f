//go:build unix

package textfile

import (
	"os"
	"path/filepath"
	"syscall"
)

// groupMay is the mode of a file that a group may read, and nobody else.
const groupMay = 0o640

// entrust makes a new file readable to whom its directory is for, who may be
// others than who writes it: a service reads what root's commands write. A
// directory that gives its group to its files (setgid) wants that group to read
// them; in a directory of another user root makes files that are that user's.
func entrust(f *os.File) error {
	dir, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	if dir.Mode()&os.ModeSetgid != 0 {
		if err := f.Chmod(groupMay); err != nil {
			return err
		}
	}
	owner, is := dir.Sys().(*syscall.Stat_t)
	if !is || os.Geteuid() != 0 || owner.Uid == 0 || dir.Mode()&os.ModeSticky != 0 {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}
