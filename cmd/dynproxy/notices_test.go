package main

import (
	"strings"
	"testing"

	"dynproxy/internal/emulator"
	"dynproxy/internal/status"
)

// The notice of a tenant that breaks says what to do, whether a check has found
// that already or one call has met it: where nobody has looked yet, and where
// all was well until then.
func TestANoticeSaysWhatToDo(t *testing.T) {
	p := startEmulator(t, demoSeed())
	p.Organization("northwind").AddApplicationUser(demoClientID)
	settings := p.settings("contoso", "fabrikam", "northwind")
	h := addHook(t, p, settings)
	r := start(t, settings)
	broken := func(tenant, code, next string) {
		t.Helper()
		m := h.next(t, r)
		if len(m.Events) != 1 || m.Events[0].Event != "tenant_broken" || m.Events[0].Tenant != tenant || m.Events[0].Code != code || !strings.Contains(m.Events[0].Next, next) {
			t.Errorf("told: %+v, want %s, %s: %s", m, tenant, code, next)
		}
		if strings.Contains(m.Text, "adminconsent") || strings.Contains(m.Text, "state=") {
			t.Errorf("a link is told: %s", m.Text)
		}
	}
	r.get("/fabrikam/api/data/v9.2/WhoAmI")
	broken("fabrikam", "consent_required", "'dynproxy consent-url fabrikam'")

	for _, tenant := range []string{"contoso", "northwind"} {
		r.get("/" + tenant + "/api/data/v9.2/WhoAmI")
		r.until("a check of "+tenant, func() bool {
			facts, _ := r.facts(t, tenant)
			return facts.State == status.Ready && facts.Report != nil
		})
	}
	p.Organization("northwind").RemoveApplicationUser(demoClientID)
	r.get("/northwind/api/data/v9.2/WhoAmI")
	broken("northwind", "status 403", "pac admin assign-user")

	if err := p.Entra().Inject(emulator.Fault{Kind: emulator.AADSTS, Number: 7000222}); err != nil {
		t.Fatal(err)
	}
	p.Organization("contoso").RevokeTokens()
	r.get(whoAmIPath)
	broken("contoso", "credential_rejected", "Make a new one")
}
