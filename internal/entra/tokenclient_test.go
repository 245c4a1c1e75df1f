package entra_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
	"dynproxy/internal/secret"
)

// server is a login host of a few lines, for answers that the emulator does
// not give.
type server func(r *http.Request) (status int, header http.Header, body string)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header, body := s(r)
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Header: header, Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

func minting(t *testing.T, s http.RoundTripper) (*entra.TokenClient, entra.Target) {
	t.Helper()
	m := entra.NewTokenClient(s, zerolog.Nop())
	id, err := m.Register(entra.Registration{ClientID: clientID, Secret: secret.New(password)})
	if err != nil {
		t.Fatal(err)
	}
	return m, entra.Target{Login: login, TenantID: "contoso.example", ClientID: clientID, Resource: "https://contoso.crm.dynamics.com", Credential: id}
}

const good = `{"token_type":"Bearer","expires_in":3599,"access_token":"t0k3n-canary"}`

func TestMintAsksOnlyForTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("MSAL_FORCE_REGION", "westeurope")
		var asked []string
		m, target := minting(t, server(func(r *http.Request) (int, http.Header, string) {
			asked = append(asked, r.Method+" "+r.URL.String())
			form, _ := io.ReadAll(r.Body)
			q, _ := url.ParseQuery(string(form))
			if scope := strings.Fields(q.Get("scope")); len(scope) == 0 || scope[0] != "https://contoso.crm.dynamics.com/.default" || q.Get("grant_type") != "client_credentials" {
				t.Errorf("form %v %v", scope, q.Get("grant_type"))
			}
			time.Sleep(4 * time.Second)
			return 200, nil, `{"token_type":"Bearer","expires_in":"3600","refresh_in":1800,"access_token":"x"}`
		}))
		began := time.Now()
		token, err := m.Token(t.Context(), target, "")
		if err != nil {
			t.Fatal(err)
		}
		// Its life counts from when it was asked for, which is safe.
		if token.Header != "Bearer x" || !token.Expires.Equal(began.Add(time.Hour)) || !token.Refresh.Equal(began.Add(30*time.Minute)) {
			t.Errorf("%s, %v", token.Header, token.Expires.Sub(began))
		}
		if want := "POST https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"; len(asked) != 1 || asked[0] != want {
			t.Errorf("asked %q", asked)
		}
	})
}

// What is no token is never taken for one; once is made good within the call,
// and always is a transient error that quotes nothing.
func TestAnswersThatAreNoToken(t *testing.T) {
	redirect := http.Header{"Location": {"https://evil.example/"}}
	for name, a := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"empty":               {200, nil, ""},
		"HTML":                {200, nil, "<html>t0k3n-canary</html>"},
		"truncated":           {200, nil, good[:len(good)-8]},
		"not an object":       {200, nil, `"t0k3n-canary"`},
		"another type":        {200, nil, strings.Replace(good, "Bearer", "pop", 1)},
		"no type":             {200, nil, `{"expires_in":3599,"access_token":"t0k3n-canary"}`},
		"no token":            {200, nil, `{"token_type":"Bearer","expires_in":3599}`},
		"a token of lines":    {200, nil, strings.Replace(good, "t0k3n", `a\r\nX-Evil: b`, 1)},
		"a token of controls": {200, nil, strings.Replace(good, "t0k3n", `a\u0000b`, 1)},
		"a token of letters":  {200, nil, strings.Replace(good, "t0k3n", "é", 1)},
		"half of gzip":        {200, nil, "\x1f\x8b\b\x00\x00\x00t0k3n-canary"},
		"no life":             {200, nil, `{"token_type":"Bearer","access_token":"t0k3n-canary"}`},
		"life over":           {200, nil, strings.Replace(good, "3599", "-1", 1)},
		"life of NaN":         {200, nil, strings.Replace(good, "3599", `"t0k3n-canary"`, 1)},
		"redirect":            {307, redirect, ""},
		"permanent":           {308, redirect, "t0k3n-canary"},
		"forbidden by a box":  {403, nil, "<html>t0k3n-canary</html>"},
		"no such page":        {404, nil, "t0k3n-canary"},
		"server error":        {500, nil, "t0k3n-canary"},
		"unavailable":         {503, http.Header{"Retry-After": {"1"}}, ""},
		"endless":             {200, nil, strings.Repeat("t0k3n-canary", 1<<17)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, always := 0, false
				m, target := minting(t, server(func(r *http.Request) (int, http.Header, string) {
					if r.URL.Host != login {
						t.Errorf("%s was asked", r.URL.Host)
					}
					if asked++; asked == 1 || always {
						return a.status, a.header, a.body
					}
					return 200, nil, good
				}))
				token, err := m.Token(t.Context(), target, "")
				if err != nil || token.Header != "Bearer t0k3n-canary" || asked != 2 {
					t.Errorf("%d requests, %v", asked, err)
				}
				asked, always = 0, true
				_, err = m.Token(t.Context(), target, "")
				e, ok := err.(*entra.Error)
				if !ok || e.Class != entra.Transient || asked != 3 {
					t.Fatalf("%d requests, %v", asked, err)
				}
				if text := fmt.Sprintf("%v %+v %#v", e, e, *e); strings.Contains(text, "canary") || strings.Contains(text, "Evil") {
					t.Errorf("the error quotes the answer: %s", text)
				}
			})
		})
	}
}

