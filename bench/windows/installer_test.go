//go:build wine

package windows

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	program  = `C:\Program Files\dynproxy\dynproxy.exe`
	settings = `C:\conf\dynproxy.env` // what ENVFILE names
	data     = `C:\ProgramData\dynproxy`
	own      = data + `\dynproxy.env`

	serviceKey  = `HKLM\SYSTEM\CurrentControlSet\Services\dynproxy`
	memoryKey   = `HKLM\SOFTWARE\dynproxy`
	systemsKey  = `HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment`
	sourceKey   = `HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\dynproxy`
	refused     = 1603 & 0xff // ERROR_INSTALL_FAILURE, as much of it as gets here
	undone      = 1627 & 0xff // what wine says where Windows says 1603 too
	callAddress = "/api/data/v9.2/WhoAmI"
)

// msiexec runs the installer without any window, and returns its exit status
// and its log.
func (w *windows) msiexec(t *testing.T, action, what string, properties ...string) (int, string) {
	t.Helper()
	os.Remove(w.path(`C:\msi.log`))
	said, status := w.run("wine", append([]string{"msiexec", action, what, "/qn", "/l*v", `C:\msi.log`}, properties...)...)
	log, _ := os.ReadFile(w.path(`C:\msi.log`))
	return status, said + string(log)
}

// install has to do well, and is undone at the end of the test.
func (w *windows) install(t *testing.T, version string, properties ...string) {
	t.Helper()
	if status, log := w.msiexec(t, "/i", installer(t, w, version), properties...); status != 0 {
		t.Fatalf("installing %s ends with %d: %s%s", version, status, log, w.said(t, 0))
	}
}

// clean removes whatever version is installed, with all it has kept.
func (w *windows) clean(t *testing.T) {
	built, _ := filepath.Glob(w.home + "/*.msi")
	for _, path := range built {
		w.msiexec(t, "/x", inWindows(path), "PURGE=1")
	}
	w.run("wine", program, "service", "uninstall")
	os.RemoveAll(w.path(data))
	os.RemoveAll(w.path(`C:\conf`))
}

// answers waits until a call of a tenant is answered so.
func answers(t *testing.T, address, tenant string, status int) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	last := "nothing"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		answer, err := client.Get("http://" + address + "/" + tenant + callAddress)
		if err != nil {
			last = err.Error()
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == status {
			return
		}
		last = answer.Status
	}
	t.Fatalf("%s at %s answers %s, not %d", tenant, address, last, status)
}

// silent reports an error where somebody listens.
func silent(t *testing.T, address string) {
	t.Helper()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Errorf("somebody listens at %s", address)
	}
}

// expect compares what is with what shall be.
func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %q, not %q", what, got, want)
	}
}

