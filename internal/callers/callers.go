// Package callers is the book of callers: who may call, by which proof they
// are known, and what each may reach.
package callers

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"dynproxy/internal/envfile"
)

// Caller is one application or person that may call. It is never changed after
// it left the book: a changed caller is a new one.
type Caller struct {
	Name string // lower-case

	Certificate string            // subject or SAN of the client certificate, or ""
	Principals  map[string]string // Kerberos principal in lower case -> its CallerObjectId, or ""
	CIDRs       []netip.Prefix    // addresses it may call from; none means any
	Tenants     []string          // lower-case; none means all
	Methods     []string          // none means all

	// ReadOnly says that the caller may not write. Whether a POST writes only
	// the reader of paths and batches can tell, so Allows does not judge it.
	ReadOnly bool

	Rate   float64 // requests a second, 0 for no limit
	Burst  int     // how many may go at once before Rate holds, at least 1
	Weight int     // its share of a tenant's queue, 1 to 100

	Impersonation  bool   // it may send CallerObjectId itself
	CallerObjectID string // set on each of its calls, or ""

	keys  []string // SHA-256 of the keys in hex, the current one first
	given map[string]string
	pace  *pace         // nil for no limit
	seen  *atomic.Int64 // when it came last, in seconds since 1970
}

// Seen returns when c came last, the zero time if it has not since the start.
func (c *Caller) Seen() time.Time {
	if at := c.seen.Load(); at > 0 {
		return time.Unix(at, 0)
	}
	return time.Time{}
}

// Denied says why a known caller may not do what it asks.
type Denied struct{ Reason string }

func (d *Denied) Error() string { return d.Reason }

// Allows returns nil if c may call tenant with method from addr.
func (c *Caller) Allows(tenant, method string, addr netip.Addr) *Denied {
	switch {
	case len(c.Tenants) > 0 && !slices.Contains(c.Tenants, strings.ToLower(tenant)):
		return &Denied{fmt.Sprintf("its TENANTS do not name %q", tenant)}
	case !c.AllowsMethod(method):
		return &Denied{"its METHODS do not name " + method}
	case len(c.CIDRs) > 0 && c.prefix(addr) < 0:
		return &Denied{fmt.Sprintf("its CIDRS do not hold the address %s", addr)}
	}
	return nil
}

// AllowsMethod reports whether c may use method, which may also be that of a
// part of a batch.
func (c *Caller) AllowsMethod(method string) bool {
	return len(c.Methods) == 0 || slices.Contains(c.Methods, method)
}

// prefix returns the bits of the narrowest of c's CIDRs that holds addr, -1 if
// none does.
func (c *Caller) prefix(addr netip.Addr) int {
	widest := -1
	for _, cidr := range c.CIDRs {
		if cidr.Contains(addr.Unmap()) {
			widest = max(widest, cidr.Bits())
		}
	}
	return widest
}

// byAddress reports whether its address is all that c is known by.
func (c *Caller) byAddress() bool {
	return len(c.keys) == 0 && c.Certificate == "" && len(c.Principals) == 0
}

// settings is a caller's file, by the names of its variables.
type settings struct {
	KeySHA256     string   `env:"KEY_SHA256"`
	KeySHA256Next string   `env:"KEY_SHA256_NEXT"`
	Certificate   string   `env:"CERTIFICATE"`
	Principals    []string `env:"PRINCIPALS"`
	CIDRs         []string `env:"CIDRS"`
	Tenants       []string `env:"TENANTS"`
	Methods       []string `env:"METHODS"`
	ReadOnly      bool     `env:"READ_ONLY"`

	Rate   float64 `env:"RATE"`
	Burst  int     `env:"BURST"`
	Weight int     `env:"WEIGHT" envDefault:"1"`

	Impersonation  bool   `env:"IMPERSONATION"`
	CallerObjectID string `env:"CALLER_OBJECT_ID"`
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	hashPattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	guidPattern   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	methodPattern = regexp.MustCompile(`^[A-Z]{1,20}$`)
)

// SettingNames returns the variables of a caller's file in the order in which
// they are written.
func SettingNames() []string {
	names := envfile.Names[settings]()
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case isKey(a) == isKey(b):
			return 0
		case isKey(a):
			return -1
		}
		return 1
	})
	return names
}

// ValidName returns name in lower case, or an error with the cure.
func ValidName(name string) (string, error) {
	lower := strings.ToLower(name)
	if !namePattern.MatchString(lower) {
		return "", fmt.Errorf("a caller's name begins with a letter or digit and holds at most 63 letters, digits, dots, dashes and underscores")
	}
	return lower, nil
}

