package tenants

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"dynproxy/internal/envfile"
)

// Book holds every tenant: see envfile.Registry.
type Book struct{ *envfile.Registry[Tenant] }

// A Change is one tenant that came, went, or became another.
type Change = envfile.Change[Tenant]

// Open makes the book of the tenants in list (name to ORG_URL) and of the
// files in directory dir ("" for none). What is wrong in list, or with the
// directory, is an error; a wrong file is a fault of that tenant alone and told
// by Faults.
func Open(list map[string]string, dir string, rules *Rules) (*Book, error) {
	fixed, err := readList(list, rules)
	if err != nil {
		return nil, err
	}
	registry, err := envfile.OpenRegistry(dir, envfile.Spec[Tenant]{
		Kind: "tenant", Read: rules.Read, Claims: (*Tenant).claims,
		Fixed: fixed, FixedBy: "DYNPROXY_TENANTS",
	})
	if err != nil {
		return nil, err
	}
	return &Book{registry}, nil
}

// Renew puts another list and other rules in force, for the tenants of files
// too. It returns what that changed; a tenant that comes to the same stays the
// one it is. Nothing changes if the list is wrong, which Open would have told.
func (b *Book) Renew(list map[string]string, rules *Rules) []Change {
	fixed, err := readList(list, rules)
	if err != nil {
		return nil
	}
	return b.Registry.Renew(rules.Read, fixed)
}

func readList(list map[string]string, rules *Rules) (map[string]*Tenant, error) {
	fixed := make(map[string]*Tenant)
	var faults envfile.Faults
	for _, name := range slices.Sorted(maps.Keys(list)) {
		t, err := rules.Read(name, map[string]string{"ORG_URL": list[name]})
		if err != nil {
			for _, f := range err.(envfile.Faults) {
				faults.Add(fmt.Sprintf("tenant %q:", name), "%s", f)
			}
			continue
		}
		if fixed[t.Name] != nil {
			faults.Add(fmt.Sprintf("tenant %q:", name), "is listed twice")
		}
		fixed[t.Name] = t
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return fixed, nil
}

// claims are the host names that lead to t alone.
func (t *Tenant) claims() []envfile.Claim {
	claims := make([]envfile.Claim, len(t.Hosts))
	for i, host := range t.Hosts {
		claims[i] = envfile.Claim{Key: host, Variable: "HOSTS", Text: host}
	}
	return claims
}

// ByHost returns the tenant that goes by the host name host, given without a
// port and a final dot, or nil.
func (b *Book) ByHost(host string) *Tenant { return b.Holder(strings.ToLower(host)) }
