//go:build !linux && !darwin

package envfile

import "os"

// identity is what tells one file from another. When it was changed is not told
// here; files are read again after a while.
type identity struct{ info os.FileInfo }

func identityOf(info os.FileInfo) identity { return identity{info} }

func (a identity) same(b identity) bool { return os.SameFile(a.info, b.info) }