// The life of an installation: a service from one command, calls of clients as
// Windows has them, stop and start, upgrades that go well and that do not, and
// its end.
func TestAnInstallationFromItsFirstDayToItsLast(t *testing.T) {
	w := here(t)
	t.Cleanup(func() { w.clean(t) })
	listen, other := freeAddress(t), freeAddress(t)
	base := emulator(t, w) + "DYNPROXY_OPS_LISTEN=" + freeAddress(t) + "\nDYNPROXY_LISTEN=" + other + "\n"
	w.write(t, settings, base)

	at := w.mark(t)
	w.install(t, "1.0.1", "ENVFILE="+settings, "LISTEN="+listen)
	answers(t, listen, "contoso", http.StatusOK)
	silent(t, other)
	expect(t, "the service", w.state(), "RUNNING")
	expect(t, "ImagePath", w.value(serviceKey, "ImagePath"), `"`+program+`" serve --service --env-file "`+settings+`"`)
	expect(t, "the start type", w.value(serviceKey, "Start"), "0x2")
	if path := w.value(systemsKey, "PATH"); !strings.HasSuffix(path, `;C:\Program Files\dynproxy\`) {
		t.Errorf("PATH is %s", path)
	}
	if w.has(own) {
		t.Error("settings are laid down beside those of ENVFILE")
	}

	t.Run("clients of Windows", func(t *testing.T) { callFromWindows(t, w, listen) })
	t.Run("stop and start", func(t *testing.T) {
		w.wine(t, program, "service", "stop")
		expect(t, "the service", w.state(), "STOPPED")
		silent(t, listen)
		w.wine(t, "net", "start", "dynproxy")
		answers(t, listen, "contoso", http.StatusOK)
	})
	t.Run("events", func(t *testing.T) {
		said := w.said(t, at)
		for _, text := range []string{"The proxy serves.", "The proxy has ended."} {
			if !strings.Contains(said, text) {
				t.Errorf("no event says %q: %s", text, said)
			}
		}
	})
	t.Run("an upgrade keeps what was edited and what was given", func(t *testing.T) {
		edited := strings.Replace(base, "DYNPROXY_TENANTS=contoso=", "DYNPROXY_TENANTS=renamed=", 1)
		w.write(t, settings, edited)
		w.install(t, "1.0.2")
		answers(t, listen, "renamed", http.StatusOK)
		expect(t, "the version", firstWords(w.wine(t, program, "version")), "dynproxy v1.0.2")
		expect(t, "the settings", w.read(t, settings), strings.ReplaceAll(edited, "\n", "\r\n"))
	})
	t.Run("an upgrade takes what is given anew", func(t *testing.T) {
		w.install(t, "1.0.3", "LISTEN=default")
		answers(t, other, "renamed", http.StatusOK)
		silent(t, listen)
		expect(t, "what is remembered", w.value(memoryKey, "Listen")+" "+w.value(memoryKey, "EnvFile"), " "+settings)
	})
	t.Run("so does the same version once more", func(t *testing.T) {
		w.install(t, "1.0.3", "LISTEN="+listen)
		answers(t, listen, "renamed", http.StatusOK)
		silent(t, other)
		expect(t, "what is remembered", w.value(memoryKey, "Listen")+" "+w.value(memoryKey, "EnvFile"), listen+" "+settings)
	})
	t.Run("a downgrade is refused", func(t *testing.T) {
		status, log := w.msiexec(t, "/i", installer(t, w, "1.0.1"))
		if status != refused {
			t.Errorf("a downgrade ends with %d: %s", status, log)
		}
		expect(t, "the version", firstWords(w.wine(t, program, "version")), "dynproxy v1.0.3")
		answers(t, listen, "renamed", http.StatusOK)
	})
	t.Run("removal keeps the settings", func(t *testing.T) {
		if status, log := w.msiexec(t, "/x", installer(t, w, "1.0.3")); status != 0 {
			t.Fatalf("removal ends with %d: %s", status, log)
		}
		w.gone(t)
		silent(t, listen)
		if !w.has(settings) || !w.has(data+`\logs\dynproxy.log`) {
			t.Error("settings or logs are gone")
		}
	})
}

// firstWords are what 'dynproxy version' says of itself alone.
func firstWords(line string) string {
	words, _, _ := strings.Cut(line, ",")
	return words
}

// gone reports what is left of an installation beside its settings.
func (w *windows) gone(t *testing.T) {
	t.Helper()
	expect(t, "the service", w.state(), "")
	expect(t, "ImagePath", w.value(serviceKey, "ImagePath"), "")
	expect(t, "what is remembered", w.value(memoryKey, "EnvFile"), "")
	expect(t, "the event source", w.value(sourceKey, "EventMessageFile"), "")
	if path := w.value(systemsKey, "PATH"); strings.Contains(path, "dynproxy") {
		t.Errorf("PATH is %s", path)
	}
	if w.has(`C:\Program Files\dynproxy`) {
		t.Error("the program's folder is left")
	}
}

// callFromWindows calls as scripts on old machines do.
func callFromWindows(t *testing.T, w *windows, address string) {
	script, err := os.ReadFile("testdata/call.vbs")
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, `C:\conf\call.vbs`, string(script))
	for _, client := range []string{"MSXML2.ServerXMLHTTP.6.0", "WinHttp.WinHttpRequest.5.1"} {
		said := w.wine(t, "cscript.exe", "//nologo", `C:\conf\call.vbs`, client, "http://"+address+"/contoso"+callAddress)
		if !strings.HasPrefix(said, "200 {") || !strings.Contains(said, `"UserId"`) {
			t.Errorf("%s gets %s", client, said)
		}
	}
}

// Who installs first and writes the settings afterwards has a service that
// waits for them; its settings go when that is asked for.
func TestAnInstallationWithoutSettingsWaitsForThem(t *testing.T) {
	w := here(t)
	t.Cleanup(func() { w.clean(t) })
	w.install(t, "1.0.1")
	expect(t, "the service", w.state(), "STOPPED")
	expect(t, "the start type", w.value(serviceKey, "Start"), "0x2")
	expect(t, "ImagePath", w.value(serviceKey, "ImagePath"), `"`+program+`" serve --service --env-file "`+own+`"`)
	if first := w.read(t, own); !strings.Contains(first, "\r\n#DYNPROXY_CLIENT_ID=\r\n") || !strings.Contains(first, "\r\nDYNPROXY_TENANTS_DIR="+data+`\tenants`+"\r\n") {
		t.Errorf("the first settings are %s", first)
	}
	for _, folder := range []string{"tenants", "callers", "secrets", "state", "logs"} {
		if !w.has(data + `\` + folder) {
			t.Errorf("there is no folder %s", folder)
		}
	}

	listen := freeAddress(t)
	w.write(t, own, w.protected(t, emulator(t, w))+"DYNPROXY_OPS_LISTEN="+freeAddress(t)+"\nDYNPROXY_LISTEN="+listen+"\n")
	w.wine(t, program, "service", "start")
	answers(t, listen, "contoso", http.StatusOK)

	if status, log := w.msiexec(t, "/x", installer(t, w, "1.0.1"), "PURGE=1"); status != 0 {
		t.Fatalf("removal ends with %d: %s", status, log)
	}
	w.gone(t)
	if w.has(data) {
		t.Error("PURGE=1 leaves settings")
	}
}

// protected has the secret of given in a file that only this Windows can read.
func (w *windows) protected(t *testing.T, given string) string {
	t.Helper()
	const name, file = "DYNPROXY_CLIENT_SECRET=", data + `\secrets\client-secret`
	before, rest, _ := strings.Cut(given, name)
	secret, after, _ := strings.Cut(rest, "\n")
	c := w.command(t.Context(), "wine", program, "secret", "protect", "--out", file)
	c.Stdin = strings.NewReader(secret + "\r\n")
	if err := c.Run(); err != nil {
		t.Fatalf("secret protect: %v: %s", err, w.said(t, 0))
	}
	if secret == "" || strings.Contains(w.read(t, file), secret) {
		t.Errorf("the file holds the secret as it is: %s", w.read(t, file))
	}
	return before + "DYNPROXY_CLIENT_SECRET_FILE=" + file + "\n" + after
}

// A guided start writes what the service reads, and ends with a check; the key
// that it prints opens the proxy.
func TestAGuidedStart(t *testing.T) {
	w := here(t)
	t.Cleanup(func() { w.clean(t) })
	w.install(t, "1.0.1")
	given := make(map[string]string)
	for line := range strings.Lines(emulator(t, w)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		given[name] = value
	}
	organization, _, _ := strings.Cut(strings.TrimPrefix(given["DYNPROXY_TENANTS"], "contoso="), ",")
	const clientID, secret = "DYNPROXY_CLIENT_ID", "DYNPROXY_CLIENT_SECRET"
	var others []string // what a proxy before Microsoft's own cloud does not need
	for name, value := range given {
		if name != clientID && name != secret && name != "DYNPROXY_TENANTS" {
			others = append(others, name+"="+value)
		}
	}
	listen := freeAddress(t)
	others = append(others, "DYNPROXY_OPS_LISTEN="+freeAddress(t))
	c := w.command(t.Context(), "wine", program, "init", "--replace", "--client-id", given[clientID], "--client-secret-stdin",
		"--tenant", "contoso", "--org-url", organization, "--callers", "keys", "--caller", "webform", "--listen", listen)
	c.Env = append(c.Env, others...)
	c.Stdin = strings.NewReader(given[secret] + "\r\n")
	at := w.mark(t)
	out, err := c.Output()
	if said := w.said(t, at); err != nil || !strings.Contains(said, "1 ok, 0 broken") {
		t.Fatalf("init: %v: %s", err, said)
	}
	key := strings.TrimSpace(string(out)) // alone, so that it can be kept

	written := w.read(t, own)
	if strings.Contains(written, given[secret]) || !strings.Contains(written, "\r\n") {
		t.Errorf("the settings are %s", written)
	}
	w.write(t, own, written+strings.Join(others, "\r\n")+"\r\n")
	w.wine(t, program, "service", "start")
	answers(t, listen, "contoso", http.StatusUnauthorized)
	ask, err := http.NewRequest(http.MethodGet, "http://"+listen+"/contoso"+callAddress, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("X-Api-Key", key)
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("with its key it answers %s", answer.Status)
	}
}

// A service that cannot start is a failed installation, which leaves nothing
// half done. What is written down of it stays, and so does what it was told.
func TestAnInstallationThatCannotStartIsUndone(t *testing.T) {
	w := here(t)
	t.Cleanup(func() { w.clean(t) })
	listen := freeAddress(t)
	good := emulator(t, w) + "DYNPROXY_OPS_LISTEN=" + freeAddress(t) + "\nDYNPROXY_LISTEN=" + listen + "\n"
	const broken = `C:\conf\broken.env`
	w.write(t, broken, strings.Replace(good, "DYNPROXY_TENANTS=", "DYNPROXY_TENANTS=contoso=nowhere,", 1))
	w.write(t, settings, good)

	at := w.mark(t)
	status, log := w.msiexec(t, "/i", installer(t, w, "1.0.1"), "ENVFILE="+broken)
	if status != undone {
		t.Errorf("an installation that cannot start ends with %d: %s", status, log)
	}
	w.gone(t)
	if said := w.said(t, at); !strings.Contains(said, "The proxy cannot start: its settings cannot be used.") || !strings.Contains(said, "DYNPROXY_TENANTS") {
		t.Errorf("no event tells why: %s", said)
	}

	w.install(t, "1.0.1", "ENVFILE="+settings)
	answers(t, listen, "contoso", http.StatusOK)
}

// Words of the command line that cannot be meant are refused before anything is done.
func TestPropertiesThatCannotBeMeantAreRefused(t *testing.T) {
	w := here(t)
	t.Cleanup(func() { w.clean(t) })
	status, log := w.msiexec(t, "/i", installer(t, w, "1.0.1"), `ENVFILE=conf\dynproxy.env`)
	if status != refused {
		t.Errorf("a relative ENVFILE ends with %d: %s", status, log)
	}
	w.gone(t)
}
