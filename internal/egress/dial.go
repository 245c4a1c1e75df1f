package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"dynproxy/internal/panics"
)

const (
	dialWithin = 15 * time.Second // for one attempt to connect, within AnswerWithin
	keepAlive  = 30 * time.Second
)

// ErrPrivate refuses an address that no organization on the internet has.
var ErrPrivate = errors.New("the name leads to a private address; if that is right, add the host to DYNPROXY_ALLOWED_ORG_HOSTS or DYNPROXY_ALLOWED_LOGIN_HOSTS")

// errFault stands for a panic, which the log tells of.
var errFault = errors.New("a fault of the proxy itself; its log says where")

// dial makes a connection of the Transport's.
func (c *Client) dial(ctx context.Context, network, address string) (made net.Conn, err error) {
	defer panics.Recover(c.config.Log, "dial", func() { made, err = nil, errFault })
	inner, err := c.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c.wrap(inner, address), nil
}

func (c *Client) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if c.config.Dial != nil {
		return c.config.Dial(ctx, network, address)
	}
	return c.dialPublic(ctx, network, address)
}

// dialPublic refuses private addresses at the last moment: what a name leads
// to may have changed since its settings were read.
func (c *Client) dialPublic(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialWithin, KeepAlive: keepAlive}
	if c.config.MayBePrivate == nil || !c.config.MayBePrivate(address) {
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("unexpected address: %w", err)
			}
			if !public(to.Addr()) {
				return ErrPrivate
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// special are the networks of IANA's registries of special-purpose addresses
// that do not lead to a host of the public internet, or lead to another one
// than their digits say.
var special = func() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

// unicast6 is all that is given out of IPv6; translated, mapped and local
// addresses lie outside.
var unicast6 = netip.MustParsePrefix("2000::/3")

func public(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if ip.Is6() && !unicast6.Contains(ip) {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
