package main

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

// least is what a proxy needs.
func least() map[string]string {
	return map[string]string{
		"DYNPROXY_CLIENT_ID":     "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b",
		"DYNPROXY_CLIENT_SECRET": "s3cret",
		"DYNPROXY_TENANTS":       "contoso=https://contoso.crm.dynamics.com,fabrikam=https://fabrikam.crm4.dynamics.com",
	}
}

func with(changes ...string) map[string]string {
	settings := least()
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		settings["DYNPROXY_"+name] = value
	}
	return settings
}

func TestThreeSettingsAreEnough(t *testing.T) {
	c, err := loadConfig(least())
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || len(c.list) != 2 || len(c.addresses) != 2 || c.registration.Secret.Reveal() != "s3cret" {
		t.Errorf("%+v", c)
	}
}

func TestEveryFaultIsToldAndNoSecret(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		want     []string
	}{
		"nothing":                {map[string]string{}, []string{"DYNPROXY_CLIENT_ID is missing", "DYNPROXY_TENANTS is missing"}},
		"no secret":              {with("CLIENT_SECRET="), []string{"DYNPROXY_CLIENT_SECRET is missing"}},
		"two credentials":        {with("CLIENT_CERTIFICATE_FILE=x"), []string{"DYNPROXY_CLIENT_SECRET and DYNPROXY_CLIENT_CERTIFICATE_FILE exclude"}},
		"a network of no form":   {with("ALLOW_CIDRS=::ffff:10.0.0.0/104"), []string{"ALLOW_CIDRS must"}},
		"several at once":        {with("DRAIN_TIMEOUT=s3cret", "LOG_LEVEL=s3cret", "TENANT_RATE=s3cret", "ALLOW_CIDRS=s3cret", "ALLOW_ANONYMOUS=s3cret"), []string{"DRAIN_TIMEOUT must be a duration", "LOG_LEVEL must", "TENANT_RATE must be a number", "ALLOW_CIDRS must", "ALLOW_ANONYMOUS must be true or false"}},
		"a tenant's address":     {with("TENANTS=contoso=http://contoso.crm.dynamics.com"), []string{"DYNPROXY_TENANTS", `"contoso"`, "https://"}},
		"a foreign address":      {with("TENANTS=contoso=https://evil.com"), []string{"DYNPROXY_ALLOWED_ORG_HOSTS"}},
		"no equals sign":         {with("TENANTS=https://contoso.crm.dynamics.com"), []string{"must list name="}},
		"a tenant twice":         {with("TENANTS=a=https://a.crm.dynamics.com,a=https://b.crm.dynamics.com"), []string{"twice"}},
		"open to everybody":      {with("LISTEN=0.0.0.0:8080"), []string{"DYNPROXY_LISTEN is not loopback"}},
		"open by default host":   {with("LISTEN=:8080"), []string{"DYNPROXY_LISTEN is not loopback"}},
		"operators without":      {with("OPS_LISTEN=0.0.0.0:8081"), []string{"DYNPROXY_OPS_PASSWORD"}},
		"half of TLS":            {with("TLS_CERT_FILE=x"), []string{"DYNPROXY_TLS_CERT_FILE and DYNPROXY_TLS_KEY_FILE go together"}},
		"half of operators' TLS": {with("OPS_TLS_KEY_FILE=x"), []string{"DYNPROXY_OPS_TLS_CERT_FILE and DYNPROXY_OPS_TLS_KEY_FILE go together"}},
		"no port":                {with("LISTEN=localhost"), []string{"must be host:port"}},
		"public address":         {with("PUBLIC_URL=crm.example.com"), []string{"DYNPROXY_PUBLIC_URL must be"}},
		"placeholders":           {with("CLIENT_ID=<application id of an app>", "CLIENT_SECRET=your-client-secret", "TENANTS=contoso=https://<org>.crm.dynamics.com"), []string{"CLIENT_ID is still the example's", "CLIENT_SECRET is still the example's", "ORG_URL is still an example"}},
		"a secret's id":          {with("CLIENT_SECRET=7f6e2a10-2b7c-4d1e-9a4f-0c1b2d3e4f50"), []string{"CLIENT_SECRET is a GUID, and so the secret's id"}},
		"tenants too":            {with("LISTEN=x", "LOG_LEVEL=x", "TENANT_RATE=x", "ALLOWED_ORG_HOSTS=https://x", "TENANTS=a=http://a,b,c=https://c.crm.dynamics.com,d d=https://d.crm.dynamics.com"), []string{"LISTEN must", "LOG_LEVEL must", "TENANT_RATE must", "ALLOWED_ORG_HOSTS must", `"a": ORG_URL must begin`, "must list name=", `"d d": the file's name`}},
		"next alone":             {with("CLIENT_SECRET=", "CLIENT_SECRET_NEXT=s3cret"), []string{"CLIENT_SECRET_NEXT goes with"}},
	} {
		_, err := loadConfig(c.settings)
		faults, ok := errors.AsType[envfile.Faults](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(faults.Error(), want) {
				t.Errorf("%s: %q is not in\n%v", name, want, faults)
			}
		}
		if strings.Contains(faults.Error(), "s3cret") {
			t.Errorf("%s: the faults tell a value:\n%v", name, faults)
		}
	}
}

