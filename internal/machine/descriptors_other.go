//go:build !unix

package machine

// Descriptors returns 0: there is no limit to speak of.
func Descriptors() int { return 0 }
