package emulator_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
)

// deviceCode is the answer that begins a sign-in by device code.
type deviceCode struct {
	UserCode   string `json:"user_code"`
	DeviceCode string `json:"device_code"`
	Page       string `json:"verification_uri"`
	ExpiresIn  int    `json:"expires_in"`
	Message    string `json:"message"`
}

func (h *harness) beginDevice(t *testing.T, tenant, scope string) deviceCode {
	t.Helper()
	form := url.Values{"client_id": {clientID}, "scope": {scope}}
	got := h.do(t, request(t, "POST", login+"/"+tenant+"/oauth2/v2.0/devicecode", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	var d deviceCode
	if err := json.Unmarshal([]byte(got.body), &d); err != nil || got.StatusCode != 200 || d.DeviceCode == "" || d.UserCode == "" {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	return d
}

func (h *harness) pollDevice(t *testing.T, tenant string, d deviceCode) reply {
	t.Helper()
	return h.ask(t, login, tenant, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {clientID}, "device_code": {d.DeviceCode}})
}

// newUser is a request to create the application user of an app, in the
// business unit of the caller.
func (h *harness) newUser(t *testing.T, base, tok, client string) *http.Request {
	t.Helper()
	var me struct{ BusinessUnitId string }
	if err := json.Unmarshal([]byte(h.call(t, base+"/api/data/v9.2/WhoAmI", tok).body), &me); err != nil || me.BusinessUnitId == "" {
		t.Fatalf("who am I: %v %+v", err, me)
	}
	body := `{"applicationid":"` + client + `","businessunitid@odata.bind":"/businessunits(` + me.BusinessUnitId + `)"}`
	return request(t, "POST", base+"/api/data/v9.2/systemusers", body, "Authorization", "Bearer "+tok, "Content-Type", "application/json")
}

// TestAdministratorCreatesApplicationUser is the whole of onboarding by device
// code, on the page where the code is typed.
func TestAdministratorCreatesApplicationUser(t *testing.T) {
	h := open(t, seed())
	org := h.Organization("tailspin")
	d := h.beginDevice(t, org.TenantID(), org.URL()+"/user_impersonation openid offline_access profile")
	if got := h.pollDevice(t, org.TenantID(), d); got.aadsts(t).Error != "authorization_pending" {
		t.Errorf("before: %s", got.body)
	}
	press := func(code, tenant, decision string) reply {
		form := url.Values{"user_code": {code}, "tenant": {tenant}, "decision": {decision}}
		return h.do(t, request(t, "POST", d.Page, form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	}
	if got := h.get(t, d.Page); got.StatusCode != 200 {
		t.Errorf("the page: %d", got.StatusCode)
	}
	if got := press("WRONG", org.TenantID(), "accept"); got.StatusCode != 400 {
		t.Errorf("a wrong code: %d", got.StatusCode)
	}
	if got := press(d.UserCode, tenantID, "accept"); got.StatusCode != 400 {
		t.Errorf("another tenant's administrator: %d", got.StatusCode)
	}
	if got := press(d.UserCode, org.TenantID(), "accept"); got.StatusCode != 200 {
		t.Errorf("accepted: %d %s", got.StatusCode, got.body)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(h.pollDevice(t, org.TenantID(), d).body), &v); err != nil {
		t.Fatal(err)
	}
	user, _ := v["access_token"].(string)
	if user == "" || v["id_token"] == "" || v["client_info"] == "" {
		t.Fatalf("answer %v", v)
	}
	if got := h.pollDevice(t, org.TenantID(), d); got.aadsts(t).Error != "bad_verification_code" {
		t.Errorf("a second token for one code: %s", got.body)
	}

	who := org.URL() + "/api/data/v9.2/WhoAmI"
	app := h.token(t, login, org.TenantID(), org.URL())
	if got := h.call(t, who, app); got.errorCode() != "0x80072560" {
		t.Fatalf("before: %d %s", got.StatusCode, got.body)
	}
	got := h.do(t, h.newUser(t, org.URL(), user, clientID))
	if got.StatusCode != 204 {
		t.Fatalf("create: %d %s", got.StatusCode, got.body)
	}
	if got := h.call(t, who, app); got.StatusCode != 200 {
		t.Errorf("after: %d %s", got.StatusCode, got.body)
	}
}

func TestDeviceCodeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, seed())
		declined := h.beginDevice(t, "organizations", contoso+"/.default")
		form := url.Values{"user_code": {declined.UserCode}, "tenant": {tenantID}, "decision": {"cancel"}}
		h.do(t, request(t, "POST", declined.Page, form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
		if got := h.pollDevice(t, "organizations", declined); got.aadsts(t).Error != "authorization_declined" {
			t.Errorf("declined: %s", got.body)
		}
		late := h.beginDevice(t, tenantID, contoso+"/.default")
		time.Sleep(time.Duration(late.ExpiresIn)*time.Second + 1)
		if h.Entra().ApproveDevice(late.UserCode, tenantID) {
			t.Error("an expired code was accepted")
		}
		if got := h.pollDevice(t, tenantID, late); got.aadsts(t).Error != "expired_token" {
			t.Errorf("late: %s", got.body)
		}
		h.client.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDeviceCodeIsForPublicClients(t *testing.T) {
	s := seed()
	s.Apps[0].Public = false
	h := open(t, s)
	form := url.Values{"client_id": {clientID}, "scope": {contoso + "/.default"}}
	got := h.do(t, request(t, "POST", login+"/"+tenantID+"/oauth2/v2.0/devicecode", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	if got.aadsts(t).Codes[0] != 7000218 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}
