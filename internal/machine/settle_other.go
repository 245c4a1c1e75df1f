//go:build !linux

package machine

import "runtime/debug"

// Settle gives back what only the start has needed.
func Settle() { debug.FreeOSMemory() }
