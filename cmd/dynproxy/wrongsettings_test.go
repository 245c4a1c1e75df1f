package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/envfile"
	"dynproxy/tenants"
)

// hiddenWord stands in values that nobody must see.
const hiddenWord = "hidden-word"

// wrongValues are such as people, editors and platforms put into settings.
func wrongValues(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all := map[string]string{
		"control": "\x01?", "long": strings.Repeat("y", 100<<10), "no UTF-8": "\xff\xfe", "half an escape": "%zz", "quotes": `"'`, "two lines": "a\nb", "a brace": "{{.}}", "backslashes": `C:\x\y`,
		"negative": "-1", "huge": "99999999999999999999", "beyond a float": "1e309", "no number": "NaN", "without end": "Inf", "a plain number": "5", "a day": "1d", "a long time": "9999999h", "yes": "yes", "on": "on",
		"no host": "https://", "only a port": "https://:80", "a bad port": "https://example.com:99999", "a port in words": "https://example.com:port", "a user": "https://user:" + hiddenWord + "@example.com", "a zone": "https://[fe80::1%25eth0]:80", "half an address": "https://[::1", "redis": "redis://user:" + hiddenWord + "@host:port",
		"host bits": "10.0.0.1/33", "mapped": "::ffff:10.0.0.0/104", "a German date": "31.03.2027", "an American date": "03/31/2027", "no such day": "2027-02-30", "commas": ",a,,a,", "equals": "a=b,a=b", "a star": "*.*", "an address": "127.0.0.1:99999",
		"a directory": dir, "a missing file": filepath.Join(dir, "missing"), "an empty file": file("empty", "", 0o600), "binary": file("binary", hiddenWord+"\x00\xff", 0o600), "torn PEM": file("pem", "-----BEGIN "+hiddenWord+"\n"+hiddenWord+"\n", 0o600),
		"UTF-16": file("wide", "\xff\xfea\x00=\x00b", 0o600),
	}
	if runtime.GOOS == "linux" {
		all["a device without end"], all["no content"] = "/dev/zero", "/proc/self/mem"
	}
	return all
}

// everySetting are the variables that the program goes by.
func everySetting() []string {
	names := append(prefixed(envfile.Names[settings]()), "HTTPS_PROXY", "NO_PROXY", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_BSP_MAX_QUEUE_SIZE")
	for _, name := range tenants.SettingNames() {
		names = append(names, prefix+"TENANT_"+name)
	}
	return names
}

// ended runs the program, which must come to an end by itself and show no secret.
func ended(t *testing.T, args []string, settings map[string]string) (status int, out, said string) {
	t.Helper()
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- exitStatus(run(t.Context(), args, environ, &stdout, &stderr), &stderr) }()
	select {
	case status = <-done:
		return status, stdout.String(), stderr.String()
	case <-time.After(30 * time.Second):
		t.Errorf("%v does not end", args)
		return -1, "", ""
	}
}

// Whatever stands in all settings at once: each fault is told, none twice, and
// nothing of a secret.
func TestAnyValueInAllSettingsAtOnce(t *testing.T) {
	t.Parallel()
	for name, value := range wrongValues(t) {
		all := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
		for _, setting := range everySetting() {
			all[setting] = value
		}
		for _, secret := range []string{"CLIENT_SECRET", "CLIENT_SECRET_NEXT", "OPS_PASSWORD", "NOTIFY_URL", "REDIS_URL", "TENANT_CLIENT_SECRET", "TENANT_CLIENT_SECRET_NEXT"} {
			all[prefix+secret] = value + hiddenWord
		}
		for _, command := range []string{"serve", "config", "check"} {
			status, out, said := ended(t, []string{command}, all)
			if status != 2 {
				t.Errorf("%s, %s: status %d\n%s", name, command, status, said)
			}
			if shown := strings.ReplaceAll(out+said, value, ""); strings.Contains(shown, hiddenWord) {
				t.Errorf("%s, %s: a secret is shown\n%.3000s", name, command, shown)
			}
			if longest := slices.MaxFunc(strings.Split(said, "\n"), func(a, b string) int { return len(a) - len(b) }); len(longest) > longestFault+100 {
				t.Errorf("%s, %s: a line of %d bytes", name, command, len(longest))
			}
			told := make(map[string]bool)
			for line := range strings.Lines(said) {
				about, what, _ := strings.Cut(strings.TrimPrefix(line, "dynproxy: "), " ")
				if strings.HasPrefix(what, "and ") {
					about = line // of several, which may each have a fault of their own
				}
				if told[about] && about != prefix+"TENANTS" {
					t.Errorf("%s, %s: %s is told twice\n%.3000s", name, command, about, said)
				}
				told[about] = true
			}
		}
	}
}

// The demo looks at all that it heeds before it takes an address.
func TestTheDemoTellsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"LISTEN"}, {"OPS_LISTEN", "TENANT_RATE"}, {"LISTEN", "OPS_LISTEN", "TENANT_RATE", "PUBLIC_URL", "LOG_LEVEL"}} {
		wrong := make(map[string]string)
		for _, name := range names {
			wrong[prefix+name] = "wrong"
		}
		status, out, said := ended(t, []string{"demo"}, wrong)
		if status != 2 || out != "" || strings.Count(said, "\n") != len(names) {
			t.Errorf("%v: status %d %s%s", names, status, out, said)
		}
		for name := range wrong {
			if !strings.Contains(said, "dynproxy: "+name+" ") {
				t.Errorf("nothing of %s in\n%s", name, said)
			}
		}
	}
}

