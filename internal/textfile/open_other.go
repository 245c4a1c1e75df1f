//go:build !windows

package textfile

import "os"

func open(path string) (*os.File, error) { return os.Open(path) }

func rename(from, to string) error { return os.Rename(from, to) }
