package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/status"
)

// What Entra ID says, and what callers are told.
func TestWhatCallersAreToldOfEntraID(t *testing.T) {
	t.Parallel()
	fault := func(f emulator.Fault) func(*localEmulator) {
		return func(p *localEmulator) { p.Entra().Inject(f) }
	}
	for name, c := range map[string]struct {
		inject func(*localEmulator)
		code   string
		status int
		says   string
		again  bool // whether there is a Retry-After
	}{
		"consent missing":     {func(p *localEmulator) { p.Entra().RevokeConsent(demoSeed().Organizations[0].TenantID, demoClientID) }, "consent_required", 502, "/v2.0/adminconsent?", true},
		"consent, other code": {fault(emulator.Fault{Kind: emulator.AADSTS, Number: 700016}), "consent_required", 502, "/v2.0/adminconsent?", true},
		"wrong secret":        {func(p *localEmulator) { p.Entra().RemoveSecret(demoClientID, demoSecret) }, "credential_rejected", 502, "AADSTS7000215", true},
		"expired secret":      {func(p *localEmulator) { p.Entra().SetSecret(demoClientID, demoSecret, true) }, "credential_rejected", 502, "AADSTS7000222", true},
		"unknown tenant":      {fault(emulator.Fault{Kind: emulator.AADSTS, Number: 90002}), "tenant_misconfigured", 502, "dynproxy check", true},
		"wrong organization":  {fault(emulator.Fault{Kind: emulator.AADSTS, Number: 500011}), "tenant_misconfigured", 502, "ORG_URL", true},
		"other cloud":         {fault(emulator.Fault{Kind: emulator.AADSTS, Number: 900382}), "tenant_misconfigured", 502, "cloud", true},
		"throttled":           {fault(emulator.Fault{Kind: emulator.Status, Status: 429, RetryAfter: time.Minute}), "token_unavailable", 503, "try again in", true},
		"busy":                {fault(emulator.Fault{Kind: emulator.Status, Status: 503}), "token_unavailable", 503, "try again in", true},
		"down":                {fault(emulator.Fault{Kind: emulator.Down}), "token_unavailable", 503, "try again in", true},
		"a page":              {fault(emulator.Fault{Kind: emulator.HTML}), "token_unavailable", 503, "try again in", true},
		"half a token":        {fault(emulator.Fault{Kind: emulator.Truncated}), "token_unavailable", 503, "try again in", true},
		"a redirect":          {fault(emulator.Fault{Kind: emulator.Redirect, Location: "https://127.0.0.1:1/"}), "token_unavailable", 503, "try again in", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startEmulator(t, demoSeed())
			r := start(t, p.settings("contoso"))
			c.inject(p)
			resp, text := r.get("/contoso/api/data/v9.2/WhoAmI")
			if resp.StatusCode != c.status || resp.Header.Get("Dynproxy-Error") != c.code || !strings.Contains(text, c.says) {
				t.Errorf("got %d %s %s", resp.StatusCode, resp.Header.Get("Dynproxy-Error"), text)
			}
			if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); c.again && (err != nil || seconds < 1 || seconds > 120) {
				t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
			}
			for _, canary := range []string{demoSecret, "eyJ", "client_secret"} {
				if strings.Contains(text+r.log.String(), canary) {
					t.Errorf("%s is in the answer or the log", canary)
				}
			}
		})
	}
}

func TestALoginHostThatIsDownIsNotNoticedWhileATokenIsGood(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	r.get("/contoso/api/data/v9.2/WhoAmI")
	p.Entra().Inject(emulator.Fault{Kind: emulator.Down})
	for range 50 {
		if resp, text := r.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
}

// A secret is replaced while callers call: nobody notices, the new one is
// used, and the log says so.
func TestTheSecretFileIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	seed := demoSeed()
	seed.TokenLife = 3 * time.Second // so that renewals come while we look
	p := startEmulator(t, seed)
	settings := p.settings("contoso")
	delete(settings, prefix+"CLIENT_SECRET")
	file := filepath.Join(t.TempDir(), "secret")
	settings[prefix+"CLIENT_SECRET_FILE"] = file
	if err := os.WriteFile(file, []byte(demoSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, settings)
	var failed atomic.Int64
	done := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				resp, err := http.Get(r.calls + "/contoso/api/data/v9.2/WhoAmI")
				if err != nil || resp.StatusCode != 200 {
					failed.Add(1)
				}
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	r.await("a call", func(line string) bool { return strings.Contains(line, `"status":200`) })
	const renewed = "another-secret-of-the-demo"
	p.Entra().SetSecret(demoClientID, renewed, false)
	if err := os.WriteFile(file, []byte(renewed), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Entra().RemoveSecret(demoClientID, demoSecret)
	before := p.Entra().TokenRequests(emulator.TokenRequest{})
	for began := time.Now(); p.Entra().TokenRequests(emulator.TokenRequest{}) < before+2; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("nothing was minted with the new secret")
		}
	}
	close(done)
	callers.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d calls failed\n%.2000s", failed.Load(), r.log)
	}
	for _, canary := range []string{demoSecret, renewed} {
		if strings.Contains(r.log.String(), canary) {
			t.Error("a secret is in the log")
		}
	}
}

