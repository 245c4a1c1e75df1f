//go:build !linux

package egress

import "net"

// ackedBytes does not know here: what was written counts as arrived.
func ackedBytes(net.Conn) int64 { return -1 }
