package callers

import (
	"net/netip"
	"strings"

	"dynproxy/internal/envfile"
)

// Book holds every caller: see envfile.Registry.
type Book struct {
	*envfile.Registry[Caller]

	// Negotiate checks an Authorization header of the scheme Negotiate and
	// returns the Kerberos principal and what to answer with. It is set before
	// the first call of Identify, and nil without a keytab.
	Negotiate func(authorization string) (principal, reply string, err error)

	failures failures
}

// A Change is one caller that came, went, or became another.
type Change = envfile.Change[Caller]

// Open makes the book of the files in directory dir; "" is a book without
// callers. A wrong file is a fault of that caller alone and told by Faults.
func Open(dir string) (*Book, error) {
	registry, err := envfile.OpenRegistry(dir, envfile.Spec[Caller]{
		Kind: "caller", Read: read, Claims: (*Caller).claims, Replaced: keepRate,
	})
	if err != nil {
		return nil, err
	}
	return &Book{Registry: registry}, nil
}

// keepRate lets a caller whose rate is the same keep what it has used of it,
// and when it was seen.
func keepRate(old, c *Caller) {
	c.seen = old.seen
	if old.Rate == c.Rate && old.Burst == c.Burst {
		c.pace = old.pace
	}
}

// claims are the proofs of c, which are no other's.
func (c *Caller) claims() []envfile.Claim {
	var claims []envfile.Claim
	for i, hash := range c.keys {
		claims = append(claims, envfile.Claim{Key: keyClaim(hash), Variable: []string{"KEY_SHA256", "KEY_SHA256_NEXT"}[i]})
	}
	if c.Certificate != "" {
		claims = append(claims, envfile.Claim{Key: certificateClaim(c.Certificate), Variable: "CERTIFICATE", Text: c.Certificate})
	}
	for principal := range c.Principals {
		claims = append(claims, envfile.Claim{Key: principalClaim(principal), Variable: "PRINCIPALS", Text: principal})
	}
	if c.byAddress() {
		for _, cidr := range c.CIDRs {
			claims = append(claims, envfile.Claim{Key: networkClaim(cidr), Variable: "CIDRS", Text: cidr.String()})
		}
	}
	return claims
}

func keyClaim(hash string) string         { return "key " + hash }
func certificateClaim(name string) string { return "certificate " + name }
func principalClaim(name string) string   { return "principal " + strings.ToLower(name) }

// networkClaim is short, since a call may ask for as many as an address has
// bits.
func networkClaim(network netip.Prefix) string {
	return "net " + string(append(network.Addr().AsSlice(), byte(network.Bits())))
}

// at returns the caller that is known by addr alone, the one with the
// narrowest network if there are several, or nil.
func (b *Book) at(addr netip.Addr) *Caller {
	addr = addr.Unmap().WithZone("")
	for bits := addr.BitLen(); bits >= 0; bits-- {
		network, err := addr.Prefix(bits)
		if err != nil {
			return nil
		}
		if c := b.Holder(networkClaim(network)); c != nil {
			return c
		}
	}
	return nil
}
