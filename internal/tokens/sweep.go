package tokens

import (
	"iter"
	"slices"
	"time"

	"dynproxy/internal/entra"
	"dynproxy/tenants"
)

// Sweep drops what no tenant of live needs: tokens, registrations with their
// secrets, answers of organizations.
func (s *Source) Sweep(live iter.Seq[*tenants.Tenant]) {
	current := make(map[*tenants.Tenant]bool)
	orgs := make(map[string]bool)
	identities := map[string]time.Time{entra.Registration(s.own).Identity(): s.ownExpires}
	targets := make(map[entra.Target]bool)
	toCome := make(map[place][]*tenants.Tenant)
	for t := range live {
		current[t], orgs[t.Org] = true, true
		identity := entra.Registration(s.registration(t)).Identity()
		ends, named := identities[identity]
		if at := t.SecretExpires; !named || ends.IsZero() || !at.IsZero() && at.Before(ends) {
			identities[identity] = at
		}
		if source := s.heldOf(t); source != nil {
			targets[source.Target()] = true
		} else {
			at := place{t.Org, identity}
			toCome[at] = append(toCome[at], t)
		}
	}
	s.held.Range(func(key, _ any) bool {
		if !current[key.(*tenants.Tenant)] {
			s.held.Delete(key)
		}
		return true
	})
	s.cache.Retain(func(t entra.Target) bool {
		return targets[t] || slices.ContainsFunc(toCome[place{t.Resource, t.Credential}], func(one *tenants.Tenant) bool { return mayBe(t, one) })
	})
	s.client.Retain(identities)
	s.resolver.Retain(func(org string) bool { return orgs[org] })
}

// place is what is known of a target before anybody has asked for its token.
type place struct{ org, identity string }

// mayBe reports whether one, of which nobody has asked for a token since it
// came or changed, may come to the target t: its token is kept for it.
func mayBe(t entra.Target, one *tenants.Tenant) bool {
	return (one.TenantID == "" || one.TenantID == t.TenantID) && (one.LoginHost == "" || one.LoginHost == t.Login)
}
