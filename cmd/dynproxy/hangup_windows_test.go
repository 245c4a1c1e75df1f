package main

import (
	"testing"

	"dynproxy/internal/needs"
)

// hangUp is no way on Windows: there the service is told that its parameters
// have changed.
func hangUp(t *testing.T) { needs.Missing(t, "Windows has no SIGHUP") }