func TestBothSecretsOfARotationWork(t *testing.T) {
	t.Parallel()
	for _, right := range []string{"CLIENT_SECRET", "CLIENT_SECRET_NEXT"} {
		p := startEmulator(t, demoSeed())
		settings := p.settings("contoso")
		settings[prefix+"CLIENT_SECRET"], settings[prefix+"CLIENT_SECRET_NEXT"] = "wrong-one", "wrong-two"
		settings[prefix+right] = demoSecret
		r := start(t, settings)
		if resp, text := r.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", right, resp.StatusCode, text)
		}
	}
}

// Two tenants may name one organization and call it as two apps: their tokens
// are apart, and so are their budgets.
func TestATenantMayHaveARegistrationOfItsOwn(t *testing.T) {
	t.Parallel()
	const other, otherSecret = "7a2b5d4f-6d2c-4c1f-8e7a-1d2e3f4a5b6c", "the-other-secret"
	seed := demoSeed()
	seed.Apps = append(seed.Apps, emulator.App{ClientID: other, Secrets: []string{otherSecret}})
	seed.Organizations[0].Consented = append(seed.Organizations[0].Consented, other)
	seed.Organizations[0].ApplicationUsers = append(seed.Organizations[0].ApplicationUsers, other)
	p := startEmulator(t, seed)
	settings := p.settings("contoso")
	settings[prefix+"TENANTS_DIR"] = t.TempDir()
	text := fmt.Sprintf("ORG_URL=%s\nCLIENT_ID=%s\nCLIENT_SECRET=%s\nREQUESTS=1\nWINDOW=1h\nQUEUE_WAIT=0s", p.OrgURL("contoso"), other, otherSecret)
	if err := os.WriteFile(filepath.Join(settings[prefix+"TENANTS_DIR"], "second.env"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, settings)
	users := make(map[string]bool)
	for _, tenant := range []string{"contoso", "second"} {
		resp, text := r.get("/" + tenant + "/api/data/v9.2/WhoAmI")
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", tenant, resp.StatusCode, text)
		}
		_, user, _ := strings.Cut(text, `"UserId":`)
		users[user[:38]] = true
	}
	if len(users) != 2 {
		t.Errorf("both tenants are %v", users)
	}
	if resp, _ := r.get("/second/api/data/v9.2/WhoAmI"); resp.Header.Get("Dynproxy-Error") != "limit_wait_exceeded" {
		t.Errorf("the second tenant's budget of one: %d", resp.StatusCode)
	}
	if resp, _ := r.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode != 200 {
		t.Errorf("the first tenant shares the second's budget: %d", resp.StatusCode)
	}
}

// An organization that is down when its tenant is not known yet is told as
// unreachable, politely asked again, and served when it is back.
func TestAnOrganizationThatIsDownAtFirst(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	contoso := p.Organization("contoso")
	contoso.Inject(emulator.Fault{Kind: emulator.Down})
	r := start(t, p.settings("contoso"))
	for range 20 {
		resp, text := r.get("/contoso/api/data/v9.2/WhoAmI")
		if resp.StatusCode != 502 || resp.Header.Get("Dynproxy-Error") != "upstream_unreachable" || !strings.Contains(text, "dynproxy check contoso") {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
	}
	contoso.Heal()
	began := time.Now()
	for {
		if resp, _ := r.get("/contoso/api/data/v9.2/WhoAmI"); resp.StatusCode == 200 {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("it was never asked again")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A token that was kept while nobody called may have been revoked since. A look
// at the tenant renews it, as a call does, and raises no alarm.
func TestALookRenewsARevokedToken(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(*emulator.Organization){
		"revoked": (*emulator.Organization).RevokeTokens,
		"with a claims wish": func(o *emulator.Organization) {
			o.Inject(emulator.Fault{Kind: emulator.Claims, Claims: `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}`})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startEmulator(t, demoSeed())
			r := start(t, p.settings("contoso"))
			r.get(whoAmIPath)
			revoke(p.Organization("contoso"))
			r.until("a check", func() bool { facts, _ := r.facts(t, "contoso"); return facts.Report != nil })
			facts, _ := r.facts(t, "contoso")
			if l := facts.Report.FirstProblem(); !facts.Report.OK || facts.State != status.Ready {
				t.Errorf("%s: %+v", facts.State, l)
			}
			if n := p.Entra().TokenRequests(emulator.TokenRequest{}); n != 2 {
				t.Errorf("%d token requests", n)
			}
		})
	}
}
