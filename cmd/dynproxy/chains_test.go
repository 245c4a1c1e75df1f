package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/emulator"
	"dynproxy/internal/status"
)

// brokenChain is one way in which a tenant does not work, and what everybody
// says of it.
type brokenChain struct {
	name  string
	entra *emulator.Fault // that strikes Entra ID
	org   *emulator.Fault // that strikes the organization
	apply func(p *pretence, settings map[string]string)

	link    string // that check and portal name
	next    string // part of the next step
	status  int    // that callers get
	code    string // error.code that callers get, and that check foretells
	warning bool   // calls go through
}

func brokenChains() []brokenChain {
	aadsts := func(number int) *emulator.Fault { return &emulator.Fault{Kind: emulator.AADSTS, Number: number} }
	set := func(name, value string) func(*pretence, map[string]string) {
		return func(_ *pretence, settings map[string]string) { settings[prefix+name] = value }
	}
	org := func(url string) func(*pretence, map[string]string) {
		return func(p *pretence, settings map[string]string) {
			settings[prefix+"TENANTS"] = "contoso=https://" + url
			settings[prefix+"ALLOWED_ORG_HOSTS"] = url
		}
	}
	user := func(disabled, noRole bool) func(*pretence, map[string]string) {
		return func(p *pretence, _ map[string]string) {
			p.Organization("contoso").SetApplicationUser(demoClientID, disabled, noRole)
		}
	}
	known := func(p *pretence, settings map[string]string) {
		settings[prefix+"TENANT_TENANT_ID"], settings[prefix+"TENANT_LOGIN_HOST"] = p.Organization("contoso").TenantID(), p.LoginHost()
	}
	throttled := &emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: 40 * time.Second}
	return []brokenChain{
		{name: "no such name", apply: org("contoso.invalid"), link: check.Name, next: "ORG_URL", status: 502, code: "upstream_unreachable"},
		{name: "nobody listens", apply: org("127.0.0.1:1"), link: check.Connection, next: "on port 1,", status: 502, code: "upstream_unreachable"},
		{name: "an unknown authority", apply: func(_ *pretence, s map[string]string) { delete(s, prefix+"TRUSTED_CA_FILE") }, link: check.TLS, next: "TRUSTED_CA_FILE", status: 502, code: "upstream_unreachable"},
		{name: "no organization", apply: func(p *pretence, s map[string]string) { org(p.LoginHost())(p, s) }, link: check.Challenge, next: "ORG_URL", status: 502, code: "tenant_misconfigured"},
		{name: "a clock that is wrong", org: &emulator.Fault{Kind: emulator.Skew, Delay: -20 * time.Minute}, link: check.Clock, next: "clock", status: 200, warning: true},

		{name: "Entra ID is down", entra: &emulator.Fault{Kind: emulator.Down}, link: check.Login, next: "on port", status: 503, code: "token_unavailable"},
		{name: "Entra ID answers 503", entra: &emulator.Fault{Kind: emulator.Status, Status: 503}, link: check.Login, next: "try again", status: 503, code: "token_unavailable"},
		{name: "a page in place of a token", entra: &emulator.Fault{Kind: emulator.HTML}, link: check.Token, next: "try again", status: 503, code: "token_unavailable"},
		{name: "a wrong secret", entra: aadsts(7000215), link: check.Credential, next: "AADSTS7000215", status: 502, code: "credential_rejected"},
		{name: "a secret that has ended", entra: aadsts(7000222), link: check.Credential, next: "expired", status: 502, code: "credential_rejected"},
		{name: "a certificate that is not registered", entra: aadsts(700027), link: check.Credential, next: "certificate", status: 502, code: "credential_rejected"},
		{name: "an assertion out of time", entra: aadsts(700024), link: check.Credential, next: "clock", status: 502, code: "credential_rejected"},
		{name: "a federated credential that is not set up", entra: aadsts(700236), link: check.Credential, next: "federated", status: 502, code: "credential_rejected"},
		{name: "no service principal", entra: aadsts(700016), link: check.Consent, next: "adminconsent", status: 502, code: "consent_required"},
		{name: "no service principal, newer", entra: aadsts(7000229), link: check.Consent, next: "adminconsent", status: 502, code: "consent_required"},
		{name: "no consent", entra: aadsts(65001), link: check.Consent, next: "adminconsent", status: 502, code: "consent_required"},
		{name: "no such tenant", entra: aadsts(90002), link: check.Token, next: "tenant", status: 502, code: "tenant_misconfigured"},
		{name: "the organization is not the tenant's", entra: aadsts(500011), link: check.Token, next: "ORG_URL", status: 502, code: "tenant_misconfigured"},
		{name: "no Dataverse in the tenant", entra: aadsts(650052), link: check.Token, next: "Dataverse", status: 502, code: "tenant_misconfigured"},
		{name: "another cloud", entra: aadsts(900382), link: check.Token, next: "cloud", status: 502, code: "tenant_misconfigured"},
		{name: "conditional access", entra: aadsts(53003), link: check.Token, next: "conditional access", status: 502, code: "tenant_misconfigured"},
		{name: "the app is switched off in the tenant", entra: aadsts(7000112), link: check.Token, next: "disabled", status: 502, code: "tenant_misconfigured"},
		{name: "a loop", entra: aadsts(50196), link: check.Token, next: "try again", status: 503, code: "token_unavailable"},
		{name: "the tenant is throttled", entra: aadsts(90055), link: check.Token, next: "try again", status: 503, code: "token_unavailable"},

		{name: "no application user", apply: func(p *pretence, _ map[string]string) {
			p.Organization("contoso").RemoveApplicationUser(demoClientID)
		}, link: check.ApplicationUser, next: "pac admin assign-user", status: 403, code: "0x80072560"},
		{name: "a disabled application user", apply: user(true, false), link: check.ApplicationUser, next: "Enable", status: 403, code: "0x80040225"},
		{name: "no role", apply: user(false, true), link: check.Role, next: "security role", status: 403, code: "0x80048306"},
		{name: "the IP firewall", org: &emulator.Fault{Kind: emulator.Firewall}, link: check.Firewall, next: "IP firewall", status: 403, code: "0x80095ffe"},
		{name: "app access control", org: &emulator.Fault{Kind: emulator.AccessControl}, link: check.AppAccess, next: "access control", status: 403, code: "0x80095ffc"},
		{name: "the organization throttles", org: throttled, apply: set("TENANT_QUEUE_WAIT", "1s"), link: check.Answer, next: "try again", status: 429, code: "0x80072322"},
		{name: "the organization is down", org: &emulator.Fault{Kind: emulator.Status, Status: 503}, apply: known, link: check.Answer, next: "admin center", status: 503, code: "status 503"},
		{name: "a redirect to a sign-in page", org: &emulator.Fault{Kind: emulator.SignInRedirect}, apply: known, link: check.Challenge, next: "ORG_URL", status: 502, code: "token_refused"},
	}
}

