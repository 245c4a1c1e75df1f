package main

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

// liveSettings are those that a running proxy takes up when it reads its
// settings again. All of a tenant's defaults (TENANT_*) are such too.
var liveSettings = []string{
	"ALLOWED_HOSTS", "ALLOWED_LOGIN_HOSTS", "ALLOWED_ORG_HOSTS", "ALLOW_ANONYMOUS", "ALLOW_CIDRS",
	"ANSWER_IDLE_TIMEOUT", "BODY_IDLE_TIMEOUT", "DRAIN_DELAY", "DRAIN_TIMEOUT",
	"LOG_LEVEL", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "MIN_RATE",
	"NOTIFY_URL", "OPS_PASSWORD", "OPS_PASSWORD_FILE", "OPS_PUBLIC_URL", "PUBLIC_URL",
	"PUBLISHER_CONTACT", "PUBLISHER_LOGO_FILE", "PUBLISHER_NAME",
	"SECRET_EXPIRES", "SPOOL_MAX", "TENANTS", "UPSTREAM_IDLE_TIMEOUT", "UPSTREAM_TIMEOUT",
}

// restartSettings are those that hold for the life of a process: what it
// listens on, who it is, where its files lie. The content of files that they
// name is watched.
var restartSettings = []string{
	"CALLERS_DIR", "CALLER_CA_FILE",
	"CLIENT_CERTIFICATE_FILE", "CLIENT_CERTIFICATE_PASSWORD_FILE", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "CLIENT_SECRET_NEXT", "CLIENT_SECRET_NEXT_FILE",
	"FEDERATED_TOKEN_FILE", "GC_HEADROOM", "HEADER_TIMEOUT", "KEEP_ALIVE", "KEYTAB_FILE", "LINK_KEY_FILE", "LISTEN", "LOG_FILE", "LOG_FILE_KEEP", "LOG_FILE_SIZE", "LOG_FORMAT",
	"MANAGED_IDENTITY", "MAX_HEADER_BYTES", "MAX_STREAMS", "MAX_URL_BYTES",
	"OPS_LISTEN", "OPS_TLS_CERT_FILE", "OPS_TLS_KEY_FILE", "REDIS_PREFIX", "REDIS_URL", "REUSE_PORT", "SERVICE_PRINCIPAL", "SPOOL_DIR", "STATE_DIR",
	"TENANTS_DIR", "TENANTS_REDIS", "TLS_CERT_FILE", "TLS_KEY_FILE", "TRUSTED_CA_FILE", "UPSTREAM_CLIENT",
}

// live reports whether a running proxy takes up the variable called name.
func live(name string) bool {
	setting, ours := strings.CutPrefix(name, prefix)
	return ours && (strings.HasPrefix(setting, "TENANT_") || slices.Contains(liveSettings, setting))
}

// comingInto is the environment that comes into force when next is read by a
// process that was started with now: of what needs a restart, that of the
// start.
func comingInto(now, next map[string]string) map[string]string {
	mixed := maps.Clone(now)
	maps.DeleteFunc(mixed, func(name, _ string) bool { return live(name) })
	for name, value := range next {
		if live(name) {
			mixed[name] = value
		}
	}
	return mixed
}

// differing returns the names of the variables that two environments do not
// have in common, sorted. One that is empty, or says what holds without it, is
// one that is missing.
func differing(a, b map[string]string) []string {
	builtIn := envfile.Defaults[settings]()
	both := maps.Clone(a)
	maps.Copy(both, b)
	var names []string
	for name := range both {
		otherwise := builtIn[strings.TrimPrefix(name, prefix)]
		if cmp.Or(a[name], otherwise) != cmp.Or(b[name], otherwise) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// shown is the value of the variable called name, as anybody may see it.
func shown(name, value string) string {
	setting, _ := strings.CutPrefix(name, prefix)
	setting, ofTenant := strings.CutPrefix(setting, "TENANT_")
	one := map[string]string{setting: value}
	switch {
	case value == "":
		return ""
	case ofTenant && !slices.Contains(tenants.SettingNames(), setting),
		strings.HasPrefix(name, "OTEL_") && strings.HasSuffix(name, "HEADERS"):
		return envfile.Hidden // a secret, or one whose name is spelled wrong
	case ofTenant:
		return tenants.Redacted(one)[setting]
	case strings.EqualFold(name, "HTTPS_PROXY"):
		if u, err := url.Parse(value); err == nil {
			return u.Redacted()
		}
		return envfile.Hidden
	}
	return envfile.Redacted[settings](one)[setting]
}

// verbosity is the log's level, which may change. Every copy of a logger that
// samples by it follows.
type verbosity struct{ level atomic.Int32 }

func newVerbosity(level zerolog.Level) *verbosity {
	v := new(verbosity)
	v.set(level)
	return v
}

func (v *verbosity) set(level zerolog.Level) { v.level.Store(int32(level)) }

// Sample is zerolog.Sampler's: it is asked before a line is made.
func (v *verbosity) Sample(level zerolog.Level) bool { return int32(level) >= v.level.Load() }
