//go:build unix

package service

import "os"

// MayInstall reports whether this process has the rights to install a service.
func MayInstall() bool { return os.Geteuid() == 0 }
