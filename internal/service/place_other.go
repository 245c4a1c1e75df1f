//go:build !linux

package service

import "path/filepath"

// StateDir is where a service keeps what shall survive a restart, unless its
// settings say otherwise.
func StateDir() string { return filepath.Join(filepath.Dir(DefaultEnvFile()), "state") }

// StartLine is what to type so that the installed service runs, now and after
// the next start of the system.
const StartLine = "dynproxy service start"
