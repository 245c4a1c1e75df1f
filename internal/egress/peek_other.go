//go:build !unix && !windows

package egress

import "net"

// closed cannot look into a connection here: a close that crosses with a
// request is noticed by its error alone.
func closed(net.Conn) bool { return false }
