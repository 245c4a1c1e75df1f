// Package source says who counts as one where strangers may try something so
// often and no more: wrong keys, passwords of operators, links of consent.
package source

import (
	"net/netip"
)

// Of returns whom an address belongs to: an IPv4 address is somebody by itself,
// while one host has a whole /64 of IPv6. That of no address is none, and is not
// valid.
func Of(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// OfRemote is Of for the address and port of a connection's other end.
func OfRemote(remote string) netip.Prefix {
	ap, _ := netip.ParseAddrPort(remote)
	return Of(ap.Addr())
}
