package main

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/cluster"
	"dynproxy/internal/daemon"
	"dynproxy/internal/envfile"
	"dynproxy/internal/secret"
	"dynproxy/tenants"
)

const prefix = "DYNPROXY_"

// settings are the variables of product and command line, without the prefix.
// config.example.env says what each means.
type settings struct {
	Listen       string `env:"LISTEN" envDefault:"127.0.0.1:8080"`
	OpsListen    string `env:"OPS_LISTEN" envDefault:"127.0.0.1:8081"`
	PublicURL    string `env:"PUBLIC_URL"`
	OpsPublicURL string `env:"OPS_PUBLIC_URL"`
	TLSCertFile  string `env:"TLS_CERT_FILE"`
	TLSKeyFile   string `env:"TLS_KEY_FILE"`
	CallerCAFile string `env:"CALLER_CA_FILE"`

	OpsTLSCertFile string `env:"OPS_TLS_CERT_FILE"`
	OpsTLSKeyFile  string `env:"OPS_TLS_KEY_FILE"`

	tenants.Credentials
	SecretExpires string `env:"SECRET_EXPIRES"`
	LinkKeyFile   string `env:"LINK_KEY_FILE"`
	StateDir      string `env:"STATE_DIR"`

	PublisherName     string `env:"PUBLISHER_NAME"`
	PublisherContact  string `env:"PUBLISHER_CONTACT"`
	PublisherLogoFile string `env:"PUBLISHER_LOGO_FILE"`

	NotifyURL secret.Text `env:"NOTIFY_URL"`

	Tenants    string `env:"TENANTS"`
	TenantsDir string `env:"TENANTS_DIR"`

	CallersDir       string   `env:"CALLERS_DIR"`
	AllowCIDRs       []string `env:"ALLOW_CIDRS"`
	AllowAnonymous   bool     `env:"ALLOW_ANONYMOUS"`
	AllowedHosts     []string `env:"ALLOWED_HOSTS"`
	KeytabFile       string   `env:"KEYTAB_FILE"`
	ServicePrincipal string   `env:"SERVICE_PRINCIPAL"`

	OpsPassword     secret.Text `env:"OPS_PASSWORD"`
	OpsPasswordFile string      `env:"OPS_PASSWORD_FILE"`

	AllowedOrgHosts   []string `env:"ALLOWED_ORG_HOSTS"`
	AllowedLoginHosts []string `env:"ALLOWED_LOGIN_HOSTS"`
	TrustedCAFile     string   `env:"TRUSTED_CA_FILE"`

	LogSettings

	ReusePort       bool          `env:"REUSE_PORT"`
	DrainDelay      time.Duration `env:"DRAIN_DELAY"`
	DrainTimeout    time.Duration `env:"DRAIN_TIMEOUT" envDefault:"30s"`
	UpstreamTimeout time.Duration `env:"UPSTREAM_TIMEOUT" envDefault:"6m"`
	UpstreamIdle    time.Duration `env:"UPSTREAM_IDLE_TIMEOUT" envDefault:"2m"`
	UpstreamClient  string        `env:"UPSTREAM_CLIENT" envDefault:"own"`
	HeaderTimeout   time.Duration `env:"HEADER_TIMEOUT" envDefault:"20s"`
	BodyIdle        time.Duration `env:"BODY_IDLE_TIMEOUT" envDefault:"1m"`
	AnswerIdle      time.Duration `env:"ANSWER_IDLE_TIMEOUT" envDefault:"2m"`
	MinRate         envfile.Bytes `env:"MIN_RATE" envDefault:"512"`
	KeepAlive       time.Duration `env:"KEEP_ALIVE" envDefault:"2m"`
	MaxHeaderBytes  int           `env:"MAX_HEADER_BYTES" envDefault:"98304"`
	MaxURLBytes     int           `env:"MAX_URL_BYTES" envDefault:"65536"`
	MaxStreams      int           `env:"MAX_STREAMS" envDefault:"100"`
	MaxConns        int           `env:"MAX_CONNECTIONS" envDefault:"20000"`
	MaxConnsPerAddr int           `env:"MAX_CONNECTIONS_PER_ADDRESS" envDefault:"4000"`

	SpoolDir string        `env:"SPOOL_DIR"`
	SpoolMax envfile.Bytes `env:"SPOOL_MAX" envDefault:"4GB"`

	GCHeadroom envfile.Bytes `env:"GC_HEADROOM" envDefault:"24MB"`

	RedisURL    secret.Text `env:"REDIS_URL"`
	RedisPrefix string      `env:"REDIS_PREFIX" envDefault:"dynproxy"`

	TenantsRedis bool `env:"TENANTS_REDIS"`
}

