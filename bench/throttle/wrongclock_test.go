package main

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
)

// The clock of one proxy is ten minutes fast, that of another gains a tenth of
// a second with every second. They are one with the third all the same: they
// spend one budget, one renews a token that ends soon for all, and what one
// has signed the others take, once.
func TestWrongClocksUnderLoad(t *testing.T) {
	const life, renewed = 20 * time.Second, 10 * time.Second
	d, server := withRedis(t, scales["small"], 0)
	redis := server.URL()
	d.field.world.Entra().SetTokenLife(life, renewed)
	d.field.Binary = ofWrongClock(t)
	d.join(redis)
	for _, wrong := range []string{"10m 0s", "0s 100ms"} {
		t.Setenv("WRONG_CLOCK", wrong)
		d.join(redis)
	}
	os.Unsetenv("WRONG_CLOCK")
	began := time.Now()
	d.begin()
	d.takesOnce(1, 2, d.signed(redis))
	time.Sleep(d.scale.limits.Window)
	refused := d.unauthorized() // who has no token yet, or has heard of consent, asks without one whose tenant it is
	time.Sleep(11 * d.scale.limits.Window)
	d.end(0, nil)
	if n := d.unauthorized() - refused; n != 0 {
		t.Errorf("a token that has ended was sent %d times", n)
	}
	tokens := d.field.world.Entra().TokenRequests(emulator.TokenRequest{})
	most := 2 * (int(time.Since(began)/renewed) + 2) // of two organizations
	t.Logf("%d tokens for two organizations in %v", tokens, time.Since(began).Round(time.Second))
	if tokens > most {
		t.Errorf("%d tokens were asked for, want at most %d", tokens, most)
	}
}

func (d *drill) unauthorized() int {
	return d.org.Answered(http.StatusUnauthorized) + d.quiet.Answered(http.StatusUnauthorized)
}

// signed is the state of a link that ends in 12 minutes, of a machine whose
// clock is right.
func (d *drill) signed(redis string) string {
	d.t.Helper()
	c := exec.Command(d.field.Binary, "consent-url", "--expires", "12m", d.quiet.Name())
	c.Env = os.Environ()
	for _, setting := range append(d.field.settings(d.org, d.quiet), d.scale.settings(redis)...) {
		c.Env = append(c.Env, "DYNPROXY_"+setting)
	}
	out, err := c.Output()
	link, wrong := url.Parse(strings.TrimSpace(string(out)))
	if err != nil || wrong != nil || link.Query().Get("state") == "" {
		d.t.Fatalf("%q %v", out, err)
	}
	return link.Query().Get("state")
}

// takesOnce brings an administrator's answer to one proxy, and again to another.
func (d *drill) takesOnce(first, second int, state string) {
	d.t.Helper()
	for _, i := range []int{first, second} {
		resp, err := http.Get(d.proxies[i].Ops + "/consent/callback?admin_consent=True&state=" + url.QueryEscape(state))
		if err != nil {
			d.t.Fatal(err)
		}
		resp.Body.Close()
		if taken := resp.Request.URL.Path == "/consent/status"; taken != (i == first) {
			d.t.Errorf("proxy %d: %s at %s", i, resp.Status, resp.Request.URL.Path)
		}
	}
}

// ofWrongClock builds the program as it is, but for the time of day, which is
// wrong by what WRONG_CLOCK says: by how much at the start, and by how much more
// with each second.
func ofWrongClock(t *testing.T) (binary string) {
	t.Helper()
	dir := filepath.Join(output(t, "go", "env", "GOROOT"), "src", "time")
	now := filepath.Join(dir, "time.go")
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	return altered(t, map[string]string{
		now: otherwise(t, now, reads, reads+"\tsec, nsec = wrong(sec, nsec, mono)\n"),
		filepath.Join(dir, "wrong.go"): `package time

import "syscall"

var ahead, gain = func() (ahead, gain Duration) {
	said, _ := syscall.Getenv("WRONG_CLOCK")
	for i := range said {
		if said[i] == ' ' {
			ahead, _ = ParseDuration(said[:i])
			gain, _ = ParseDuration(said[i+1:])
		}
	}
	return ahead, gain
}()

func wrong(sec int64, nsec int32, mono int64) (int64, int32) {
	n := int64(nsec) + int64(ahead) + (mono-startNano)/1e6*(int64(gain)/1e3)
	sec, n = sec+n/1e9, n%1e9
	if n < 0 {
		sec, n = sec-1, n+1e9
	}
	return sec, int32(n)
}
`,
	})
}
