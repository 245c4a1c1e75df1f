package emulator_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// decide opens a consent link and presses a button on its page.
func (h *harness) decide(t *testing.T, link, tenant, decision string) reply {
	t.Helper()
	page := h.get(t, link)
	if page.StatusCode != 200 {
		t.Fatalf("the page: %d %s", page.StatusCode, page.body)
	}
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(page.body)
	if action == nil || !strings.Contains(page.body, `value="`+tenant+`"`) {
		t.Fatalf("no form for %s in %s", tenant, page.body)
	}
	form := url.Values{"tenant": {tenant}, "decision": {decision}}
	return h.do(t, request(t, "POST", login+html.UnescapeString(action[1]), form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

func TestConsentPages(t *testing.T) {
	h := open(t, seed())
	fabrikam := h.Organization("fabrikam").TenantID()
	const scope, dataverse = "https://fabrikam.crm4.dynamics.com/.default", "00000007-0000-0000-c000-000000000000/.default"
	common := url.Values{"client_id": {clientID}, "redirect_uri": {callback}, "state": {"a&b=\"c"}}.Encode()
	v2 := login + "/" + fabrikam + "/v2.0/adminconsent?" + common + "&scope=" + url.QueryEscape(scope)
	v1 := login + "/common/adminconsent?" + common
	for _, c := range []struct {
		name, link, decision string
		want                 url.Values
	}{
		{"v2 cancelled", v2, "cancel", url.Values{"admin_consent": {"True"}, "error": {"consent_required"}, "state": {"a&b=\"c"}}},
		{"v1 cancelled", v1, "cancel", url.Values{"error": {"permission_denied"}, "error_description": {"The admin canceled the request"}}},
		{"v2 accepted", v2, "accept", url.Values{"admin_consent": {"True"}, "tenant": {fabrikam}, "scope": {scope}, "state": {"a&b=\"c"}}},
		{"v1 accepted", v1, "accept", url.Values{"admin_consent": {"True"}, "tenant": {fabrikam}, "state": {"a&b=\"c"}}},
		{"anybody's tenant, Dataverse itself", strings.NewReplacer(fabrikam, "organizations", url.QueryEscape(scope), url.QueryEscape(dataverse)).Replace(v2), "accept", url.Values{"admin_consent": {"True"}, "tenant": {fabrikam}, "scope": {dataverse}, "state": {"a&b=\"c"}}},
		{"anybody's tenant", strings.Replace(v2, fabrikam, "organizations", 1), "accept", url.Values{"admin_consent": {"True"}, "tenant": {fabrikam}, "scope": {scope}, "state": {"a&b=\"c"}}},
	} {
		h.Entra().RevokeConsent(fabrikam, clientID)
		got := h.decide(t, c.link, fabrikam, c.decision)
		to, err := url.Parse(got.Header.Get("Location"))
		if err != nil || got.StatusCode != 302 || !strings.HasPrefix(to.String(), callback+"?") {
			t.Fatalf("%s: %d to %s", c.name, got.StatusCode, to)
		}
		query := to.Query()
		if c.name == "v2 cancelled" {
			query.Del("error_description")
		}
		if query.Encode() != c.want.Encode() {
			t.Errorf("%s: %s, want %s", c.name, query.Encode(), c.want.Encode())
		}
		if h.Entra().Consented(fabrikam, clientID) != (c.decision == "accept") {
			t.Errorf("%s: consented %v", c.name, h.Entra().Consented(fabrikam, clientID))
		}
	}
}

// TestConsentOf2017 posts a code and an id_token back from another site.
func TestConsentOf2017(t *testing.T) {
	h := open(t, seed())
	fabrikam := h.Organization("fabrikam").TenantID()
	link := login + "/common/oauth2/authorize?client_id=" + clientID + "&response_mode=form_post&response_type=code+id_token&scope=openid+profile&prompt=admin_consent&state=s%22%3E"
	got := h.decide(t, link, fabrikam, "cancel")
	if !strings.Contains(got.body, `name="error" value="access_denied"`) || h.Entra().Consented(fabrikam, clientID) {
		t.Errorf("cancelled: %s", got.body)
	}
	got = h.decide(t, link, fabrikam, "accept")
	for _, want := range []string{`action="` + callback + `"`, `name="code"`, `name="id_token"`, `name="state" value="s&#34;&gt;"`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %s in %s", want, got.body)
		}
	}
	if !h.Entra().Consented(fabrikam, clientID) {
		t.Error("not consented")
	}
}

func TestConsentIsRefused(t *testing.T) {
	h := open(t, seed())
	link := func(tenant, client, redirect, scope string) string {
		return login + "/" + tenant + "/v2.0/adminconsent?" + url.Values{"client_id": {client}, "redirect_uri": {redirect}, "scope": {scope}}.Encode()
	}
	for name, c := range map[string]struct{ link, code string }{
		"unknown app":     {link(tenantID, "nobody", callback, contoso+"/.default"), "AADSTS700016"},
		"unknown tenant":  {link("nobody", clientID, callback, contoso+"/.default"), "AADSTS90002"},
		"common with v2":  {link("common", clientID, callback, contoso+"/.default"), "AADSTS90002"},
		"other redirect":  {link(tenantID, clientID, "https://evil.example/", contoso+"/.default"), "AADSTS50011"},
		"redirect prefix": {link(tenantID, clientID, callback+"/more", contoso+"/.default"), "AADSTS50011"},
		"no redirect":     {link(tenantID, clientID, "", contoso+"/.default"), "AADSTS50011"},
		"no default":      {link(tenantID, clientID, callback, contoso+"/x"), "AADSTS1002012"},
		"plain sign-in":   {login + "/common/oauth2/authorize?client_id=" + clientID, "AADSTS70003"},
		"script":          {link(tenantID, clientID, `"><script>alert(1)</script>`, contoso+"/.default"), "AADSTS50011"},
	} {
		got := h.get(t, c.link)
		if got.StatusCode != 400 || got.Header.Get("Location") != "" || !strings.Contains(got.body, c.code+":") || strings.Contains(got.body, "<script>alert") {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
		}
	}
	// The page is shown, but the tenant does not have the resource.
	got := h.decide(t, link(tenantID, clientID, callback, "https://fabrikam.crm4.dynamics.com/.default"), tenantID, "accept")
	if got.StatusCode != 400 || !strings.Contains(got.body, "AADSTS650052") {
		t.Errorf("foreign resource: %d %s", got.StatusCode, got.body)
	}
}

func TestRedirectURIAdded(t *testing.T) {
	h := open(t, seed())
	const more = "http://127.0.0.1:8081/consent/callback"
	link := login + "/" + tenantID + "/adminconsent?" + url.Values{"client_id": {clientID}, "redirect_uri": {more}}.Encode()
	if got := h.get(t, link); got.StatusCode != 400 {
		t.Errorf("before: %d", got.StatusCode)
	}
	if h.Entra().AddRedirectURI("nobody", more) || !h.Entra().AddRedirectURI(clientID, more) {
		t.Error("the wrong app")
	}
	if got := h.decide(t, link, tenantID, "accept"); !strings.HasPrefix(got.Header.Get("Location"), more+"?") {
		t.Errorf("sent to %s", got.Header.Get("Location"))
	}
}