// read makes the caller called name of the values of its file. The error, if
// any, is envfile.Faults: all of them.
func read(name string, values map[string]string) (*Caller, error) {
	var faults envfile.Faults
	name, err := ValidName(name)
	if err != nil {
		faults.Add("the file's name", "cannot be used: %v", err)
		return nil, faults
	}
	for _, unknown := range envfile.Unknown[settings](values) {
		faults.Add(unknown, "is not a setting of a caller; one of %s", strings.Join(SettingNames(), ", "))
	}
	s, decode := envfile.Decode[settings](values, "")
	faults = append(faults, decode...)
	c := &Caller{
		Name: name, given: values, seen: new(atomic.Int64), Certificate: normalCertificate(s.Certificate),
		ReadOnly: s.ReadOnly, Rate: s.Rate, Burst: s.Burst, Weight: s.Weight,
		Impersonation: s.Impersonation, CallerObjectID: strings.ToLower(s.CallerObjectID),
	}
	c.readKeys(s, &faults)
	c.readPrincipals(s, &faults)
	c.readReach(s, &faults)
	c.readLimits(&faults)
	if c.byAddress() && len(c.CIDRs) == 0 && len(faults) == 0 {
		faults.Add("KEY_SHA256", "is missing: without it, CERTIFICATE, PRINCIPALS or CIDRS nothing tells this caller from others (dynproxy caller add writes a key)")
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

func (c *Caller) readKeys(s settings, faults *envfile.Faults) {
	for _, key := range []struct{ variable, hash string }{{"KEY_SHA256", s.KeySHA256}, {"KEY_SHA256_NEXT", s.KeySHA256Next}} {
		hash := strings.ToLower(key.hash)
		switch {
		case hash == "":
			continue
		case !hashPattern.MatchString(hash):
			faults.Add(key.variable, "must be the SHA-256 of a key in 64 hex digits, as dynproxy caller add writes it; never the key itself")
		case slices.Contains(c.keys, hash):
			faults.Add(key.variable, "is the same as KEY_SHA256; remove it or run dynproxy caller rotate")
		}
		c.keys = append(c.keys, hash)
	}
}

func (c *Caller) readPrincipals(s settings, faults *envfile.Faults) {
	for _, entry := range s.Principals {
		principal, id, mapped := strings.Cut(strings.TrimSpace(entry), "=")
		principal, id = strings.ToLower(strings.TrimSpace(principal)), strings.ToLower(strings.TrimSpace(id))
		user, realm, found := strings.Cut(principal, "@")
		if !found || user == "" || realm == "" || strings.Contains(realm, "@") || mapped && !guidPattern.MatchString(id) {
			faults.Add("PRINCIPALS", "must list Kerberos principals such as svc-erp@CORP.EXAMPLE.COM, each optionally followed by =<object id of the person>")
			return
		}
		if c.Principals == nil {
			c.Principals = make(map[string]string)
		}
		c.Principals[principal] = id
	}
}

func (c *Caller) readReach(s settings, faults *envfile.Faults) {
	for _, text := range s.CIDRs {
		prefix, err := envfile.Network(text)
		if err != nil {
			faults.Add("CIDRS", "must list addresses or networks such as 10.1.2.3, 10.1.0.0/16 or fd00::/8")
			break
		}
		c.CIDRs = append(c.CIDRs, prefix)
	}
	for _, tenant := range s.Tenants {
		tenant = strings.ToLower(strings.TrimSpace(tenant))
		if !namePattern.MatchString(tenant) {
			faults.Add("TENANTS", "must list names of tenants; leave it out to allow all")
			break
		}
		c.Tenants = append(c.Tenants, tenant)
	}
	for _, method := range s.Methods {
		method = strings.ToUpper(strings.TrimSpace(method))
		if !methodPattern.MatchString(method) {
			faults.Add("METHODS", "must list methods such as GET, POST; leave it out to allow all")
			break
		}
		c.Methods = append(c.Methods, method)
	}
}

func (c *Caller) readLimits(faults *envfile.Faults) {
	if !(c.Rate >= 0 && c.Rate <= 1e6) { // NaN fails this too
		faults.Add("RATE", "must be the requests a second, from 0 (no limit) to 1000000")
		c.Rate = 0
	}
	if c.Burst < 0 {
		faults.Add("BURST", "must not be negative")
	}
	if c.Burst == 0 {
		c.Burst = max(1, int(math.Ceil(c.Rate)))
	}
	if c.Weight < 1 || c.Weight > 100 {
		faults.Add("WEIGHT", "must lie between 1 and 100")
	}
	if c.CallerObjectID != "" && !guidPattern.MatchString(c.CallerObjectID) {
		faults.Add("CALLER_OBJECT_ID", "must be the Entra object id of a user, a GUID")
	}
	if c.CallerObjectID != "" && c.Impersonation {
		faults.Add("CALLER_OBJECT_ID and IMPERSONATION", "exclude each other: either the caller names the person, or this file does")
	}
	if c.Rate > 0 {
		c.pace = &pace{limiter: rate.NewLimiter(rate.Limit(c.Rate), c.Burst)}
	}
}
