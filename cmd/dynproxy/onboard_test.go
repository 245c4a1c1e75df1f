package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/onboard"
)

// newcomers is a world with a public app and an organization that knows
// nothing of it.
func newcomers() emulator.Seed {
	seed := demoSeed()
	seed.Apps[0].Public = true
	return seed
}

// onboarded runs "dynproxy onboard --json" and calls told with each step. It
// returns the steps and how the command ended.
func onboarded(t *testing.T, settings map[string]string, told func(onboard.Step), args ...string) ([]onboard.Step, error) {
	t.Helper()
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	in, out := io.Pipe()
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		err := run(ctx, append([]string{"onboard", "--json"}, args...), environ, out, io.Discard)
		out.Close()
		ended <- err
	}()
	var steps []onboard.Step
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var s onboard.Step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%q is no step: %v", lines.Text(), err)
		}
		steps = append(steps, s)
		if told != nil {
			told(s)
		}
	}
	return steps, <-ended
}

func alone(t *testing.T, p *localEmulator) (settings map[string]string, dir string) {
	t.Helper()
	settings, dir = p.settings("fabrikam"), t.TempDir()
	settings[prefix+"TENANTS"], settings[prefix+"TENANTS_DIR"] = "", dir
	settings[prefix+"LISTEN"] = unused(t)
	return settings, dir
}

// The whole way, with people who do their part when they are asked; beside a
// running proxy, which answers in the end by the line that is printed.
func TestOnboard(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, newcomers())
	settings, dir := alone(t, p)
	r := start(t, settings)
	fabrikam := p.Organization("fabrikam")
	asked := map[string]int{}
	steps, err := onboarded(t, settings, func(s onboard.Step) {
		asked[s.Step+" "+s.State]++
		switch s.Step + " " + s.State {
		case "consent waiting":
			if !strings.Contains(s.Link, fabrikam.TenantID()+"/v2.0/adminconsent?") || !strings.Contains(s.Link, "state=") {
				t.Errorf("link %q", s.Link)
			}
			p.Entra().Consent(fabrikam.TenantID(), demoClientID)
		case "application user waiting":
			if !strings.Contains(s.Text, "pac admin assign-user --environment "+p.OrgURL("fabrikam")+" --user "+demoClientID) {
				t.Errorf("text %q", s.Text)
			}
			fabrikam.AddApplicationUser(demoClientID)
		}
	}, "fabrikam", p.OrgURL("fabrikam"))
	if err != nil || asked["consent waiting"] != 1 || asked["application user waiting"] != 1 {
		t.Fatalf("%v %v %v", err, asked, steps)
	}
	last := steps[len(steps)-1]
	if last.Step != "done" || last.Link != "curl "+r.calls+"/fabrikam/api/data/v9.2/WhoAmI" {
		t.Fatalf("ended with %+v", last)
	}
	if resp, body := fetch(t, strings.TrimPrefix(last.Link, "curl ")); resp.StatusCode != 200 {
		t.Errorf("the line that is printed gets %d %s", resp.StatusCode, body)
	}
	if _, err := os.Stat(filepath.Join(dir, "fabrikam.env")); err != nil {
		t.Error(err)
	}

	// Again it finds all done.
	if steps, err := onboarded(t, settings, nil, "fabrikam", p.OrgURL("fabrikam")); err != nil || len(steps) != 2 {
		t.Errorf("%v %v", err, steps)
	}
	// Another organization does not take the name.
	if _, err := onboarded(t, settings, nil, "fabrikam", "https://other.crm.dynamics.com"); exitStatus(err, io.Discard) != 2 {
		t.Errorf("another organization under the name: %v", err)
	}
}

// An administrator signs in by device code, and the rest is done for him; a
// second time there is nothing left to do.
func TestOnboardCreatesTheApplicationUser(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, newcomers())
	settings, _ := alone(t, p)
	fabrikam := p.Organization("fabrikam")
	p.Entra().Consent(fabrikam.TenantID(), demoClientID)
	signIn := func(s onboard.Step) {
		if s.Step != "sign-in" {
			return
		}
		code := regexp.MustCompile(`code (\S+) to`).FindStringSubmatch(s.Text)
		if code == nil || !p.Entra().ApproveDevice(code[1], fabrikam.TenantID()) {
			t.Errorf("no code in %q", s.Text)
		}
	}
	steps, err := onboarded(t, settings, signIn, "fabrikam", p.OrgURL("fabrikam"), "--create-application-user", "--role", "System Customizer")
	if err != nil || steps[len(steps)-1].Step != "done" {
		t.Fatalf("%v %v", err, steps)
	}
	report := checked(t, setting(settings, "TENANTS", "contoso="+p.OrgURL("fabrikam")))
	if !report.OK || report.Link("role").State != "ok" {
		t.Errorf("%+v", report)
	}
}

func setting(settings map[string]string, name, value string) map[string]string {
	more := map[string]string{}
	for n, v := range settings {
		more[n] = v
	}
	more[prefix+name] = value
	delete(more, prefix+"TENANTS_DIR")
	return more
}

// What waiting does not cure ends the command at once, and a person who does
// not come ends it at the time given; neither loses anything.
func TestOnboardEnds(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, newcomers())
	settings, dir := alone(t, p)
	settings[prefix+"CLIENT_SECRET"] = "wrong"
	p.Entra().Consent(p.Organization("fabrikam").TenantID(), demoClientID)
	steps, err := onboarded(t, settings, nil, "fabrikam", p.OrgURL("fabrikam"))
	if exitStatus(err, io.Discard) != 1 || steps[len(steps)-1].Step != "credential" || steps[len(steps)-1].State != "failed" {
		t.Errorf("a wrong secret: %v %v", err, steps)
	}
	settings[prefix+"CLIENT_SECRET"] = demoSecret
	steps, err = onboarded(t, settings, nil, "fabrikam", p.OrgURL("fabrikam"), "--timeout", "5s")
	if exitStatus(err, io.Discard) != 1 || steps[len(steps)-1].State != "waiting" {
		t.Errorf("nobody comes: %v %v", err, steps)
	}
	if _, err := os.Stat(filepath.Join(dir, "fabrikam.env")); err != nil {
		t.Error(err)
	}
}