// Of each kind of setting, what it cannot be is refused under its name.
func TestWhatASettingCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	durations := []string{"5", "-5s", "1d", "NaN", "9999999h", "5 s", "5m30"}
	kinds := map[reflect.Type][]string{
		reflect.TypeFor[time.Duration](): durations,
		reflect.TypeFor[bool]():          {"yes", "on", "2", "tru"},
		reflect.TypeFor[int]():           {"-1", "1.5", "1e309", "NaN", "99999999999999999999", "0x10", "1_000"},
		reflect.TypeFor[envfile.Bytes](): {"-1", "1e309", "NaN", "99999999999999999999", "1XB", "1,5GB"},
	}
	addresses := []string{"x", "https://", "https://:80", "https://x:99999", "https://x:0", "https://x:port", "https://[::1", "https://[fe80::1%25eth0]:80", "https://x/%zz", "ftp://x", `\\x\y`}
	bases := append([]string{"https://x?", "https://x/#", "https://x#", "https://x/a?b=c", "https://x/a b", "https://x/a\"b", `https://x/a\b`, "https://x/ä", "https://u@x"}, addresses...)
	named := map[string][]string{
		"LISTEN": {"x", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:nowhere", "[::1:80"}, "OPS_LISTEN": {"127.0.0.1:99999", "127.0.0.1:8080"},
		"PUBLIC_URL": bases, "OPS_PUBLIC_URL": bases, "NOTIFY_URL": addresses, "REDIS_URL": addresses,
		"TENANTS": {",", " , ", "a=https://a.crm.dynamics.com:99999", "=https://a.crm.dynamics.com"}, "ALLOWED_HOSTS": {"x:99999", "https://x"}, "ALLOWED_ORG_HOSTS": {"x:99999", "*"}, "ALLOWED_LOGIN_HOSTS": {"x:0"},
		"LOG_LEVEL": {"0", "-1", "5", "panic", "fatal", "disabled", "warning"}, "LOG_FORMAT": {"JSON", "text"}, "SECRET_EXPIRES": {"31.03.2027", "03/31/2027", "2027-02-30"},
		"CLIENT_SECRET": {"a\nb", "a\x00b", "\xff"}, "CLIENT_SECRET_NEXT_FILE": {"x"}, "MANAGED_IDENTITY": {"http://x", "a b", "foo", "system1"}, "ALLOW_CIDRS": {"10.0.0.0/33", "fe80::1%eth0/64", "10.0.0.1-10.0.0.9"},
	}
	all := map[string][]string{"HTTPS_PROXY": {"http://", "http://u:" + hiddenWord + "@%zz", "http://x:99999", "x:port", "ftp://x", "http://u:" + hiddenWord + "%zz@x", "[::1"}, "https_proxy": {"http://x:99999"}}
	for field := range reflect.TypeFor[settings]().Fields() {
		name := field.Tag.Get("env")
		if name != "" && (len(kinds[field.Type])+len(named[name])) > 0 {
			all[prefix+name] = slices.Concat(kinds[field.Type], named[name])
		}
	}
	for _, name := range []string{"CLIENT_SECRET", "CLIENT_SECRET_NEXT_FILE", "MANAGED_IDENTITY", "LOG_LEVEL", "LOG_FORMAT"} {
		all[prefix+name] = named[name]
	}
	for _, name := range []string{"WINDOW", "EXECUTION_TIME", "QUEUE_WAIT"} {
		all[prefix+"TENANT_"+name] = durations
	}
	if len(all) < 40 {
		t.Errorf("only %d settings are tried", len(all))
	}
	for name, values := range all {
		for _, value := range values {
			settings := least()
			switch name {
			case prefix + "MANAGED_IDENTITY", prefix + "CLIENT_SECRET_NEXT_FILE":
				delete(settings, prefix+"CLIENT_SECRET")
			}
			settings[name] = value
			_, err := loadConfig(settings)
			faults, _ := errors.AsType[envfile.Faults](err)
			if !slices.ContainsFunc(faults, func(f envfile.Fault) bool { return f.Variable == name }) {
				t.Errorf("%s=%q is taken: %v", name, value, err)
			}
			if strings.Contains(faults.Error(), hiddenWord) {
				t.Errorf("%s=%q is shown: %v", name, value, err)
			}
		}
	}
}

// What tools leave around a value is no part of it, in the environment as in a
// file; and a blank is nothing.
func TestWhatStandsAroundAValueIsNoPartOfIt(t *testing.T) {
	environ := []string{prefix + "LOG_LEVEL=\ufeffwarn\r\n", prefix + "CLIENT_SECRET= s3cret\n", prefix + "LISTEN= \t", prefix + "CLIENT_ID=" + least()[prefix+"CLIENT_ID"] + "\r", prefix + "TENANTS=" + least()[prefix+"TENANTS"]}
	w := &cli{environ: environ}
	c, err := w.config()
	if err != nil || c.LogLevel != "warn" || c.registration.Secret.Reveal() != "s3cret" || c.Listen != "127.0.0.1:8080" {
		t.Errorf("%v %+v", err, c.settings)
	}
}

// A name in another case of letters is told, as it is written.
func TestANameInOtherLettersIsTold(t *testing.T) {
	settings := least()
	settings["dynproxy_listen"], settings["Dynproxy_OPS_LISTEN"] = "x", "x"
	_, _, said := ended(t, []string{"config"}, settings)
	for _, want := range []string{"dynproxy: dynproxy_listen means nothing", "dynproxy: Dynproxy_OPS_LISTEN means nothing"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
}