// config is what the settings come to. It never leaves this package.
type config struct {
	settings
	rules        *tenants.Rules
	list         map[string]string // tenants by name, from TENANTS
	registration tenants.Registration
	expires      time.Time // of the registration's secret
	addresses    []netip.Prefix
	level        zerolog.Level
	verbosity    *verbosity // of the process's logger: level, until the settings are read again
	proxy        func(*url.URL) (*url.URL, error)
	proxies      []string          // host:port of the ways out through which outgoing calls may go
	unknown      []string          // variables with the prefix that mean nothing
	environ      map[string]string // what all this was read from
	looks        bool              // whether this process only looks, and is no proxy
	envFiles     []string          // of that, the files
}

// loadConfig reads the settings from environ. Its error is envfile.Faults: all
// of them; the config beside it holds what could be read. It touches no file.
func loadConfig(environ map[string]string) (*config, error) {
	own, defaults := make(map[string]string), make(map[string]string)
	var unknown []string
	for variable, value := range environ {
		name, ours := strings.CutPrefix(variable, prefix)
		if setting, ofTenant := strings.CutPrefix(name, "TENANT_"); ours && ofTenant {
			defaults[setting] = value
		} else if ours {
			own[name] = value
		} else if strings.HasPrefix(strings.ToUpper(variable), prefix) {
			unknown = append(unknown, variable)
		}
	}
	unknown = append(unknown, prefixed(envfile.Unknown[settings](own))...)
	slices.Sort(unknown)
	s, faults := envfile.Decode[settings](own, prefix)
	c := &config{settings: s, unknown: unknown, environ: environ}
	c.readHosts(&faults, defaults)
	c.readTenants(&faults)
	c.registration = c.Credentials.Registration(prefix, &faults)
	if secret.Placeholder(c.ClientID) && strings.Contains(c.Tenants, "contoso.crm.dynamics.com") {
		faults.Add(prefix+"TENANTS", "still lists the example's tenants; put your own there")
	}
	if c.registration.ClientID == "" {
		faults.Add(prefix+"CLIENT_ID", "is missing: the application (client) id of a multi-tenant Entra app registration")
	}
	c.readListeners(&faults)
	c.readManners(&faults)
	c.readPublisher(&faults)
	c.readNotifyURL(&faults)
	c.readShared(&faults)
	c.readWaysOut(&faults)
	if len(faults) > 0 {
		return c, faults.Unique()
	}
	return c, nil
}

// readHosts reads what every tenant is held to.
func (c *config) readHosts(faults *envfile.Faults, defaults map[string]string) {
	orgs, err := tenants.OrganizationHosts(c.AllowedOrgHosts)
	if err != nil {
		faults.Add(prefix+"ALLOWED_ORG_HOSTS", "%v", err)
		orgs = tenants.AnyHost()
	}
	logins, err := tenants.LoginHosts(c.AllowedLoginHosts)
	if err != nil {
		faults.Add(prefix+"ALLOWED_LOGIN_HOSTS", "%v", err)
		logins = tenants.AnyHost()
	}
	c.rules = &tenants.Rules{Organizations: orgs, Logins: logins, Defaults: defaults, Dir: c.TenantsDir}
	if wrong := c.rules.CheckDefaults(prefix + "TENANT_"); len(wrong) > 0 {
		*faults = append(*faults, wrong...)
		c.rules.Defaults = nil // each tenant would tell of them again
	}
}