func TestRefusalsByClass(t *testing.T) {
	for name, a := range map[string]struct {
		status int
		body   string
		class  entra.Class
	}{
		"no service principal":   {401, `{"error":"invalid_client","error_codes":[7000229]}`, entra.Consent},
		"app not there":          {400, `{"error":"unauthorized_client","error_codes":[700016]}`, entra.Consent},
		"a number of tomorrow":   {400, `{"error":"unauthorized_client","error_codes":[99999999]}`, entra.Consent},
		"app switched off":       {400, `{"error":"unauthorized_client","error_codes":[7000112]}`, entra.Configuration},
		"no such tenant":         {400, `{"error":"invalid_tenant","error_codes":[90002]}`, entra.Configuration},
		"foreign organization":   {400, `{"error":"invalid_resource","error_codes":[500011]}`, entra.Configuration},
		"wrong secret":           {401, `{"error":"invalid_client","error_codes":[7000215]}`, entra.Credential},
		"error in an answer 200": {200, `{"error":"invalid_client","error_codes":[7000222]}`, entra.Credential},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			m, target := minting(t, server(func(*http.Request) (int, http.Header, string) {
				asked++
				return a.status, nil, strings.Replace(a.body, "{", `{"error_description":"canary","trace_id":"0-1","correlation_id":"<canary>",`, 1)
			}))
			_, err := m.Token(t.Context(), target, "")
			e, ok := err.(*entra.Error)
			if !ok || e.Class != a.class || e.OAuth == "" || len(e.Codes) != 1 || e.TraceID != "0-1" || e.CorrelationID != "" {
				t.Errorf("%+v", err)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", e, *e), "canary") || asked != 1 {
				t.Errorf("after %d requests: %v", asked, e)
			}
		})
	}
}

func TestPathsInATenantIDAreRefused(t *testing.T) {
	m, target := minting(t, server(func(r *http.Request) (int, http.Header, string) {
		t.Errorf("%s was asked", r.URL)
		return 500, nil, ""
	}))
	for _, id := range []string{"", "../x", "a/b", "a?b", "//evil.example", "a b", "common", "Common", "organizations", "consumers", "%2e"} {
		target.TenantID = id
		if _, err := m.Token(t.Context(), target, ""); err == nil || err.(*entra.Error).Class != entra.Configuration {
			t.Errorf("%q: %v", id, err)
		}
	}
	target.TenantID = "contoso.example"
	for _, host := range []string{"", "evil.example/", "evil.example#", "a@evil.example", "evil.example:x"} {
		target.Login = host
		if _, err := m.Token(t.Context(), target, ""); err == nil || err.(*entra.Error).Class != entra.Configuration {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestWrongSecretStopsAllItsTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tenants = 300
		h := open(t, tenants, entra.Registration{})
		h.Entra().RemoveSecret(clientID, password)
		h.inject(t, emulator.Fault{Kind: emulator.Slow, Delay: time.Second})
		all := func() (failed int) {
			var wg sync.WaitGroup
			var n atomic.Int64
			for i := range tenants {
				s := h.source(i)
				wg.Go(func() { n.Add(int64(together(s, 2))) })
			}
			wg.Wait()
			return int(n.Load())
		}
		if failed := all(); failed != 2*tenants {
			t.Errorf("%d calls failed", failed)
		}
		first := h.requests()
		if first > 32 {
			t.Errorf("%d requests before all knew", first)
		}
		all()
		if n := h.requests(); n != first {
			t.Errorf("%d requests while it was known", n-first)
		}
		e := refusal(t, h.source(0), entra.Credential)
		if e.RetryAfter > time.Minute || e.Codes[0] != 7000215 {
			t.Errorf("%v, again in %v", e, e.RetryAfter)
		}
		time.Sleep(time.Minute)
		before := h.requests()
		all() // one asks for all
		if n := h.requests(); n != before+1 {
			t.Errorf("%d requests when the time was over", n-before)
		}
		h.Entra().SetSecret(clientID, password, false)
		time.Sleep(time.Minute)
		token(t, h.source(0))
		time.Sleep(time.Minute)
		if failed := all(); failed > 0 {
			t.Errorf("%d calls failed with the right secret", failed)
		}
	})
}

