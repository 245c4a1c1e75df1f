package emulator_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
)

// control sends a request to the control API and wants a status.
func (h *harness) control(t *testing.T, status int, method, path, body string, header ...string) reply {
	t.Helper()
	got := h.do(t, request(t, method, login+"/_emulator/"+path, body, header...))
	if got.StatusCode != status {
		t.Errorf("%s %s %s: %d, want %d: %s", method, path, body, got.StatusCode, status, got.body)
	}
	return got
}

func TestControlAPI(t *testing.T) {
	h := open(t, seed())
	fabrikam := h.Organization("fabrikam")
	tok := h.token(t, login, tenantID, contoso)

	h.control(t, 204, "PUT", "consent/"+fabrikam.TenantID()+"/"+clientID, "")
	h.control(t, 404, "PUT", "consent/nobody/"+clientID, "")
	if !h.Entra().Consented(fabrikam.TenantID(), clientID) {
		t.Error("not consented")
	}
	h.control(t, 204, "DELETE", "consent/"+fabrikam.TenantID()+"/"+clientID, "")
	if h.Entra().Consented(fabrikam.TenantID(), clientID) {
		t.Error("still consented")
	}

	h.control(t, 204, "POST", "organizations/contoso/faults", `{"kind":"throttle","code":"0x80072326","times":1,"retry_after":"2.5s"}`)
	if got := h.control(t, 200, "GET", "organizations/contoso/faults", ""); strings.TrimSpace(got.body) != `[{"kind":"throttle","times":1,"code":"0x80072326","retry_after":"2.5s"}]` {
		t.Errorf("faults %s", got.body)
	}
	if got := h.call(t, whoAmI, tok); got.StatusCode != 429 || got.Header.Get("Retry-After") != "3" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
	h.control(t, 204, "POST", "faults", `{"kind":"aadsts","number":90033}`)
	if got := h.ask(t, login, tenantID, appForm(contoso)); got.StatusCode != 503 {
		t.Errorf("status %d", got.StatusCode)
	}
	h.control(t, 204, "DELETE", "faults", "")

	h.control(t, 204, "POST", "tokens", `{"life":"10m","refresh_in":"5m"}`)
	if got := h.ask(t, login, tenantID, appForm(contoso)); !strings.Contains(got.body, `"expires_in":600`) || !strings.Contains(got.body, `"refresh_in":300`) {
		t.Errorf("%s", got.body)
	}
	h.control(t, 204, "POST", "apps/"+clientID+"/secrets", `{"secret":"`+secret+`","expired":true}`)
	if got := h.ask(t, login, tenantID, appForm(contoso)); got.aadsts(t).Codes[0] != 7000222 {
		t.Errorf("%s", got.body)
	}
	h.control(t, 204, "DELETE", "apps/"+clientID+"/secrets", `{"secret":"`+secret+`"}`)
	if got := h.ask(t, login, tenantID, appForm(contoso)); got.aadsts(t).Codes[0] != 7000215 {
		t.Errorf("%s", got.body)
	}

	h.control(t, 204, "PUT", "organizations/contoso/limits", `{"requests":1,"window":"1h"}`)
	if got := h.call(t, whoAmI, tok); got.Header.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests") != "0" {
		t.Errorf("headers %v", got.Header)
	}
	h.control(t, 204, "PUT", "organizations/contoso/users/"+clientID, `{"disabled":true}`)
	if got := h.call(t, whoAmI, tok); got.errorCode() != "0x80040225" {
		t.Errorf("%s", got.body)
	}
	h.control(t, 204, "DELETE", "organizations/contoso/users/"+clientID, "")
	if got := h.call(t, whoAmI, tok); got.errorCode() != "0x80072560" {
		t.Errorf("%s", got.body)
	}
	h.control(t, 204, "POST", "organizations/contoso/revoke", "")
	if got := h.call(t, whoAmI, tok); got.StatusCode != 401 {
		t.Errorf("status %d", got.StatusCode)
	}
}

func TestControlShows(t *testing.T) {
	h := open(t, seed())
	tok := h.token(t, login, tenantID, contoso)
	h.call(t, whoAmI, tok)
	if got := h.control(t, 200, "GET", "ca.pem", ""); got.body != string(h.CA()) {
		t.Errorf("CA %s", got.body)
	}
	var state struct {
		Organizations []struct {
			Name     string
			Received int
		}
		Apps []struct {
			ClientID string `json:"client_id"`
		}
	}
	if err := json.Unmarshal([]byte(h.control(t, 200, "GET", "", "").body), &state); err != nil || len(state.Organizations) != 3 || state.Organizations[0].Received != 1 || state.Apps[0].ClientID != clientID {
		t.Errorf("%v %+v", err, state)
	}
	got := h.control(t, 200, "GET", "organizations/contoso/requests", "")
	var list []emulator.Request
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list) != 1 || list[0].Target != "/api/data/v9.2/WhoAmI" {
		t.Fatalf("%v %s", err, got.body)
	}
	if strings.Contains(got.body, tok) || list[0].Header.Get("Authorization") != "[left out]" {
		t.Error("the token is shown")
	}
	if got := h.Organization("contoso").Requests()[0].Header.Get("Authorization"); got != "Bearer "+tok {
		t.Errorf("the record itself was changed: %q", got)
	}
	if got := h.control(t, 200, "GET", "token-requests", ""); !strings.Contains(got.body, `"grant":"client_credentials"`) || !strings.Contains(got.body, `"count":1`) || strings.Contains(got.body, secret) {
		t.Errorf("%s", got.body)
	}
}

