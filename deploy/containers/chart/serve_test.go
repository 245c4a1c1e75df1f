package chart

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 60 * time.Second

// emulator runs the embedded Entra ID and organizations, and returns the
// settings with which a proxy uses them.
func emulator(t *testing.T) map[string]string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{t: t, root: t.TempDir(), environ: map[string]string{"TMPDIR": t.TempDir()}}
	c := p.command("emulator")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(path, err)
	}
	t.Cleanup(func() { c.Process.Signal(os.Interrupt); c.Wait() })
	settings := make(map[string]string)
	for s := bufio.NewScanner(out); s.Scan(); {
		if name, value, is := strings.Cut(s.Text(), "="); is && strings.HasPrefix(name, "DYNPROXY_") {
			settings[name] = value
		}
		if strings.Contains(s.Text(), "Ctrl-C") {
			return settings
		}
	}
	t.Fatal("the emulator has ended")
	return nil
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// serve runs the pod's container, at ports of this machine, and returns a
// function that ends it as a kubelet does, and gives its log.
func (p *pod) serve(callers, ops string) (stop func() string) {
	p.t.Helper()
	p.environ["DYNPROXY_LISTEN"], p.environ["DYNPROXY_OPS_LISTEN"] = ":"+callers, ":"+ops
	c := p.command("serve")
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	once := sync.OnceValue(func() string {
		c.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				p.t.Errorf("it ended with %v\n%s", err, log.String())
			}
		case <-time.After(patience):
			c.Process.Kill()
			<-ended
			p.t.Error("it did not end")
		}
		return log.String()
	})
	p.t.Cleanup(func() { once() })
	return once
}

// ask sends a request as it comes from inside the cluster, by a Service's name.
func ask(t *testing.T, method, url, host, key string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	if key != "" {
		r.Header.Set("X-Api-Key", key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body) // what is torn is judged by what it lacks
	return resp.StatusCode, string(text)
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// What the chart makes of values serves calls: by the Service's name in the
// cluster, with a caller's key from a Secret, and with what changes in a
// ConfigMap while it runs.
func TestThePodServes(t *testing.T) {
	cloud := emulator(t)
	added := (&pod{t: t, root: t.TempDir(), environ: map[string]string{"DYNPROXY_CALLERS_DIR": t.TempDir()}})
	key, err := added.command("caller", "add", "webform").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(added.environ["DYNPROXY_CALLERS_DIR"], "webform.env"))
	if err != nil {
		t.Fatal(err)
	}
	hash := regexp.MustCompile(`KEY_SHA256="?([0-9a-f]{64})`).FindSubmatch(file)
	if hash == nil {
		t.Fatalf("%s", file)
	}
	organization := regexp.MustCompile(`contoso=([^,]+)`).FindStringSubmatch(cloud["DYNPROXY_TENANTS"])[1]
	values := fmt.Sprintf(`
clientId: %s
credential: {existingSecret: app}
ops: {existingSecret: ops}
tenants: {files: {contoso: {ORG_URL: %q}}}
callers: {files: {webform: {KEY_SHA256: %s}}}
settings: {ALLOWED_ORG_HOSTS: %q, ALLOWED_LOGIN_HOSTS: %q}
trustedCA: {existingConfigMap: ca}
drain: {delaySeconds: 0, timeoutSeconds: 20}
`, cloud["DYNPROXY_CLIENT_ID"], organization, hash[1], cloud["DYNPROXY_ALLOWED_ORG_HOSTS"], cloud["DYNPROXY_ALLOWED_LOGIN_HOSTS"])
	ca, err := os.ReadFile(cloud["DYNPROXY_TRUSTED_CA_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	there := cluster(t)
	there["app"] = map[string]string{"client-secret": cloud["DYNPROXY_CLIENT_SECRET"] + "\n"}
	there["ca"] = map[string]string{"ca.crt": string(ca)}
	r := render(t, values)
	p := newPod(t, r, there)

	callers, ops := free(t), free(t)
	stop := p.serve(callers, ops)
	// The probe of a kubelet names the pod's address.
	until(t, "the readiness probe", func() bool {
		status, _ := ask(t, "GET", "http://127.0.0.1:"+ops+r.container().ReadinessProbe.HTTPGet.Path, "10.1.2.3:8081", "")
		return status == http.StatusOK
	})
	who := "http://127.0.0.1:" + callers + "/contoso/api/data/v9.2/WhoAmI"
	mine := strings.TrimSpace(string(key))
	for _, host := range []string{"r-dynproxy", "r-dynproxy.crm:8080", "r-dynproxy.crm.svc.cluster.local:8080"} {
		if status, said := ask(t, "GET", who, host, mine); status != http.StatusOK || !strings.Contains(said, "http://"+host+"/contoso/") {
			t.Errorf("%s: %d %s", host, status, said)
		}
	}
	if status, said := ask(t, "GET", who, "r-dynproxy", "another"); status != http.StatusUnauthorized {
		t.Errorf("a stranger: %d %s", status, said)
	}
	if status, _ := ask(t, "GET", who, "r-dynproxy.elsewhere.example.com", mine); status == http.StatusOK {
		t.Error("by any name")
	}

	contacts := "http://127.0.0.1:" + callers + "/contoso/api/data/v9.2/contacts"
	p.publish("tenants", map[string]string{"contoso.env": r.configMaps["r-dynproxy-tenants"].Data["contoso.env"] + "READ_ONLY=true\n"})
	until(t, "a ConfigMap that changes takes effect", func() bool {
		_, said := ask(t, "POST", contacts, "r-dynproxy", mine)
		return strings.Contains(said, "read_only")
	})
	p.publish("callers", map[string]string{"webform.env": "KEY_SHA256=" + keyHash + "\n"})
	until(t, "a Secret that changes takes effect", func() bool {
		status, _ := ask(t, "GET", who, "r-dynproxy", mine)
		return status == http.StatusUnauthorized
	})
	log := stop()
	if strings.Contains(log, `"level":"error"`) || !strings.Contains(log, `"message":"ended"`) {
		t.Errorf("%s", log)
	}
	if left, err := os.ReadDir(p.folders["state"]); err != nil || len(left) == 0 {
		t.Errorf("nothing is kept: %v, %v", left, err)
	}
}
