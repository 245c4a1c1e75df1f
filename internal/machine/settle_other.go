//go:build !linux

package machine

import "runtime/debug"

// settle gives back what only the start has needed.
func settle() { debug.FreeOSMemory() }
