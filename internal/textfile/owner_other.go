//go:build !unix

package textfile

import "os"

// entrust has nothing to do where files have the rights of their directory.
func entrust(*os.File) error { return nil }
