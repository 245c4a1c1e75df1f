package main

import "testing"

// hangUp is no way on Windows: there the service is told that its parameters
// have changed.
func hangUp(t *testing.T) { t.Skip("Windows has no SIGHUP") }
