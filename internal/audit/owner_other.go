//go:build !unix

package audit

import "os"

// giveTo leaves f to the access rules of its folder.
func giveTo(*os.File, string) {}
