//go:build !windows

package textfile

import (
	"os"
	"syscall"
)

const lineEnd = "\n"

// open is os.Open that waits for nobody: without that flag the opening of a pipe
// lasts until somebody opens its other end.
func open(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) }

func rename(from, to string) error { return os.Rename(from, to) }
