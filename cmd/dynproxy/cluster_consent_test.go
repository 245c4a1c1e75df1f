package main

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/cluster/redistest"
)

// consentLink is the link that 'consent-url' prints.
func consentLink(t *testing.T, settings map[string]string, tenant string) *url.URL {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"consent-url", tenant}, environOf(settings), &out, &errs); err != nil {
		t.Fatal(err, errs.String())
	}
	link, err := url.Parse(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// A link that a command has printed on a third machine is answered at one
// proxy, and at that one only; the tenant works at once at the others, which
// have refused its calls until then.
func TestConsentIsOneForAllProxies(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	dir := t.TempDir()
	machine := func(name string) map[string]string {
		settings := maps.Clone(withRedis(p.settings("contoso", "fabrikam"), server.URL()))
		settings[prefix+"STATE_DIR"] = filepath.Join(dir, name) // each with a key of its own
		return settings
	}
	a, b := start(t, machine("a")), start(t, machine("b"))
	a.eventually("two members", func() bool { return len(a.together().Members) == 2 && len(b.together().Members) == 2 })
	const call = "/fabrikam/api/data/v9.2/WhoAmI"
	for _, r := range []*running{a, b} {
		if resp, _ := r.get(call); resp.Header.Get("Dynproxy-Error") != "consent_required" {
			t.Fatal(resp.Status)
		}
	}
	link := consentLink(t, machine("c"), "fabrikam")
	back := "/consent/callback?admin_consent=True&state=" + url.QueryEscape(link.Query().Get("state"))
	p.Entra().Consent(p.Organization("fabrikam").TenantID(), demoClientID)
	granted := time.Now()
	if _, text := fetch(t, a.ops+back); strings.Contains(text, "no question of ours") || strings.Contains(text, "given before") {
		t.Errorf("the first answer: %s", text)
	}
	b.eventually("the tenant at the other proxy", func() bool {
		resp, _ := b.get(call)
		return resp.StatusCode == http.StatusOK || resp.Header.Get("Dynproxy-Error") == ""
	})
	t.Logf("the other proxy has a token after %v", time.Since(granted))
	if _, text := fetch(t, b.ops+back); !strings.Contains(text, "given before") {
		t.Errorf("the second answer, at another proxy: %s", text)
	}
	// A Redis that has lost everything gets the key again.
	server.CLI("FLUSHALL")
	a.eventually("the key again", func() bool { return server.CLI("EXISTS", "dynproxy:{vault}:link key") == "1" })
	link = consentLink(t, machine("d"), "fabrikam")
	back = "/consent/callback?admin_consent=True&state=" + url.QueryEscape(link.Query().Get("state"))
	if _, text := fetch(t, b.ops+back); strings.Contains(text, "no question of ours") {
		t.Errorf("after the loss: %s", text)
	}
}

// Where proxies have no secret in common nothing is sealed, and it is said.
func TestProxiesWithoutASecretSaySo(t *testing.T) {
	t.Parallel()
	p, server := startEmulator(t, demoSeed()), redistest.Start(t)
	settings := withRedis(p.settings("contoso"), server.URL())
	delete(settings, prefix+"CLIENT_SECRET")
	settings[prefix+"FEDERATED_TOKEN_FILE"] = filepath.Join(t.TempDir(), "federated")
	write(t, settings[prefix+"FEDERATED_TOKEN_FILE"], []byte("an assertion"))
	r := start(t, settings)
	r.eventually("a word", func() bool { return strings.Contains(r.log.String(), "DYNPROXY_LINK_KEY_FILE") })
}
