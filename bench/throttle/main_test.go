package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"dynproxy/bench/stand"
)

// TestMain builds the program once for all tests.
func TestMain(m *testing.M) { os.Exit(tests(m)) }

func tests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dynproxy-throttle-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built = filepath.Join(dir, "dynproxy")
	if err := stand.Build(built); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