// For each broken chain, check, the caller's error and the portal name the
// same link and the same code.
func TestBrokenChains(t *testing.T) {
	p := pretended(t, demoSeed())
	list := brokenChains()
	if len(list) < 20 {
		t.Fatalf("only %d", len(list))
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			settings := p.settings("contoso")
			if c.apply != nil {
				c.apply(p, settings)
			}
			for fault, inject := range map[*emulator.Fault]func(emulator.Fault) error{c.entra: p.Entra().Inject, c.org: p.Organization("contoso").Inject} {
				if fault == nil {
					continue
				}
				if err := inject(*fault); err != nil {
					t.Fatal(err)
				}
			}
			defer func() {
				p.Entra().Heal()
				p.Organization("contoso").Heal()
				p.Organization("contoso").AddApplicationUser(demoClientID)
			}()
			r := start(t, settings)
			resp, body := r.get("/contoso/api/data/v9.2/accounts?$select=name&$top=1")
			if resp.StatusCode != c.status || c.code != "" && codeOf(resp, body) != c.code {
				t.Errorf("callers get %d %s, want %d %s", resp.StatusCode, codeOf(resp, body), c.status, c.code)
			}
			c.judge(t, "check", checked(t, settings))
			c.judge(t, "the portal", r.seen(t, "contoso"))
			if _, page := fetch(t, r.ops+"/tenants/contoso"); !strings.Contains(page, ">"+c.link+"<") {
				t.Error("the portal's page does not name the link")
			}
		})
	}
}

func (c brokenChain) judge(t *testing.T, who string, report check.Report) {
	t.Helper()
	ailing := report.FirstProblem()
	if ailing.Name != c.link || report.OK != c.warning || report.Error != c.code {
		t.Errorf("%s says %q (%s), ok %v, callers get %q; want %q, %q", who, ailing.Name, ailing.Finding, report.OK, report.Error, c.link, c.code)
	}
	if !strings.Contains(ailing.Next, c.next) || ailing.Finding == "" {
		t.Errorf("%s says: %s. Next: %s (want %q in it)", who, ailing.Finding, ailing.Next, c.next)
	}
}

// codeOf is the error.code of an answer, or its status if it has none.
func codeOf(resp *http.Response, body string) string {
	var said struct{ Error struct{ Code string } }
	if json.Unmarshal([]byte(body), &said) != nil || said.Error.Code == "" {
		return fmt.Sprintf("status %d", resp.StatusCode)
	}
	return said.Error.Code
}

// checked is what "dynproxy check --json contoso" prints.
func checked(t *testing.T, settings map[string]string) check.Report {
	t.Helper()
	var environ []string
	for name, value := range settings {
		environ = append(environ, name+"="+value)
	}
	var out, errs bytes.Buffer
	run(t.Context(), []string{"check", "--json", "contoso"}, environ, &out, &errs)
	var reports []check.Report
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != 1 {
		t.Fatalf("%v: %s%s", err, out.Bytes(), errs.Bytes())
	}
	return reports[0]
}

// seen is what the portal has of a tenant after "check now".
func (r *running) seen(t *testing.T, name string) check.Report {
	t.Helper()
	resp, err := http.Post(r.ops+"/tenants/"+name+"/check", "", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	var facts status.Tenant
	_, text := fetch(t, r.ops+"/api/tenants/"+name)
	if err := json.Unmarshal([]byte(text), &facts); err != nil || facts.Report == nil {
		t.Fatalf("%v: %s", err, text)
	}
	return *facts.Report
}
