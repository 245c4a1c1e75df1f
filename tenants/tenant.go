// Package tenants is the book of tenants: who they are, where their
// organizations stand, and what each may do.
package tenants

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"dynproxy/internal/envfile"
)

// Tenant is one customer: an organization, and how calls to it are made. It is
// a value that is never changed after it left the book: a changed tenant is a
// new one.
type Tenant struct {
	Name  string // lower-case
	Org   string // "https://contoso.crm.dynamics.com", with its port if not 443
	Alias string // the organization's other origin in Microsoft's clouds, or ""

	TenantID  string // Entra tenant, "" to have it discovered
	LoginHost string // host[:port], "" when neither set nor known by the cloud
	Hosts     []string

	Registration Registration // empty: the proxy's own

	Rate  float64 // requests a second, 0 for no such limit
	Burst int     // how many may go at once before Rate holds, at least 1

	Requests      int // service protection limits of one application user
	Window        time.Duration
	ExecutionTime time.Duration
	Concurrency   int
	QueueWait     time.Duration // longest wait for a place in the budget
	Limits        string        // "enforce", "report" or "off"
	DailyRequests int           // that the tenant is entitled to in 24 hours; 0 when not set. Only a forecast goes by it

	ReadOnly      bool
	Impersonation bool
	Paths         []string
	SecretExpires time.Time // zero when not set

	given    []string // the settings of its own file, sorted: a name, its value, and so on
	explicit []string // settings that an operator gave, there or for all tenants, sorted
}

// Explicit reports whether an operator gave setting, such as "REQUESTS", in
// the tenant's own file or as the default of all tenants.
func (t *Tenant) Explicit(setting string) bool {
	_, given := slices.BinarySearch(t.explicit, setting)
	return given
}

// OrgHost returns the host[:port] of the organization.
func (t *Tenant) OrgHost() string { return strings.TrimPrefix(t.Org, "https://") }

// Organization returns the host[:port] by which the organization is known,
// whichever of its two origins Org is: the one without "api".
func (t *Tenant) Organization() string {
	if t.Alias != "" && len(t.Alias) < len(t.Org) {
		return strings.TrimPrefix(t.Alias, "https://")
	}
	return t.OrgHost()
}

// settings is a tenant's file, by the names of its variables.
type settings struct {
	OrgURL    string   `env:"ORG_URL"`
	TenantID  string   `env:"TENANT_ID"`
	LoginHost string   `env:"LOGIN_HOST"`
	Hosts     []string `env:"HOSTS"`
	Credentials

	Rate          float64       `env:"RATE"`
	Burst         int           `env:"BURST"`
	Requests      int           `env:"REQUESTS" envDefault:"6000"`
	Window        time.Duration `env:"WINDOW" envDefault:"5m"`
	ExecutionTime time.Duration `env:"EXECUTION_TIME" envDefault:"20m"`
	Concurrency   int           `env:"CONCURRENCY" envDefault:"52"`
	QueueWait     time.Duration `env:"QUEUE_WAIT" envDefault:"30s"`
	Limits        string        `env:"LIMITS" envDefault:"enforce"`
	DailyRequests int           `env:"DAILY_REQUESTS"`

	ReadOnly      bool     `env:"READ_ONLY"`
	Impersonation bool     `env:"IMPERSONATION"`
	Paths         []string `env:"PATHS"`
	SecretExpires string   `env:"SECRET_EXPIRES"`
}

// defaultPaths are the path prefixes that a tenant's callers may use when its
// settings name none.
var defaultPaths = []string{"/api/data/", "/api/search/", "/XRMServices/2011/Organization.svc"}

