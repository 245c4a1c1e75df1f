package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
)

// torn sends a request whose answer must break off, and returns what arrived.
func (h *harness) torn(t *testing.T, r *http.Request) (status int, body string) {
	t.Helper()
	resp, err := h.client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil {
		t.Errorf("%s %s: a whole answer, %d %s", r.Method, r.URL, resp.StatusCode, got)
	}
	return resp.StatusCode, string(got)
}

func TestTornConnections(t *testing.T) {
	for name, protocols := range map[string][]string{"HTTP/1.1": {"http/1.1"}, "HTTP/2": {"h2"}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, seed())
			if name == "HTTP/1.1" {
				tr := h.Transport()
				tr.ForceAttemptHTTP2 = false
				tr.TLSClientConfig.NextProtos = protocols
				t.Cleanup(tr.CloseIdleConnections)
				h.client.Transport = tr
			}
			org := h.Organization("contoso")
			tok := h.token(t, login, tenantID, contoso)
			if got := h.call(t, whoAmI, tok); !strings.HasPrefix(got.Proto, name) {
				t.Fatalf("protocol %s", got.Proto)
			}
			create := func() *http.Request {
				return request(t, "POST", contoso+"/api/data/v9.2/accounts", `{"name":"x"}`, "Authorization", "Bearer "+tok)
			}
			list := request(t, "GET", contoso+"/api/data/v9.2/accounts", "", "Authorization", "Bearer "+tok, "Accept-Encoding", "identity")

			inject(t, org, emulator.Fault{Kind: emulator.ResetBefore, Times: 1, Method: "POST"})
			if status, _ := h.torn(t, create()); status != 0 || org.Answered(204) != 0 {
				t.Errorf("before: %d, answered %d", status, org.Answered(204))
			}
			inject(t, org, emulator.Fault{Kind: emulator.ResetAfter, Times: 1, Method: "POST"})
			if status, _ := h.torn(t, create()); status != 0 {
				t.Errorf("after: %d", status)
			}
			// An answer without a body has no middle: nothing arrives.
			inject(t, org, emulator.Fault{Kind: emulator.ResetMiddle, Times: 1, Method: "POST"})
			if status, _ := h.torn(t, create()); status != 0 {
				t.Errorf("middle of nothing: %d", status)
			}
			inject(t, org, emulator.Fault{Kind: emulator.ResetMiddle, Times: 1})
			if status, body := h.torn(t, list); status != 200 || !strings.HasPrefix(body, `{"@odata.context"`) {
				t.Errorf("middle: %d %.40q", status, body)
			}
			inject(t, org, emulator.Fault{Kind: emulator.Down, Times: 1})
			if status, _ := h.torn(t, list.Clone(t.Context())); status != 0 {
				t.Errorf("down: %d", status)
			}
			if got := h.do(t, create()); got.StatusCode != 204 || len(org.Faults()) != 0 {
				t.Errorf("healed: %d, %v left", got.StatusCode, org.Faults())
			}
		})
	}
}

// TestCarriedOutButTorn tells reset_after from reset_before: the organization
// has read and done what was asked.
func TestCarriedOutButTorn(t *testing.T) {
	h := open(t, seed())
	org := h.Organization("contoso")
	tok := h.token(t, login, tenantID, contoso)
	const guest = "77777777-7777-4777-8777-777777777777"
	creates := []*http.Request{h.newUser(t, contoso, tok, guest), h.newUser(t, contoso, tok, guest)}
	for i, c := range []struct {
		kind emulator.FaultKind
		want bool
	}{{emulator.ResetBefore, false}, {emulator.ResetAfter, true}} {
		inject(t, org, emulator.Fault{Kind: c.kind, Times: 1})
		h.torn(t, creates[i])
		users := h.call(t, contoso+"/api/data/v9.2/systemusers?$select=applicationid&$filter=applicationid%20eq%20"+guest, tok)
		if created := strings.Contains(users.body, guest); users.StatusCode != 200 || created != c.want {
			t.Errorf("%s: created %v, %d %s", c.kind, created, users.StatusCode, users.body)
		}
	}
}

func TestDownOnLoopbackRefusesConnections(t *testing.T) {
	h := open(t, seed())
	if err := h.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	h.client.Transport = trusting(t, h.CA())
	org := h.Organization("contoso")
	inject(t, org, emulator.Fault{Kind: emulator.Down})
	if resp, err := h.client.Get(h.OrgURL("contoso") + "/"); err == nil {
		resp.Body.Close()
		t.Errorf("an answer: %d", resp.StatusCode)
	}
	if n := org.Received(); n != 0 {
		t.Errorf("%d requests got through", n)
	}
	if got := h.get(t, h.OrgURL("tailspin")+"/"); got.StatusCode != 401 {
		t.Errorf("the neighbour: %d", got.StatusCode)
	}
	org.Heal()
	if got := h.get(t, h.OrgURL("contoso")+"/"); got.StatusCode != 401 {
		t.Errorf("healed: %d", got.StatusCode)
	}
}