func TestControlRefuses(t *testing.T) {
	h := open(t, seed())
	h.control(t, 404, "GET", "organizations/nobody", "")
	h.control(t, 404, "POST", "organizations/nobody/faults", `{"kind":"down"}`)
	h.control(t, 404, "POST", "apps/nobody/secrets", `{"secret":"x"}`)
	h.control(t, 404, "GET", "nonsense", "")
	h.control(t, 405, "PUT", "faults", "")
	for _, body := range []string{"", "{", `{"kind":"down"} {}`, `{"kind":"down","typo":1}`, `{"kind":"nonsense"}`, `{"kind":"slow","delay":5}`} {
		h.control(t, 400, "POST", "faults", body)
	}
	h.control(t, 400, "POST", "tokens", `{"life":"-1s"}`)
	h.control(t, 400, "PUT", "organizations/contoso/limits", `{"request":1}`)
	h.control(t, 403, "POST", "faults", `{"kind":"down"}`, "Sec-Fetch-Site", "cross-site")
	if got := h.control(t, 200, "GET", "faults", ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("faults %s", got.body)
	}
}

func TestControlAddsApps(t *testing.T) {
	h := open(t, seed())
	const own = "88888888-8888-4888-8888-888888888888"
	h.control(t, 204, "POST", "apps", `{"client_id":"`+own+`","secrets":["s"]}`)
	h.control(t, 400, "POST", "apps", `{"client_id":"`+own+`"}`)
	h.control(t, 404, "POST", "apps/nobody/redirect-uris", `{"uri":"`+callback+`"}`)
	h.control(t, 204, "POST", "apps/"+own+"/redirect-uris", `{"uri":"`+callback+`"}`)
	link := login + "/" + tenantID + "/adminconsent?" + url.Values{"client_id": {own}, "redirect_uri": {callback}}.Encode()
	if got := h.decide(t, link, tenantID, "accept"); got.StatusCode != 302 {
		t.Errorf("consent: %d %s", got.StatusCode, got.body)
	}
	form := appForm(contoso)
	form.Set("client_id", own)
	form.Set("client_secret", "s")
	if got := h.ask(t, login, tenantID, form); got.StatusCode != 200 {
		t.Errorf("token: %s", got.body)
	}
}

// TestApplicationUserPage does what a browser does on the page of an
// organization.
func TestApplicationUserPage(t *testing.T) {
	h := open(t, seed())
	page := func() string {
		got := h.control(t, 200, "GET", "organizations/tailspin", "", "Accept", "text/html,*/*")
		if !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
			t.Errorf("content type %s", got.Header.Get("Content-Type"))
		}
		return got.body
	}
	press := func(status int, action, client string) {
		form := url.Values{"action": {action}, "client_id": {client}}.Encode()
		got := h.control(t, status, "POST", "organizations/tailspin", form, "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
		if status == http.StatusSeeOther && got.Header.Get("Location") != "/_emulator/organizations/tailspin" {
			t.Errorf("sent to %s", got.Header.Get("Location"))
		}
	}
	if !strings.Contains(page(), "no application user") {
		t.Error("the user is there already")
	}
	for _, step := range []struct{ action, state string }{{"create", "ready"}, {"disable", "disabled"}, {"enable", "ready"}, {"remove", "no application user"}} {
		press(http.StatusSeeOther, step.action, clientID)
		if !strings.Contains(page(), "<td>"+step.state+"</td>") {
			t.Errorf("after %s: %s", step.action, page())
		}
	}
	press(400, "create", "")
	press(400, "explode", clientID)
}

func TestFaultsAndLimitsSurviveJSON(t *testing.T) {
	f := emulator.Fault{Kind: emulator.Slow, Times: 2, Method: "GET", Path: "/api", Tenant: "t", Client: "c", Status: 500, Code: "x", Message: "m",
		Number: 1, Location: "l", Claims: "{}", RetryAfter: time.Second, Delay: time.Millisecond}
	l := emulator.Limits{Requests: 1, ExecutionTime: 2, Window: 3, Concurrency: 4, Servers: 5, MinExecution: 6, DOPHint: 7}
	var f2 emulator.Fault
	var l2 emulator.Limits
	for from, to := range map[any]any{f: &f2, l: &l2} {
		b, err := json.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, to); err != nil {
			t.Fatal(err)
		}
	}
	if f2 != f || l2 != l {
		t.Errorf("%+v\n%+v", f2, l2)
	}
}
