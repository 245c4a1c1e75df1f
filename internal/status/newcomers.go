package status

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"dynproxy/tenants"
)

const (
	maxNewcomers     = 1000
	maxFromOneSender = 5 // address: a flood pushes out its own
)

// Newcomer is a tenant whose administrator says to have granted the app access
// at the open page of consent. Nobody vouches for that: what an operator does
// with it is to add the tenant, whose first token then proves it.
type Newcomer struct {
	TenantID string    `json:"tenant_id"`
	At       time.Time `json:"at"`
	From     string    `json:"from"` // address
}

// newcomers are bounded: of too many the oldest goes.
type newcomers struct {
	mu  sync.Mutex // guards all
	all []Newcomer // the oldest first
}

var tenantID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Welcome notes a newcomer. It reports false for what is no tenant's id.
func (b *Board) Welcome(id, from string) bool {
	id = strings.ToLower(id)
	if !tenantID.MatchString(id) {
		return false
	}
	n := &b.newcomers
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(one Newcomer) bool { return one.TenantID == id })
	theirs := 0
	for i := len(n.all) - 1; i >= 0; i-- {
		if n.all[i].From != from {
			continue
		}
		if theirs++; theirs >= maxFromOneSender {
			n.all = slices.Delete(n.all, i, i+1)
		}
	}
	if len(n.all) >= maxNewcomers {
		n.all = n.all[1:]
	}
	n.all = append(n.all, Newcomer{TenantID: id, At: time.Now(), From: from})
	return true
}

// Newcomers returns those who are waiting, the latest first. Those of whose
// tenant a token is held are newcomers no more.
func (b *Board) Newcomers() []Newcomer {
	proven := make(map[string]bool)
	for t := range b.Tenants.All() {
		if id, ok := b.provenID(t); ok {
			proven[id] = true
		}
	}
	n := &b.newcomers
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(one Newcomer) bool { return proven[one.TenantID] })
	all := slices.Clone(n.all)
	slices.Reverse(all)
	return all
}

// provenID returns the tenant id of which t holds a token.
func (b *Board) provenID(t *tenants.Tenant) (string, bool) {
	expires, _, _ := b.Tokens.Held(t)
	if expires.IsZero() {
		return "", false
	}
	return b.Tokens.TenantID(t)
}
