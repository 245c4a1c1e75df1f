package emulator_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
)

const whoAmI = contoso + "/api/data/v9.2/WhoAmI"

func TestAnonymousChallenge(t *testing.T) {
	h := open(t, seed())
	for _, header := range [][]string{nil, {"Authorization", "Basic eDp5"}, {"Authorization", "Bearer"}, {"Authorization", "Bearer a.b.c"}} {
		got := h.get(t, whoAmI, header...)
		want := "Bearer authorization_uri=https://login.microsoftonline.com/" + tenantID + "/oauth2/authorize, resource_id=https://contoso.crm.dynamics.com/"
		if got.StatusCode != 401 || got.Header.Get("WWW-Authenticate") != want || got.body != "HTTP Error 401 - Unauthorized: Access is denied" {
			t.Errorf("%v: %d %q %q", header, got.StatusCode, got.Header.Get("WWW-Authenticate"), got.body)
		}
	}
}

func TestTokensThatAreNotForThisOrganization(t *testing.T) {
	s := seed()
	// Two organizations share a tenant; a token is for one of them.
	s.Organizations = append(s.Organizations, emulator.OrganizationSeed{Name: "sister", Hosts: []string{"sister.crm.dynamics.com"}, TenantID: tenantID, ApplicationUsers: []string{clientID}})
	h := open(t, s)
	other := open(t, seed())
	good := h.token(t, login, tenantID, contoso)
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for name, tok := range map[string]string{
		"of the sister":       h.token(t, login, tenantID, "https://sister.crm.dynamics.com"),
		"of another Entra ID": other.token(t, login, tenantID, contoso),
		"unsigned":            none + "." + parts[1] + ".",
		"cut":                 good[:len(good)-10],
	} {
		if got := h.call(t, whoAmI, tok); got.StatusCode != 401 {
			t.Errorf("a token %s: %d", name, got.StatusCode)
		}
	}
	if got := h.call(t, whoAmI, good); got.StatusCode != 200 {
		t.Errorf("the good one: %d", got.StatusCode)
	}
}

func TestRefusalsBehindAGoodToken(t *testing.T) {
	h := open(t, seed())
	org := h.Organization("contoso")
	tok := h.token(t, login, tenantID, contoso)
	accounts := contoso + "/api/data/v9.2/accounts"
	for _, c := range []struct {
		name   string
		set    func()
		target string
		status int
		code   string
	}{
		{"all well", func() {}, accounts, 200, ""},
		{"no application user", func() { org.RemoveApplicationUser(clientID) }, whoAmI, 403, "0x80072560"},
		{"created", func() { org.AddApplicationUser(clientID) }, whoAmI, 200, ""},
		{"disabled", func() { org.SetApplicationUser(clientID, true, false) }, whoAmI, 403, "0x80040225"},
		{"no role", func() { org.SetApplicationUser(clientID, false, true) }, accounts, 403, "0x80048306"},
		{"no role, but who am I", func() {}, whoAmI, 200, ""},
		{"a role again", func() { org.SetApplicationUser(clientID, false, false) }, accounts, 200, ""},
		{"firewall", func() { inject(t, org, emulator.Fault{Kind: emulator.Firewall, Times: 1}) }, whoAmI, 403, "0x80095ffe"},
		{"access control", func() { inject(t, org, emulator.Fault{Kind: emulator.AccessControl, Client: clientID}) }, whoAmI, 403, "0x80095ffc"},
		{"healed", org.Heal, whoAmI, 200, ""},
	} {
		c.set()
		got := h.call(t, c.target, tok)
		if got.StatusCode != c.status || got.errorCode() != c.code {
			t.Errorf("%s: %d %q, want %d %q: %s", c.name, got.StatusCode, got.errorCode(), c.status, c.code, got.body)
		}
	}
}

func TestMissingPrivilegeIsNamed(t *testing.T) {
	h := open(t, seed())
	h.Organization("contoso").SetApplicationUser(clientID, false, true)
	tok := h.token(t, login, tenantID, contoso)
	for target, want := range map[string]string{
		"GET accounts?$top=1":       "prvReadAccount",
		"POST opportunities":        "prvCreateOpportunity",
		"PATCH contacts(x)":         "prvWriteContact",
		"DELETE tasks(x)":           "prvDeleteTask",
		"POST systemusers(x)/a/$re": "prvCreateSystemuser",
	} {
		method, path, _ := strings.Cut(target, " ")
		for _, below := range []string{"/api/data/v9.2/", "/API/Data/V9.2/"} {
			got := h.do(t, request(t, method, contoso+below+path, "{}", "Authorization", "Bearer "+tok))
			if got.StatusCode != 403 || !strings.Contains(got.body, "is missing "+want+" privilege") {
				t.Errorf("%s below %s: %d %s", target, below, got.StatusCode, got.body)
			}
		}
	}
}