func TestOrganizationFaults(t *testing.T) {
	h := open(t, seed())
	org := h.Organization("contoso")
	tok := h.token(t, login, tenantID, contoso)
	soap := contoso + "/XRMServices/2011/Organization.svc/web"
	for _, c := range []struct {
		name   string
		fault  emulator.Fault
		target string
		token  string
		status int
		want   string // in the body
		header string // Name: value
	}{
		{"503", emulator.Fault{Kind: emulator.Status, Status: 503, RetryAfter: 7 * time.Second}, whoAmI, tok, 503, "HTTP Error 503", "Retry-After: 7"},
		{"requests", emulator.Fault{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: 1500 * time.Millisecond}, whoAmI, tok, 429, "limit of 6000 over time window of 300 seconds", "Retry-After: 2"},
		{"time", emulator.Fault{Kind: emulator.Throttle, Code: "0x80072321"}, whoAmI, tok, 429, "exceeded limit of 1,200,000 milliseconds", ""},
		{"concurrency", emulator.Fault{Kind: emulator.Throttle, Code: "0x80072326", Message: "Number of concurrent requests exceeded the limit of 100."}, whoAmI, tok, 429, "limit of 100.", ""},
		{"sign-in", emulator.Fault{Kind: emulator.SignInPage}, whoAmI, tok, 200, "Sign in to your account", "Content-Type: text/html; charset=utf-8"},
		{"redirect", emulator.Fault{Kind: emulator.SignInRedirect}, whoAmI, tok, 302, "Object moved", ""},
		{"SOAP with a dead token", emulator.Fault{Kind: emulator.SOAPSignIn}, soap, "dead", 200, "Sign in to your account", ""},
		{"Web API with a dead token", emulator.Fault{Kind: emulator.SOAPSignIn}, whoAmI, "dead", 401, "HTTP Error 401", ""},
		{"another path", emulator.Fault{Kind: emulator.Status, Status: 500, Path: "/api/search/"}, whoAmI, tok, 200, "UserId", ""},
		{"another client", emulator.Fault{Kind: emulator.AccessControl, Client: "someone"}, whoAmI, tok, 200, "UserId", ""},
	} {
		inject(t, org, c.fault)
		got := h.call(t, c.target, c.token)
		name, value, _ := strings.Cut(c.header, ": ")
		if got.StatusCode != c.status || !strings.Contains(got.body, c.want) || got.Header.Get(name) != value {
			t.Errorf("%s: %d %v %s", c.name, got.StatusCode, got.Header, got.body)
		}
		org.Heal()
	}
}

func TestSlowOrganization(t *testing.T) {
	bubble(t, emulator.Limits{}, func(t *testing.T, h *harness, tok string) {
		inject(t, h.Organization("contoso"), emulator.Fault{Kind: emulator.Slow, Delay: 90 * time.Second, Times: 2})
		for _, token := range []string{tok, "dead"} {
			start := time.Now()
			h.call(t, whoAmI, token)
			if d := time.Since(start); d != 90*time.Second {
				t.Errorf("it took %v", d)
			}
		}
		start := time.Now()
		if h.call(t, whoAmI, tok); time.Since(start) != 0 {
			t.Errorf("a third slow answer: %v", time.Since(start))
		}
	})
}

// TestEverythingChangesUnderLoad is for the race detector: whatever can be
// changed is changed while calls run, and afterwards all is well again.
func TestEverythingChangesUnderLoad(t *testing.T) {
	h := open(t, seed())
	org, entra := h.Organization("contoso"), h.Entra()
	tok := h.token(t, login, tenantID, contoso)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 40 {
				for _, r := range []*http.Request{
					request(t, "GET", whoAmI, "", "Authorization", "Bearer "+tok),
					request(t, "POST", login+"/"+tenantID+"/oauth2/v2.0/token", appForm(contoso).Encode(), "Content-Type", "application/x-www-form-urlencoded"),
				} {
					if resp, err := h.client.Do(r); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 40 {
			inject(t, org, emulator.Fault{Kind: []emulator.FaultKind{emulator.Down, emulator.ResetMiddle, emulator.Throttle}[i%3], Times: 2})
			inject(t, entra, emulator.Fault{Kind: emulator.Empty, Times: 1})
			org.SetLimits(emulator.Limits{Requests: i, Servers: 1 + i%3})
			org.SetApplicationUser(clientID, i%2 == 0, i%3 == 0)
			org.RevokeTokens()
			entra.RevokeConsent(tenantID, clientID)
			entra.SetSecret(clientID, "other", i%2 == 0)
			entra.SetTokenLife(time.Duration(i)*time.Minute, time.Minute)
			entra.AddRedirectURI(clientID, callback)
			org.Requests()
			entra.TokenRequests(emulator.TokenRequest{})
			entra.Consent(tenantID, clientID)
		}
	})
	wg.Wait()
	org.Heal()
	entra.Heal()
	org.SetLimits(emulator.Limits{})
	org.AddApplicationUser(clientID)
	entra.SetTokenLife(0, 0)
	if got := h.call(t, whoAmI, h.token(t, login, tenantID, contoso)); got.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", got.StatusCode, got.body)
	}
}