func TestRefusalOfOneTenantDoesNotStopOthers(t *testing.T) {
	for _, code := range []int{7000229, 99999999} {
		m, target := minting(t, server(func(r *http.Request) (int, http.Header, string) {
			if strings.HasPrefix(r.URL.Path, "/odd.example/") {
				return 401, nil, fmt.Sprintf(`{"error":"invalid_client","error_codes":[%d]}`, code)
			}
			return 200, nil, good
		}))
		odd := target
		odd.TenantID = "odd.example"
		if _, err := m.Token(t.Context(), odd, ""); err == nil {
			t.Error("no error")
		}
		if _, err := m.Token(t.Context(), target, ""); err != nil {
			t.Errorf("AADSTS%d of another tenant: %v", code, err)
		}
	}
}

// The login host is asked no more often than it is good for, and a slow one
// does not hold up another.
func TestRequestsToALoginHostArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, total atomic.Int64
		m, target := minting(t, server(func(r *http.Request) (int, http.Header, string) {
			if r.URL.Host != login {
				return 200, nil, good
			}
			total.Add(1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second / 2)
			now.Add(-1)
			return 200, nil, good
		}))
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 600 {
			wg.Go(func() {
				mine := target
				mine.TenantID = fmt.Sprintf("t%d.example", i)
				if _, err := m.Token(t.Context(), mine, ""); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		other := target
		other.Login = "login.partner.microsoftonline.cn"
		if _, err := m.Token(t.Context(), other, ""); err != nil || time.Since(began) > 0 {
			t.Errorf("the other cloud waited %v (%v)", time.Since(began), err)
		}
		time.Sleep(4 * time.Second)
		if n := total.Load(); n > 100+4*50 {
			t.Errorf("%d requests in four seconds", n)
		}
		wg.Wait()
		if most.Load() > 32 {
			t.Errorf("%d requests at a time", most.Load())
		}
	})
}

func TestConsentLinks(t *testing.T) {
	for host, org := range map[string]string{
		login:                              "https://contoso.crm.dynamics.com",
		"login.microsoftonline.us":         "https://contoso.crm.microsoftdynamics.us",
		"login.partner.microsoftonline.cn": "https://contoso.crm.dynamics.cn",
	} {
		u, err := url.Parse(entra.ConsentURL(host, "contoso.example", clientID, org, "https://ops.example/consent/callback", "a b&c"))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if u.Host != host || u.Path != "/contoso.example/v2.0/adminconsent" || q.Get("scope") != org+"/.default" ||
			q.Get("client_id") != clientID || q.Get("redirect_uri") != "https://ops.example/consent/callback" || q.Get("state") != "a b&c" {
			t.Errorf("%s", u)
		}
		if u, err = url.Parse(entra.ConsentURLv1(host, clientID, "", "")); err != nil {
			t.Fatal(err)
		}
		q = u.Query()
		if u.Host != host || q.Get("prompt") != "admin_consent" || q.Get("response_mode") != "form_post" || q.Has("state") || q.Has("redirect_uri") {
			t.Errorf("%s", u)
		}
	}
}