// readTenants reads TENANTS: name=address, separated by commas.
func (c *config) readTenants(faults *envfile.Faults) {
	c.list = make(map[string]string)
	if strings.Trim(c.Tenants, ", ") == "" && c.TenantsDir == "" && !c.TenantsRedis {
		faults.Add(prefix+"TENANTS", "is missing: name=https://organization.crm.dynamics.com,... (or set %sTENANTS_DIR)", prefix)
	}
	for entry := range strings.SplitSeq(c.Tenants, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, address, ok := strings.Cut(entry, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok {
			faults.Add(prefix+"TENANTS", "must list name=https://organization.crm.dynamics.com, separated by commas")
			continue
		}
		if _, twice := c.list[name]; twice {
			faults.Add(prefix+"TENANTS", "lists %q twice", name)
		}
		c.list[name] = address
	}
	// The book says what is wrong with each; a directory is read when it is opened.
	if _, err := tenants.Open(c.list, "", c.rules); err != nil {
		c.list = nil // it is told of here
		for _, f := range err.(envfile.Faults) {
			faults.Add(prefix+"TENANTS", "%s", f)
		}
	}
}

func (c *config) readListeners(faults *envfile.Faults) {
	fault := func(name, cure string, args ...any) { faults.Add(prefix+name, cure, args...) }
	for _, cidr := range c.AllowCIDRs {
		p, err := envfile.Network(cidr)
		if err != nil {
			fault("ALLOW_CIDRS", "must list addresses or networks, such as 10.1.0.0/16,192.168.1.7")
			break
		}
		c.addresses = append(c.addresses, p)
	}
	for _, host := range c.AllowedHosts {
		if host = strings.TrimSpace(host); host != "" && host != "*" && !(hostName.MatchString(host) && envfile.IsPort(portIn(host))) {
			fault("ALLOWED_HOSTS", "must list host names such as crm-proxy.example.com or *.example.com, or * for any")
			break
		}
	}
	if c.ReusePort && !daemon.CanShare {
		fault("REUSE_PORT", "works on Linux and macOS: this system lets only one process listen at a port. Remove it")
	}
	open := len(c.addresses) > 0 || c.CallersDir != "" || c.TenantsRedis || c.CallerCAFile != "" || c.AllowAnonymous
	switch inside, err := loopback(c.Listen); {
	case err != nil:
		fault("LISTEN", "must be host:port, such as 127.0.0.1:8080")
	case !inside && !open:
		fault("LISTEN", "is not loopback: whoever reaches it would act as the app. %s", c.cure(openCure, openCureInContainer))
	}
	if !open {
		c.addresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	switch inside, err := loopback(c.OpsListen); {
	case err != nil:
		fault("OPS_LISTEN", "must be host:port, such as 127.0.0.1:8081")
	case !inside && c.OpsPassword.Empty() && c.OpsPasswordFile == "":
		fault("OPS_LISTEN", "is not loopback: %s", c.cure(opsCure, opsCureInContainer))
	case c.OpsListen == c.Listen && portOf(c.Listen) != "0":
		fault("OPS_LISTEN", "and %sLISTEN are the same address: choose another port for one", prefix)
	}
	if !c.OpsPassword.Empty() && c.OpsPasswordFile != "" {
		fault("OPS_PASSWORD", "and %sOPS_PASSWORD_FILE exclude each other: set one", prefix)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		fault("TLS_CERT_FILE", "and %sTLS_KEY_FILE go together: set both", prefix)
	}
	if (c.OpsTLSCertFile == "") != (c.OpsTLSKeyFile == "") {
		fault("OPS_TLS_CERT_FILE", "and %sOPS_TLS_KEY_FILE go together: set both", prefix)
	}
	if c.CallerCAFile != "" && c.TLSCertFile == "" {
		fault("CALLER_CA_FILE", "needs TLS: set %sTLS_CERT_FILE and %sTLS_KEY_FILE too", prefix, prefix)
	}
	if c.KeytabFile != "" && c.CallersDir == "" && !c.TenantsRedis {
		fault("KEYTAB_FILE", "tells who calls; set %sCALLERS_DIR too, which says who may", prefix)
	}
	if (c.KeytabFile == "") != (c.ServicePrincipal == "") {
		fault("KEYTAB_FILE", "and %sSERVICE_PRINCIPAL go together: set both", prefix)
	}
	c.PublicURL = readPublicURL("PUBLIC_URL", c.PublicURL, fault)
	c.OpsPublicURL = readPublicURL("OPS_PUBLIC_URL", c.OpsPublicURL, fault)
}

// What a listener off loopback asks for. The image listens on all addresses,
// so who starts a container meets these first, and reads them as he would type
// them.
const (
	openCure            = "Set " + prefix + "CALLERS_DIR or " + prefix + "ALLOW_CIDRS, or " + prefix + "ALLOW_ANONYMOUS=true to allow it"
	openCureInContainer = "Say who may call: -v ./callers:/etc/dynproxy/callers:ro -e " + prefix + "CALLERS_DIR=/etc/dynproxy/callers (by keys), or -e " +
		prefix + "ALLOW_CIDRS=10.1.0.0/16 (by addresses, as they arrive in the container), or -e " + prefix + "ALLOW_ANONYMOUS=true (everybody)"
	opsCure            = "set " + prefix + "OPS_PASSWORD or " + prefix + "OPS_PASSWORD_FILE"
	opsCureInContainer = "give operators a password by -e " + prefix + "OPS_PASSWORD_FILE=/run/secrets/ops-password or -e " + prefix +
		"OPS_PASSWORD=..., or let nobody outside the container in by -e " + prefix + "OPS_LISTEN=127.0.0.1:8081"
)

// cure is what to do, in the words of where the program runs: engines and our
// image say "container" to what runs in one.
func (c *config) cure(elsewhere, inContainer string) string {
	if c.environ["container"] != "" {
		return inContainer
	}
	return elsewhere
}

// redirectURI is where Entra ID sends an administrator back to; it must be
// registered with the app. Without a public address only a browser on this
// machine finds it.
func (c *config) redirectURI() string { return c.opsURL() + "/consent/callback" }

// opsURL is the base under which administrators reach OPS_LISTEN.
func (c *config) opsURL() string {
	if c.OpsPublicURL != "" {
		return c.OpsPublicURL
	}
	if c.OpsTLSCertFile != "" {
		return "https://localhost:" + portOf(c.OpsListen)
	}
	return "http://localhost:" + portOf(c.OpsListen)
}

func (c *config) readManners(faults *envfile.Faults) {
	fault := func(name, cure string, args ...any) { faults.Add(prefix+name, cure, args...) }
	c.readLog(faults)
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"DRAIN_DELAY", c.DrainDelay, 0}, {"DRAIN_TIMEOUT", c.DrainTimeout, 0}, {"UPSTREAM_TIMEOUT", c.UpstreamTimeout, time.Millisecond},
		{"UPSTREAM_IDLE_TIMEOUT", c.UpstreamIdle, 0},
		{"HEADER_TIMEOUT", c.HeaderTimeout, time.Millisecond}, {"BODY_IDLE_TIMEOUT", c.BodyIdle, 0}, {"ANSWER_IDLE_TIMEOUT", c.AnswerIdle, 0},
		{"KEEP_ALIVE", c.KeepAlive, time.Millisecond},
	} {
		if d.value < d.least {
			fault(d.name, "must be at least %v", d.least)
		}
	}
	if c.MaxHeaderBytes < 4<<10 || c.MaxHeaderBytes > 16<<20 {
		fault("MAX_HEADER_BYTES", "must lie between 4096 and 16777216")
	}
	if c.MaxURLBytes < 2<<10 || c.MaxURLBytes > c.MaxHeaderBytes {
		fault("MAX_URL_BYTES", "must lie between 2048 and %sMAX_HEADER_BYTES", prefix)
	}
	if c.MaxStreams < 1 || c.MaxStreams > 10_000 {
		fault("MAX_STREAMS", "must lie between 1 and 10000")
	}
	if c.MaxConns < 0 {
		fault("MAX_CONNECTIONS", "must not be negative; 0 means no limit")
	}
	if c.MaxConnsPerAddr < 0 {
		fault("MAX_CONNECTIONS_PER_ADDRESS", "must not be negative; 0 means no limit")
	}
	if c.MinRate > 1<<30 {
		fault("MIN_RATE", "must be at most 1GB a second; 0 means no such bound")
	}
	if c.SpoolMax < 1<<20 {
		fault("SPOOL_MAX", "must be at least 1MB, such as 4GB")
	}
	if !slices.Contains([]string{"own", "go"}, c.UpstreamClient) {
		fault("UPSTREAM_CLIENT", "must be own or go")
	}
	if c.GCHeadroom < 4<<20 || c.GCHeadroom > 64<<30 {
		fault("GC_HEADROOM", "must lie between 4MB and 64GB, such as 24MB")
	}
	if c.SecretExpires != "" {
		var err error
		if c.expires, err = readDate(c.SecretExpires); err != nil {
			fault("SECRET_EXPIRES", "must be a date such as 2027-03-31")
		}
	}
	if !c.RedisURL.Empty() {
		if err := cluster.CheckURL(c.RedisURL); err != nil {
			fault("REDIS_URL", "%v", err)
		}
	}
	if !cluster.Prefix.MatchString(c.RedisPrefix) {
		fault("REDIS_PREFIX", "must consist of letters, digits, '-', '_', '.' and ':', at most 64, such as dynproxy")
	}
}

func readDate(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Parse(time.DateOnly, text)
}
