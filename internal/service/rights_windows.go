package service

import "golang.org/x/sys/windows"

// MayInstall reports whether this process has the rights to install a service:
// whether an administrator has started it as one.
func MayInstall() bool { return windows.GetCurrentProcessToken().IsElevated() }
