package tokens

import (
	"iter"
	"maps"
	"slices"
	"time"

	"dynproxy/internal/entra"
	"dynproxy/tenants"
)

// Sweep drops what no tenant of live needs: tokens, registrations with their
// secrets, answers of organizations.
func (s *Source) Sweep(live iter.Seq[*tenants.Tenant]) {
	n := s.needsOf(live)
	s.mu.Lock()
	maps.DeleteFunc(s.held, func(t *tenants.Tenant, _ *entra.Source) bool { return !n.tenants[t] })
	s.mu.Unlock()
	s.cache.Retain(n.target)
	s.client.Retain(n.identities)
	s.resolver.Retain(func(org string) bool { return n.orgs[org] })
}

// needs is what tenants need.
type needs struct {
	tenants    map[*tenants.Tenant]bool
	orgs       map[string]bool
	identities map[string]time.Time // when the secret of each ends
	targets    map[entra.Target]bool
	toCome     map[place][]*tenants.Tenant // of which nobody has asked for a token yet
}

// place is what is known of a target before anybody has asked for its token.
type place struct{ org, identity string }

func (s *Source) needsOf(live iter.Seq[*tenants.Tenant]) needs {
	n := needs{
		tenants: make(map[*tenants.Tenant]bool), orgs: make(map[string]bool),
		identities: map[string]time.Time{entra.Registration(s.own).Identity(): *s.ownExpires.Load()},
		targets:    make(map[entra.Target]bool), toCome: make(map[place][]*tenants.Tenant),
	}
	for t := range live {
		n.tenants[t], n.orgs[t.Org] = true, true
		identity := entra.Registration(s.registration(t)).Identity()
		ends, named := n.identities[identity]
		if at := t.SecretExpires; !named || ends.IsZero() || !at.IsZero() && at.Before(ends) {
			n.identities[identity] = at
		}
		if source := s.heldOf(t); source != nil {
			n.targets[source.Target()] = true
		} else {
			at := place{t.Org, identity}
			n.toCome[at] = append(n.toCome[at], t)
		}
	}
	return n
}

// target reports whether t is needed.
func (n needs) target(t entra.Target) bool {
	return n.targets[t] || slices.ContainsFunc(n.toCome[place{t.Resource, t.Credential}], func(one *tenants.Tenant) bool { return mayBe(t, one) })
}

// mayBe reports whether one, of which nobody has asked for a token since it
// came or changed, may come to the target t: its token is kept for it.
func mayBe(t entra.Target, one *tenants.Tenant) bool {
	return (one.TenantID == "" || one.TenantID == t.TenantID) && (one.LoginHost == "" || one.LoginHost == t.Login)
}
