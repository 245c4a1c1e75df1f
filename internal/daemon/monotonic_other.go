//go:build !linux

package daemon

import "time"

// monotonic is of no use where there is no systemd.
func monotonic() (time.Duration, error) { return 0, nil }
