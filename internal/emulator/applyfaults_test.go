package emulator_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
)

func TestEntraFaults(t *testing.T) {
	h := open(t, seed())
	entra := h.Entra()
	for _, c := range []struct {
		fault  emulator.Fault
		status int
		judge  func(reply) bool
	}{
		{emulator.Fault{Kind: emulator.Status, Status: 503, RetryAfter: time.Minute}, 503, func(r reply) bool { return r.Header.Get("Retry-After") == "60" }},
		{emulator.Fault{Kind: emulator.HTML}, 200, func(r reply) bool { return strings.HasPrefix(r.body, "<!DOCTYPE html>") }},
		{emulator.Fault{Kind: emulator.Empty}, 200, func(r reply) bool { return r.body == "" }},
		{emulator.Fault{Kind: emulator.Truncated}, 200, func(r reply) bool {
			return strings.Contains(r.body, `"access_token":"`) && !json.Valid([]byte(r.body))
		}},
		{emulator.Fault{Kind: emulator.WrongTokenType}, 200, func(r reply) bool { return strings.Contains(r.body, `"token_type":"pop"`) }},
		{emulator.Fault{Kind: emulator.Redirect, Location: "https://evil.example/token"}, 307, func(r reply) bool {
			return r.Header.Get("Location") == "https://evil.example/token"
		}},
		{emulator.Fault{Kind: emulator.AADSTS, Number: 90055}, 429, func(r reply) bool {
			return r.Header.Get("Retry-After") == "60" && r.aadsts(t).Error == "temporarily_unavailable"
		}},
		{emulator.Fault{Kind: emulator.AADSTS, Number: 90033, RetryAfter: 3 * time.Second}, 503, func(r reply) bool { return r.Header.Get("Retry-After") == "3" }},
		{emulator.Fault{Kind: emulator.AADSTS, Number: 700016}, 400, func(r reply) bool {
			return strings.Contains(r.aadsts(t).Description, clientID) && strings.Contains(r.aadsts(t).Description, tenantID)
		}},
		{emulator.Fault{Kind: emulator.AADSTS, Number: 123}, 400, func(r reply) bool { return r.aadsts(t).Codes[0] == 123 }},
		{emulator.Fault{Kind: emulator.HTML, Tenant: "someone else"}, 200, func(r reply) bool { return strings.Contains(r.body, "Bearer") }},
	} {
		inject(t, entra, c.fault)
		if got := h.ask(t, login, tenantID, appForm(contoso)); got.StatusCode != c.status || !c.judge(got) {
			t.Errorf("%s: %d %v %s", c.fault.Kind, got.StatusCode, got.Header, got.body)
		}
		entra.Heal()
	}
	inject(t, entra, emulator.Fault{Kind: emulator.Down, Times: 1})
	h.torn(t, request(t, "POST", login+"/"+tenantID+"/oauth2/v2.0/token", appForm(contoso).Encode(), "Content-Type", "application/x-www-form-urlencoded"))
	if n := entra.TokenRequests(emulator.TokenRequest{}); n != 12 {
		t.Errorf("%d token requests counted, those that failed included", n)
	}
	h.token(t, login, tenantID, contoso)
}

func TestSlowEntra(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, seed())
		inject(t, h.Entra(), emulator.Fault{Kind: emulator.Slow, Delay: 2 * time.Second, Times: 1})
		start := time.Now()
		h.token(t, login, tenantID, contoso)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("it took %v", d)
		}
		h.client.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}
