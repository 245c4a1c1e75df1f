package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	mostScale = 1.05
	atOnce    = 8 // calls
)

// called is to how many of its tenants calls go once all have been called:
// as many organizations as keep connections.
const called = 64

// tenants measures 10,000 tenants with 1,000 callers that have keys, beside one
// tenant with one caller: the memory once each tenant has its token, and the
// processor time of a call. Between them stand no more tenants and callers than
// are called: what those cost is the price of so many connections.
func (f *field) tenants(t *table) error {
	tenants, callers := 10_000, 1000
	if f.short {
		tenants, callers = 100, 10
	}
	few := min(called, tenants)
	var contests []*contest
	for _, size := range []struct {
		name             string
		tenants, callers int
	}{{"one", 1, 1}, {"one again", 1, 1}, {"many", tenants, callers}, {"few", few, few}} {
		c, err := f.book(size.name, size.tenants, size.callers)
		if err != nil {
			return err
		}
		contests = append(contests, c)
	}
	many := contests[2]
	t.amount(fmt.Sprintf("%d tenants with tokens, RSS", tenants), us, many.held/mib, "%.0f MiB", mostTenants)
	if err := f.contest(contests, 2000, atOnce); err != nil {
		return err
	}
	what := fmt.Sprintf("%d tenants, %d callers with keys", tenants, callers)
	t.ratio(what, "one again / one", ratios(contests[1].costs, contests[0].costs), 0)
	t.ratio(what, "many / one", ratios(many.costs, contests[0].costs), mostScale)
	t.ratio(what, fmt.Sprintf("%d of each / one", few), ratios(contests[3].costs, contests[0].costs), 0)
	t.ratio(what, fmt.Sprintf("many / %d of each", few), ratios(many.costs, contests[3].costs), 0)
	return nil
}

// book starts a proxy of so many tenants and callers, and calls each tenant.
func (f *field) book(name string, tenants, callers int) (*contest, error) {
	_, port, _ := strings.Cut(f.organization, ":")
	dirs := []string{filepath.Join(f.Dir, name+" tenants"), filepath.Join(f.Dir, name+" callers")}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	for i := range tenants {
		org := fmt.Sprintf("ORG_URL=https://127.%d.%d.1:%s\n", 1+i/256, i%256, port)
		if err := os.WriteFile(filepath.Join(dirs[0], tenantName(i)+".env"), []byte(org), 0o600); err != nil {
			return nil, err
		}
	}
	for i := range callers {
		hash := fmt.Sprintf("KEY_SHA256=%x\n", sha256.Sum256([]byte(keyOf(i))))
		if err := os.WriteFile(filepath.Join(dirs[1], fmt.Sprintf("caller-%d.env", i)), []byte(hash), 0o600); err != nil {
			return nil, err
		}
	}
	p, err := f.proxy("TENANTS=", "TENANTS_DIR="+dirs[0], "CALLERS_DIR="+dirs[1])
	if err != nil {
		return nil, err
	}
	p.name = name
	c := &contest{peer: p}
	for i := range max(min(called, tenants), callers) {
		c.asks = append(c.asks, askTenant(p, i%min(called, tenants), i%callers, "small"))
	}
	readers, err := gather(p.address, atOnce)
	if err != nil {
		return nil, err
	}
	defer readers.leave()
	if err := readers.each(func(k int, one *client) error {
		for i := k; i < tenants; i += len(readers) {
			// The organization closes, so that the memory is that of tenants alone.
			if _, err := one.call(askTenant(p, i, i%callers, "once"), io.Discard); err != nil {
				return fmt.Errorf("tenant %d: %w", i, err)
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	f.settle()
	if c.held, err = p.resident("VmRSS"); err != nil {
		return nil, err
	}
	// Connections to those that go on being called stand before anything is
	// measured: a handshake costs more than ten calls.
	for i := range min(called, tenants) {
		if err := readers.calls([][]byte{askTenant(p, i, i%callers, "small")}, 4*atOnce); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func tenantName(i int) string { return fmt.Sprintf("tenant-%05d", i) }

func keyOf(i int) string { return fmt.Sprintf("key-of-caller-%d-0123456789abcdef", i) }

func askTenant(p *peer, tenant, caller int, path string) []byte {
	return fmt.Appendf(nil, "GET /%s/api/data/v9.2/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: legacy/1.0\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nX-Api-Key: %s\r\n\r\n",
		tenantName(tenant), path, p.address, keyOf(caller))
}
