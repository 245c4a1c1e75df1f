package envfile

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Network reads a network, such as 10.1.0.0/16 or fd00::/8, or one address as
// a network of itself.
func Network(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("an IPv4 network in IPv6 form, which no address is in")
	}
	return prefix.Masked(), nil
}

// IsPort reports whether text is a port of an address, or none: what url.URL
// and net.SplitHostPort take for one may be any number.
func IsPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && n > 0
}