// The image listens on all addresses. Who starts it with three settings reads
// what else to write, as a container takes it.
func TestInAContainerTheCureIsOneOfContainers(t *testing.T) {
	settings := with("LISTEN=:8080", "OPS_LISTEN=:8081")
	settings["container"] = "oci"
	_, err := loadConfig(settings)
	faults, _ := errors.AsType[envfile.Faults](err)
	if len(faults) != 2 {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"-e DYNPROXY_CALLERS_DIR=/etc/dynproxy/callers", "-e DYNPROXY_ALLOW_CIDRS=10.1.0.0/16", "-e DYNPROXY_ALLOW_ANONYMOUS=true", "-e DYNPROXY_OPS_PASSWORD_FILE=", "-e DYNPROXY_OPS_LISTEN=127.0.0.1:8081"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	settings["DYNPROXY_ALLOW_CIDRS"], settings["DYNPROXY_OPS_LISTEN"] = "10.1.0.0/16", "127.0.0.1:8081"
	if _, err := loadConfig(settings); err != nil {
		t.Errorf("the cures do not cure: %v", err)
	}
}

// Every setting wrong at once: each is told, and none twice.
func TestNoFaultIsToldTwice(t *testing.T) {
	everything := map[string]string{prefix + "TENANTS": "a=http://a,a=http://a,a=http://a,b,c"}
	for _, name := range envfile.Names[settings]() {
		if name != "TENANTS" && name != "TENANTS_DIR" && name != "LOG_LEVEL" {
			everything[prefix+name] = "\x01?"
		}
	}
	for _, name := range tenants.SettingNames() {
		everything[prefix+"TENANT_"+name] = "\x01?"
	}
	_, err := loadConfig(everything)
	faults, _ := errors.AsType[envfile.Faults](err)
	told := make(map[string]bool)
	for i, f := range faults {
		if slices.Contains(faults[:i], f) {
			t.Errorf("%s is told twice in the same words", f)
		}
		if told[f.Variable] && f.Variable != prefix+"TENANTS" {
			t.Errorf("%s is told twice:\n%v", f.Variable, faults)
		}
		told[f.Variable] = true
	}
	for _, name := range []string{"LISTEN", "OPS_LISTEN", "DRAIN_DELAY", "HEADER_TIMEOUT", "MAX_STREAMS", "MAX_URL_BYTES", "MAX_HEADER_BYTES", "TENANT_RATE", "TENANT_QUEUE_WAIT", "TENANT_LIMITS", "TENANTS", "ALLOW_CIDRS", "SECRET_EXPIRES"} {
		if !told[prefix+name] {
			t.Errorf("%s is not told:\n%v", name, faults)
		}
	}
}

func TestFaultsOfFilesAreToldWithThoseOfSettings(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(binary, []byte{0, 1, 2, 0xff, 0, 7}, 0o600); err != nil {
		t.Fatal(err)
	}
	files := []string{
		"CLIENT_SECRET_FILE", "CLIENT_SECRET_NEXT_FILE", "LINK_KEY_FILE", "TENANTS_DIR", "CALLERS_DIR", "KEYTAB_FILE", "OPS_PASSWORD_FILE",
		"TRUSTED_CA_FILE", "CALLER_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "OPS_TLS_CERT_FILE", "OPS_TLS_KEY_FILE",
	}
	for _, path := range []string{binary, binary + "-that-is-missing"} {
		environ := []string{
			"DYNPROXY_CLIENT_ID=6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b", "DYNPROXY_SERVICE_PRINCIPAL=HTTP/proxy.example.com",
			"DYNPROXY_TENANTS=contoso=http://contoso.crm.dynamics.com", "DYNPROXY_LOG_LEVEL=loud", "DYNPROXY_ALLOWED_HOSTS=https://proxy.example.com/",
		}
		for _, name := range files {
			environ = append(environ, "DYNPROXY_"+name+"="+path)
		}
		var said strings.Builder
		if status := exitStatus(run(t.Context(), []string{"serve"}, environ, io.Discard, &said), &said); status != 2 {
			t.Errorf("status %d", status)
		}
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		for _, name := range append(files, "TENANTS", "LOG_LEVEL", "ALLOWED_HOSTS") {
			about := 0
			for _, line := range lines {
				if strings.HasPrefix(line, "dynproxy: DYNPROXY_"+name+" ") || strings.Contains(line, " and DYNPROXY_"+name+" ") {
					about++
				}
			}
			if about != 1 {
				t.Errorf("%s is told of in %d lines of\n%s", name, about, said.String())
			}
		}
		if len(lines) != len(files)+3-2 { // two are told of beside others
			t.Errorf("%d lines:\n%s", len(lines), said.String())
		}
	}
}

func TestEveryLineOfEveryEnvFileIsTold(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/a", []byte("\xff\xfeA\x00\n\x00B\x00"), 0o600)
	os.WriteFile(dir+"/b", []byte("A=1\rA=2\rC"), 0o600)
	_, err := envfile.Environment(nil, []string{dir + "/a", dir + "/none", dir + "/b", dir})
	faults, _ := errors.AsType[envfile.Faults](err)
	want := []string{"/a: line 1 is not", "/a: line 2 is not", "/none cannot be read", "/b: line 2 sets A a second", "/b: line 3 is not", "is a directory"}
	for _, w := range want {
		if !strings.Contains(faults.Error(), w) {
			t.Errorf("%q is not in\n%v", w, faults)
		}
	}
	if len(faults) != len(want) {
		t.Errorf("%d faults:\n%v", len(faults), faults)
	}
	for _, command := range []string{"serve", "check"} {
		var said strings.Builder
		if status := exitStatus(run(t.Context(), []string{command, "--env-file", dir + "/b"}, nil, io.Discard, &said), &said); status != 2 || strings.Count(said.String(), "\n") != 2 {
			t.Errorf("%s: status %d\n%s", command, status, said.String())
		}
	}
}

func TestWhoMayConnect(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		from     int // networks, 0 for everywhere
	}{
		"loopback":  {with(), 2},
		"listed":    {with("LISTEN=0.0.0.0:80", "ALLOW_CIDRS=10.1.0.0/16, 192.168.1.7"), 2},
		"anonymous": {with("LISTEN=0.0.0.0:80", "ALLOW_ANONYMOUS=true"), 0},
	} {
		got, err := loadConfig(c.settings)
		if err != nil || len(got.addresses) != c.from {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestUnknownVariablesAreTold(t *testing.T) {
	c, err := loadConfig(with("LISTNE=x", "PORT=tcp://10.0.0.1:80"))
	if err != nil || len(c.unknown) != 2 {
		t.Errorf("%v, %v", c.unknown, err)
	}
}

var assignment = regexp.MustCompile(`(?m)^#?(DYNPROXY_[A-Z_]+|HTTPS_PROXY|NO_PROXY)=(.*)$`)

// The example must load once its placeholders are replaced, and not before;
// name every setting, and give the defaults that are the program's.
func TestTheExampleIsWhole(t *testing.T) {
	text, err := os.ReadFile("../../config.example.env")
	if err != nil {
		t.Fatal(err)
	}
	values, err := envfile.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = loadConfig(values)
	faults, _ := errors.AsType[envfile.Faults](err)
	for _, name := range []string{"CLIENT_ID is still", "CLIENT_SECRET is still", "TENANTS still"} {
		if !strings.Contains(faults.Error(), prefix+name) {
			t.Errorf("untouched, it does not say %q: %v", name, err)
		}
	}
	if len(faults) != 3 {
		t.Errorf("untouched: %v", err)
	}
	values[prefix+"CLIENT_ID"], values[prefix+"CLIENT_SECRET"] = least()[prefix+"CLIENT_ID"], "s3cret"
	if _, err := loadConfig(values); err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]string)
	for _, m := range assignment.FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] = m[2]
	}
	for _, name := range envfile.Names[settings]() {
		if _, ok := shown[prefix+name]; !ok {
			t.Errorf("%s%s is not explained", prefix, name)
		}
	}
	for _, name := range tenants.SettingNames() {
		_, forAll := shown[prefix+"TENANT_"+name]
		_, credential := shown[prefix+name]
		if name != "ORG_URL" && name != "HOSTS" && !forAll && !credential {
			t.Errorf("%sTENANT_%s is not explained", prefix, name)
		}
	}
	// With every default spelled out the settings are the same.
	explicit := maps.Clone(values)
	for _, name := range []string{"LISTEN", "OPS_LISTEN", "DRAIN_DELAY", "DRAIN_TIMEOUT", "UPSTREAM_TIMEOUT", "HEADER_TIMEOUT", "BODY_IDLE_TIMEOUT", "ANSWER_IDLE_TIMEOUT", "KEEP_ALIVE", "MIN_RATE", "SPOOL_MAX", "MAX_HEADER_BYTES", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "LOG_LEVEL", "LOG_FILE_SIZE", "LOG_FILE_KEEP", "ALLOW_ANONYMOUS"} {
		explicit[prefix+name] = shown[prefix+name]
	}
	a, _ := loadConfig(values)
	b, err := loadConfig(explicit)
	if err != nil {
		t.Fatal(err)
	}
	if a.Listen != b.Listen || a.OpsListen != b.OpsListen || a.DrainDelay != b.DrainDelay || a.DrainTimeout != b.DrainTimeout || a.UpstreamTimeout != b.UpstreamTimeout ||
		a.HeaderTimeout != b.HeaderTimeout || a.BodyIdle != b.BodyIdle || a.AnswerIdle != b.AnswerIdle || a.KeepAlive != b.KeepAlive || a.MinRate != b.MinRate || a.SpoolMax != b.SpoolMax ||
		a.MaxHeaderBytes != b.MaxHeaderBytes || a.MaxConns != b.MaxConns || a.MaxConnsPerAddr != b.MaxConnsPerAddr || a.level != b.level || a.LogFileSize != b.LogFileSize || a.LogFileKeep != b.LogFileKeep {
		t.Errorf("the example shows other defaults than the program has:\n%+v\n%+v", a.settings, b.settings)
	}
	plain, _ := a.rules.Read("x", map[string]string{"ORG_URL": "https://x.crm.dynamics.com"})
	defaults := map[string]string{"ORG_URL": "https://x.crm.dynamics.com"}
	for _, name := range []string{"RATE", "BURST", "REQUESTS", "WINDOW", "EXECUTION_TIME", "CONCURRENCY", "QUEUE_WAIT", "LIMITS", "READ_ONLY", "IMPERSONATION", "PATHS"} {
		defaults[name] = shown[prefix+"TENANT_"+name]
	}
	spelled, err := a.rules.Read("x", defaults)
	if err != nil || strings.Join(plain.Paths, ",") != strings.Join(spelled.Paths, ",") {
		t.Fatalf("%v", err)
	}
	plain.Paths, spelled.Paths = nil, nil
	if plain.Rate != spelled.Rate || plain.Burst != spelled.Burst || plain.Requests != spelled.Requests || plain.Window != spelled.Window ||
		plain.ExecutionTime != spelled.ExecutionTime || plain.Concurrency != spelled.Concurrency || plain.QueueWait != spelled.QueueWait || plain.Limits != spelled.Limits {
		t.Errorf("the example shows other defaults of a tenant:\n%+v\n%+v", plain, spelled)
	}
}