// SettingNames returns the variables of a tenant's file in the order in which
// they are written.
func SettingNames() []string {
	names := envfile.Names[settings]()
	slices.SortStableFunc(names, func(a, b string) int {
		return boolRank(a != "ORG_URL") - boolRank(b != "ORG_URL")
	})
	return names
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

var (
	namePattern     = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	guidPattern     = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	idPattern       = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.-]*$`) // a GUID or a domain; what may stand in a URL's path unescaped
	loginReserved   = []string{"common", "organizations", "consumers"}
	limitsModes     = []string{"enforce", "report", "off"}
	examples        = regexp.MustCompile(`(?i)[<>{}]|^(https://)?(your[-_]?(org|organization|company|tenant)|org-?name|organization)\.`)
	secretDateForms = []string{time.DateOnly, time.RFC3339}
)

// Rules are what every tenant is read against.
type Rules struct {
	Organizations *AllowedHosts
	Logins        *AllowedHosts
	Defaults      map[string]string // settings that a tenant does not give itself
	Dir           string            // of the tenants' files, from which paths in them lead
}

// CheckDefaults reads the defaults alone, so that a fault in them is told
// once, under prefix, and not for every tenant.
func (r *Rules) CheckDefaults(prefix string) envfile.Faults {
	var faults envfile.Faults
	for _, name := range envfile.Unknown[settings](r.Defaults) {
		faults.Add(prefix+name, "is not a setting of a tenant; one of %s", strings.Join(envfile.Names[settings](), ", "))
	}
	common := maps.Clone(r.Defaults)
	for _, name := range []string{"ORG_URL", "HOSTS"} {
		if _, set := common[name]; set {
			faults.Add(prefix+name, "belongs to one tenant and cannot be a default for all")
			delete(common, name)
		}
	}
	s, decode := envfile.Decode[settings](common, prefix)
	faults = append(faults, decode...)
	r.build(s, prefix, &faults)
	return faults
}

// ValidName returns name in lower case, or an error with the cure.
func ValidName(name string) (string, error) {
	lower := strings.ToLower(name)
	if !namePattern.MatchString(lower) {
		return "", fmt.Errorf("a name begins with a letter or digit and holds at most 63 letters, digits, dots, dashes and underscores")
	}
	return lower, nil
}

// Read makes the tenant called name of the values of its file. The error, if
// any, is envfile.Faults: all of them.
func (r *Rules) Read(name string, values map[string]string) (*Tenant, error) {
	var faults envfile.Faults
	name, err := ValidName(name)
	if err != nil {
		faults.Add("the file's name", "is not a tenant's: %v", err)
		return nil, faults
	}
	for _, unknown := range envfile.Unknown[settings](values) {
		faults.Add(unknown, "is not a setting of a tenant; one of %s", strings.Join(envfile.Names[settings](), ", "))
	}
	if values["CLIENT_ID"] == "" && hasCredential(values) {
		faults.Add("CLIENT_ID", "is missing beside the tenant's own credential")
	}
	merged := envfile.Merge(r.Defaults, envfile.Resolve(r.Dir, values))
	s, decode := envfile.Decode[settings](merged, "")
	faults = append(faults, decode...)
	t := r.build(s, "", &faults)
	t.Name, t.given = name, pairs(values)
	for setting, value := range merged {
		if value != "" {
			t.explicit = append(t.explicit, setting)
		}
	}
	slices.Sort(t.explicit)
	r.place(t, s, &faults)
	if len(faults) > 0 {
		return nil, faults
	}
	return t, nil
}

// pairs are a tenth of a map for the few settings that a file holds.
func pairs(values map[string]string) []string {
	all := make([]string, 0, 2*len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, name, values[name])
	}
	return all
}

func hasCredential(values map[string]string) bool {
	for _, name := range envfile.Names[Credentials]() {
		if values[name] != "" {
			return true
		}
	}
	return false
}

// place reads what says where the organization stands.
func (r *Rules) place(t *Tenant, s settings, faults *envfile.Faults) {
	if s.OrgURL == "" {
		faults.Add("ORG_URL", "is missing: the organization's address, such as https://contoso.crm.dynamics.com")
		return
	}
	if examples.MatchString(s.OrgURL) {
		faults.Add("ORG_URL", "is still an example; put the organization's own address there (Power Platform admin center, Environments, Environment URL)")
		return
	}
	org, err := originOf(s.OrgURL)
	if err != nil {
		faults.Add("ORG_URL", "%v", err)
		return
	}
	t.Org = org
	host := t.OrgHost()
	if !r.Organizations.Allows(host) {
		faults.Add("ORG_URL", "names a host outside Microsoft's clouds; if it is right, add it to DYNPROXY_ALLOWED_ORG_HOSTS")
		return
	}
	if alias := aliasOf(host); alias != "" {
		t.Alias = "https://" + alias
	}
	if c := cloudOf(host); t.LoginHost == "" && c != nil {
		t.LoginHost = c.login
	}
}