func TestFaultsAreChecked(t *testing.T) {
	h := open(t, seed())
	for _, f := range []emulator.Fault{{}, {Kind: "nonsense"}, {Kind: emulator.HTML}, {Kind: emulator.Status}, {Kind: emulator.Status, Status: 99},
		{Kind: emulator.Down, Times: -1}, {Kind: emulator.Slow, Delay: -1}, {Kind: emulator.Claims, Claims: "no"}} {
		if err := h.Organization("contoso").Inject(f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	if err := h.Entra().Inject(emulator.Fault{Kind: emulator.Throttle}); err == nil {
		t.Error("Entra ID took a fault of an organization")
	}
}

func TestClaimsChallenge(t *testing.T) {
	h := open(t, seed())
	const claims = `{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`
	inject(t, h.Organization("contoso"), emulator.Fault{Kind: emulator.Claims, Claims: claims})
	got := h.call(t, whoAmI, h.token(t, login, tenantID, contoso))
	want := `error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`
	if got.StatusCode != 401 || !strings.HasSuffix(got.Header.Get("WWW-Authenticate"), want) {
		t.Fatalf("%d %q", got.StatusCode, got.Header.Get("WWW-Authenticate"))
	}
	form := appForm(contoso)
	form.Set("claims", `{"access_token":{"xms_cc":{"values":["CP1"]},"nbf":{"value":"1700000000","essential":true}}}`)
	var v struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(h.ask(t, login, tenantID, form).body), &v); err != nil {
		t.Fatal(err)
	}
	if got := h.call(t, whoAmI, v.AccessToken); got.StatusCode != 200 {
		t.Errorf("asked for with the claims: %d", got.StatusCode)
	}
}

func TestSkewedClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, seed())
		inject(t, h.Organization("contoso"), emulator.Fault{Kind: emulator.Skew, Delay: -10 * time.Minute})
		inject(t, h.Entra(), emulator.Fault{Kind: emulator.Skew, Delay: time.Hour})
		for target, want := range map[string]time.Duration{whoAmI: -10 * time.Minute, login + "/common/discovery/keys": time.Hour} {
			got, err := http.ParseTime(h.get(t, target).Header.Get("Date"))
			if err != nil || !got.Equal(time.Now().Add(want).Truncate(time.Second)) {
				t.Errorf("%s: %v, %v", target, got, err)
			}
		}
		h.client.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestSOAPIsRefusedByFaults: whatever stands in the way of a caller with a good
// token, JSON is no answer to SOAP.
func TestSOAPIsRefusedByFaults(t *testing.T) {
	const nobody = "77777777-7777-4777-8777-777777777777"
	for code, hinder := range map[string]func(o *emulator.Organization){
		"-2147015328": func(o *emulator.Organization) { o.RemoveApplicationUser(clientID) },
		"-2147220955": func(o *emulator.Organization) { o.SetApplicationUser(clientID, true, false) },
		"-2147220960": func(o *emulator.Organization) { o.SetApplicationUser(clientID, false, true) },
		"-2146869250": func(o *emulator.Organization) { inject(t, o, emulator.Fault{Kind: emulator.Firewall}) },
		"-2146869252": func(o *emulator.Organization) { inject(t, o, emulator.Fault{Kind: emulator.AccessControl}) },
		"-2147015902": func(o *emulator.Organization) {
			inject(t, o, emulator.Fault{Kind: emulator.Throttle, RetryAfter: 65 * time.Second})
		},
	} {
		h := open(t, seed())
		hinder(h.Organization("contoso"))
		tok := h.token(t, login, tenantID, contoso)
		got := h.do(t, request(t, "POST", contoso+"/XRMServices/2011/Organization.svc/web", `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`+
			`<Delete xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><entityName>account</entityName><id>`+nobody+`</id></Delete></s:Body></s:Envelope>`, "Authorization", "Bearer "+tok))
		if got.StatusCode != 500 || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/xml") || !strings.Contains(got.body, "<ErrorCode>"+code+"</ErrorCode>") {
			t.Errorf("%s: %d %s", code, got.StatusCode, got.body)
		}
		if code == "-2147015902" && !strings.Contains(got.body, ">PT1M5S<") {
			t.Errorf("the wait: %s", got.body)
		}
	}
}