func TestRevokedTokens(t *testing.T) {
	h := open(t, seed())
	old := h.token(t, login, tenantID, contoso)
	h.Organization("contoso").RevokeTokens()
	fresh := h.token(t, login, tenantID, contoso)
	if got := h.call(t, whoAmI, old); got.StatusCode != 401 {
		t.Errorf("the old one: %d", got.StatusCode)
	}
	if got := h.call(t, whoAmI, fresh); got.StatusCode != 200 {
		t.Errorf("the one issued in the same second, but after: %d", got.StatusCode)
	}
}

func TestTokensExpireToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, seed())
		tok := h.token(t, login, tenantID, contoso)
		time.Sleep(3598 * time.Second)
		if got := h.call(t, whoAmI, tok); got.StatusCode != 200 {
			t.Errorf("in its last second: %d", got.StatusCode)
		}
		time.Sleep(time.Second)
		if got := h.call(t, whoAmI, tok); got.StatusCode != 401 {
			t.Errorf("expired: %d", got.StatusCode)
		}
		h.client.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestGzipOnlyWhenAsked(t *testing.T) {
	h := open(t, seed())
	tok := h.token(t, login, tenantID, contoso)
	plain := h.call(t, contoso+"/api/data/v9.2/accounts", tok, "Accept-Encoding", "identity")
	if plain.Header.Get("Content-Encoding") != "" {
		t.Fatalf("compressed: %v", plain.Header)
	}
	packed := h.call(t, contoso+"/api/data/v9.2/accounts", tok, "Accept-Encoding", "deflate, gzip;q=0.5")
	if packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %v", packed.Header)
	}
	z, err := gzip.NewReader(bytes.NewReader([]byte(packed.body)))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != plain.body {
		t.Errorf("%v, %d bytes against %d", err, len(unpacked), len(plain.body))
	}
	// Errors are compressed, too.
	h.Organization("contoso").RemoveApplicationUser(clientID)
	if got := h.call(t, whoAmI, tok, "Accept-Encoding", "gzip"); got.StatusCode != 403 || got.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
	if got := h.call(t, whoAmI, tok, "Accept-Encoding", "gzip;q=0"); got.Header.Get("Content-Encoding") != "" {
		t.Errorf("gzip was refused by the client: %v", got.Header)
	}
}

func TestRequestsAreRecordedAsSent(t *testing.T) {
	h := open(t, seed())
	org := h.Organization("contoso")
	tok := h.token(t, login, tenantID, contoso)
	target := contoso + "/api/data/v9.2/accounts?$select=name&$expand=a($select=b;$top=1)&x=%2F%20'"
	body := `{"name":"` + strings.Repeat("x", 100<<10) + `"}`
	created := h.do(t, request(t, "POST", target, body, "Authorization", "Bearer "+tok, "Prefer", "return=minimal"))
	h.do(t, request(t, "POST", contoso+"/refused", "three"))
	all := org.Requests()
	if len(all) != 2 || org.Received() != 2 || org.Answered(created.StatusCode) != 1 || org.Answered(401) != 1 {
		t.Fatalf("%d recorded, %d received", len(all), org.Received())
	}
	got := all[0]
	if got.Method != "POST" || got.Host != "contoso.crm.dynamics.com" || got.Target != strings.TrimPrefix(target, contoso) || got.Client != clientID || got.Status != created.StatusCode {
		t.Errorf("%s %s %s %s %d", got.Method, got.Host, got.Target, got.Client, got.Status)
	}
	if got.Size != int64(len(body)) || got.SHA256 != hash(body) || string(got.Body) != body[:16<<10] || got.Header.Get("Prefer") != "return=minimal" {
		t.Errorf("size %d, kept %d, hash %s", got.Size, len(got.Body), got.SHA256)
	}
	if got := all[1]; got.SHA256 != hash("three") || got.Status != 401 || got.Client != "" {
		t.Errorf("the refused one: %+v", got)
	}
}

func TestOnlyTheLastRequestsAreKept(t *testing.T) {
	h := open(t, seed())
	for range 520 {
		h.get(t, contoso+"/")
	}
	h.get(t, contoso+"/last")
	org := h.Organization("contoso")
	if all := org.Requests(); len(all) != 512 || all[511].Target != "/last" || org.Received() != 521 {
		t.Errorf("%d kept of %d", len(all), org.Received())
	}
}