// build reads everything but where the organization stands.
func (r *Rules) build(s settings, prefix string, faults *envfile.Faults) *Tenant {
	fault := func(name, cure string, args ...any) { faults.Add(prefix+name, cure, args...) }
	t := &Tenant{
		TenantID: strings.ToLower(s.TenantID), LoginHost: strings.ToLower(s.LoginHost),
		Registration: s.Credentials.Registration(prefix, faults),
		Rate:         s.Rate, Burst: s.Burst,
		Requests: s.Requests, Window: s.Window, ExecutionTime: s.ExecutionTime, Concurrency: s.Concurrency,
		QueueWait: s.QueueWait, Limits: strings.ToLower(s.Limits), DailyRequests: s.DailyRequests,
		ReadOnly: s.ReadOnly, Impersonation: s.Impersonation, Paths: s.Paths,
	}
	if id := t.TenantID; id != "" && (!idPattern.MatchString(id) || slices.Contains(loginReserved, id)) {
		fault("TENANT_ID", "must be the Entra tenant's id (a GUID) or one of its domains, not %s", strings.Join(loginReserved, ", "))
	}
	if t.LoginHost != "" {
		origin, err := originOf("https://" + t.LoginHost)
		if err != nil || !r.Logins.Allows(strings.TrimPrefix(origin, "https://")) {
			fault("LOGIN_HOST", "must be a login host of Microsoft's clouds, such as login.microsoftonline.com, or be added to DYNPROXY_ALLOWED_LOGIN_HOSTS")
		}
		t.LoginHost = strings.TrimPrefix(origin, "https://")
	}
	for _, host := range s.Hosts {
		host = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(host)), ".")
		if !isHostName(host) {
			fault("HOSTS", "must list host names without scheme, port or path, such as contoso.crm.lan")
			break
		}
		t.Hosts = append(t.Hosts, host)
	}
	t.limits(fault)
	t.paths(fault)
	t.SecretExpires = readDate(s.SecretExpires, fault)
	return t
}

func (t *Tenant) limits(fault func(name, cure string, args ...any)) {
	// The comparison is written so that NaN fails it too.
	if !(t.Rate >= 0 && t.Rate <= 1e6) {
		fault("RATE", "must be the requests a second, from 0 (no limit) to 1000000")
	}
	if t.Burst < 0 {
		fault("BURST", "must not be negative")
	}
	if t.Burst == 0 {
		t.Burst = max(1, int(min(t.Rate, 1e6)))
	}
	if t.Requests < 1 {
		fault("REQUESTS", "must be at least 1")
	}
	if t.Window < 100*time.Millisecond || t.Window > 24*time.Hour {
		fault("WINDOW", "must lie between 100ms and 24h")
	}
	if t.ExecutionTime <= 0 {
		fault("EXECUTION_TIME", "must be more than 0")
	}
	if t.Concurrency < 1 {
		fault("CONCURRENCY", "must be at least 1")
	}
	if t.QueueWait < 0 {
		fault("QUEUE_WAIT", "must not be negative")
	}
	if t.DailyRequests < 0 {
		fault("DAILY_REQUESTS", "must be the requests that the tenant is entitled to in 24 hours, or 0 when that is not known")
	}
	if !slices.Contains(limitsModes, t.Limits) {
		fault("LIMITS", "must be one of %s", strings.Join(limitsModes, ", "))
	}
}

func (t *Tenant) paths(fault func(name, cure string, args ...any)) {
	t.Paths = slices.Clone(t.Paths)
	for i, prefix := range t.Paths {
		t.Paths[i] = strings.TrimSpace(prefix)
		if !strings.HasPrefix(t.Paths[i], "/") || strings.ContainsAny(t.Paths[i], "?#%\\ ") || strings.Contains(t.Paths[i], "..") {
			fault("PATHS", "must list path prefixes such as /api/data/")
			return
		}
	}
	if len(t.Paths) == 0 {
		t.Paths = defaultPaths
	}
}

func readDate(text string, fault func(name, cure string, args ...any)) time.Time {
	if text == "" {
		return time.Time{}
	}
	for _, form := range secretDateForms {
		if date, err := time.Parse(form, text); err == nil {
			return date
		}
	}
	fault("SECRET_EXPIRES", "must be a date such as 2027-03-31")
	return time.Time{}
}
