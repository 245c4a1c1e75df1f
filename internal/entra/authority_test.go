package entra_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/internal/entra"
)

const (
	org    = "https://contoso.crm.dynamics.com"
	tenant = "5f0d8f5e-7c53-4d2c-9d0b-6a6f6f0c2a11"
)

func microsoft(host string) bool { return host == login || host == "login.microsoftonline.us:8443" }

// challenging answers as an organization with that challenge does.
func challenging(challenges ...string) server {
	return func(r *http.Request) (int, http.Header, string) {
		if r.Header.Get("Authorization") != "" || r.URL.Host != strings.TrimPrefix(org, "https://") {
			return 500, nil, ""
		}
		return 401, http.Header{"Www-Authenticate": challenges}, "HTTP Error 401 - Unauthorized: Access is denied"
	}
}

func TestAuthorityOfTheEmulator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, 1, entra.Registration{})
		f := &entra.AuthorityResolver{Transport: h.hosts, LoginAllowed: microsoft}
		a, err := f.Find(t.Context(), h.target(0).Resource)
		if err != nil || a.Login != login || a.TenantID != h.target(0).TenantID {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestChallenges(t *testing.T) {
	found := entra.Authority{Login: login, TenantID: tenant}
	uri := "https://" + login + "/" + tenant + "/oauth2/authorize"
	for name, c := range map[string]struct {
		challenge string
		want      entra.Authority
	}{
		"as Dataverse writes it": {"Bearer authorization_uri=" + uri + ", resource_id=" + org + "/", found},
		"quoted":                 {`Bearer authorization_uri="` + uri + `", resource_id="` + org + `/"`, found},
		"the other way round":    {`Bearer resource_id=` + org + `/, authorization_uri=` + uri, found},
		"spaces and case":        {`BEARER  Authorization_URI = "` + uri + `"`, found},
		"upper case":             {`Bearer authorization_uri=https://` + strings.ToUpper(login+"/"+tenant) + `/oauth2/authorize`, found},
		"v2":                     {`Bearer authorization_uri=https://` + login + `:443/` + tenant + `/oauth2/v2.0/authorize`, found},
		"no path behind":         {`Bearer authorization_uri=https://` + login + `/` + tenant, found},
		"a domain":               {`Bearer authorization_uri=https://` + login + `/contoso.onmicrosoft.com/oauth2/authorize`, entra.Authority{Login: login, TenantID: "contoso.onmicrosoft.com"}},
		"with a port":            {`Bearer authorization_uri=https://login.microsoftonline.us:8443/` + tenant + `/`, entra.Authority{Login: "login.microsoftonline.us:8443", TenantID: tenant}},
		"common":                 {`Bearer authorization_uri=https://` + login + `/common/oauth2/authorize`, entra.Authority{}},
		"Common":                 {`Bearer authorization_uri=https://` + login + `/Common/oauth2/authorize`, entra.Authority{}},
		"no tenant":              {`Bearer authorization_uri=https://` + login + `/`, entra.Authority{}},
		"plain HTTP":             {`Bearer authorization_uri=http://` + login + `/` + tenant, entra.Authority{}},
		"another host":           {`Bearer authorization_uri=https://evil.example/` + tenant, entra.Authority{}},
		"a host that looks so":   {`Bearer authorization_uri=https://` + login + `.evil.example/` + tenant, entra.Authority{}},
		"user information":       {`Bearer authorization_uri=https://` + login + `@evil.example/` + tenant, entra.Authority{}},
		"a path for a tenant":    {`Bearer authorization_uri=https://` + login + `/..%2fx/oauth2`, entra.Authority{}},
		"another parameter":      {`Bearer xauthorization_uri=` + uri, entra.Authority{}},
		"another scheme":         {`Negotiate`, entra.Authority{}},
		"nothing":                {"", entra.Authority{}},
	} {
		f := &entra.AuthorityResolver{Transport: challenging("NTLM", c.challenge), LoginAllowed: microsoft}
		got, err := f.Find(t.Context(), org)
		e, isOurs := errors.AsType[*entra.Error](err)
		if got != c.want || (err == nil) != (c.want != entra.Authority{}) || err != nil && (!isOurs || e.Class != entra.Configuration) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAnswersThatAreNoChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		answer server
		class  entra.Class
	}{
		"200": {func(*http.Request) (int, http.Header, string) { return 200, nil, "<html>" }, entra.Configuration},
		"redirect": {func(*http.Request) (int, http.Header, string) {
			return 302, http.Header{"Location": {"https://evil.example/"}}, ""
		}, entra.Configuration},
		"not found": {func(*http.Request) (int, http.Header, string) { return 404, nil, "" }, entra.Configuration},
		"busy":      {func(*http.Request) (int, http.Header, string) { return 503, nil, "" }, entra.Transient},
		"throttled": {func(*http.Request) (int, http.Header, string) { return 429, http.Header{"Retry-After": {"40"}}, "" }, entra.Transient},
		"throttled until a time by its clock": {func(*http.Request) (int, http.Header, string) {
			return 429, http.Header{"Date": {"Mon, 23 Nov 2026 08:00:00 GMT"}, "Retry-After": {"Mon, 23 Nov 2026 08:00:40 GMT"}}, ""
		}, entra.Transient},
	} {
		f := &entra.AuthorityResolver{Transport: c.answer, LoginAllowed: microsoft}
		_, err := f.Find(t.Context(), org)
		e, ok := errors.AsType[*entra.Error](err)
		if !ok || e.Class != c.class || e.RetryAfter < time.Second {
			t.Errorf("%s: %+v", name, err)
		}
		if strings.HasPrefix(name, "throttled") && e.RetryAfter != 40*time.Second {
			t.Errorf("%s: again in %v", name, e.RetryAfter)
		}
	}
}

func TestOrganizationIsAskedPolitely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, up := 0, false
		answer := challenging("Bearer authorization_uri=https://" + login + "/" + tenant)
		f := &entra.AuthorityResolver{LoginAllowed: microsoft, Transport: server(func(r *http.Request) (int, http.Header, string) {
			asked++ // one question at a time
			time.Sleep(time.Second)
			if !up {
				return 503, nil, ""
			}
			return answer(r)
		})}
		all := func() (last *entra.Error) {
			var wg sync.WaitGroup
			var mu sync.Mutex // guards last
			for range 100 {
				wg.Go(func() {
					if _, err := f.Find(t.Context(), org); err != nil {
						mu.Lock()
						last, _ = errors.AsType[*entra.Error](err)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			return last
		}
		if all() == nil || asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		var last *entra.Error
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(time.Second) {
			if last = all(); last == nil || last.RetryAfter > time.Minute {
				t.Fatalf("%v", last)
			}
		}
		if asked > 60 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		up = true
		time.Sleep(last.RetryAfter)
		before := asked
		for range 3 {
			if last = all(); last != nil {
				t.Error(last)
			}
		}
		if asked != before+1 {
			t.Errorf("asked %d times for what is known", asked-before)
		}
		f.Forget(org)
		if all(); asked != before+2 {
			t.Error("not asked again")
		}
	})
}

func TestFindEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &entra.AuthorityResolver{LoginAllowed: microsoft, Transport: server(func(*http.Request) (int, http.Header, string) {
			time.Sleep(10 * time.Second)
			return 503, nil, ""
		})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Find(ctx, org); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}

// organizationDown is the first organization of h, which is down, and who asks it.
func organizationDown(t *testing.T) (h *harness, o *emulator.Organization, f *entra.AuthorityResolver) {
	t.Helper()
	h = open(t, 1, entra.Registration{})
	o = h.Organization("org0")
	if err := o.Inject(emulator.Fault{Kind: emulator.Down}); err != nil {
		t.Fatal(err)
	}
	return h, o, &entra.AuthorityResolver{Transport: h.hosts, LoginAllowed: microsoft}
}

// Emulated organizations that are down look like those on the network.
func TestOrganizationThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, o, f := organizationDown(t)
		_, err := f.Find(t.Context(), h.target(0).Resource)
		e, ok := errors.AsType[*entra.Error](err)
		if !ok || e.Class != entra.Transient {
			t.Fatal(err)
		}
		o.Heal()
		time.Sleep(e.RetryAfter)
		if _, err := f.Find(t.Context(), h.target(0).Resource); err != nil {
			t.Error(err)
		}
	})
}

// Who asks again and again while an organization is down is answered within
// seconds when it is back.
func TestAnOrganizationThatIsBackIsAskedWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, o, f := organizationDown(t)
		find := func() error {
			_, err := f.Find(t.Context(), h.target(0).Resource)
			return err
		}
		for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(500 * time.Millisecond) {
			if find() == nil {
				t.Fatal("it is down")
			}
		}
		o.Heal()
		back := time.Now()
		for find() != nil {
			time.Sleep(50 * time.Millisecond)
		}
		if late := time.Since(back); late > 5*time.Second {
			t.Errorf("after %v", late)
		}
	})
}

// What an organization told holds until it tells something else; it is asked
// again when that is doubted, and not with each doubt.
func TestADoubtedAuthorityIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, asked := tenant, 0
		f := &entra.AuthorityResolver{LoginAllowed: microsoft, Transport: server(func(*http.Request) (int, http.Header, string) {
			if asked++; now == "" {
				return 503, nil, ""
			}
			return 401, http.Header{"Www-Authenticate": {"Bearer authorization_uri=https://" + login + "/" + now + "/oauth2/authorize"}}, ""
		})}
		const other = "99999999-9999-4999-8999-999999999999"
		for _, step := range []struct {
			says, want string
			after      time.Duration
			doubted    bool
		}{
			{tenant, tenant, 0, false}, {other, tenant, 30 * time.Second, false}, {other, other, 31 * time.Second, true},
			{"", other, time.Second, false}, {"", other, time.Minute, true}, {tenant, other, time.Second, false}, {tenant, tenant, time.Minute, true},
		} {
			now = step.says
			time.Sleep(step.after)
			if got := f.Doubt(org); got != step.doubted {
				t.Errorf("%+v: doubted %v", step, got)
			}
			if a, err := f.Find(t.Context(), org); err != nil || a.TenantID != step.want {
				t.Errorf("%+v: %v, %v", step, a, err)
			}
		}
		if asked != 4 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// What a challenge names can be put into an address and stays what it is.
func FuzzChallenge(f *testing.F) {
	f.Add("Bearer authorization_uri=https://" + login + "/" + tenant + "/oauth2/authorize, resource_id=" + org + "/")
	f.Add(`Bearer authorization_uri="https://` + login + `/common"`)
	f.Add(`Bearer authorization_uri=https://[::1]:8/a.b?c#d`)
	f.Fuzz(func(t *testing.T, challenge string) {
		finder := &entra.AuthorityResolver{Transport: challenging(challenge), LoginAllowed: func(string) bool { return true }}
		a, err := finder.Find(t.Context(), org)
		if err != nil {
			return
		}
		u, err := http.NewRequest(http.MethodPost, fmt.Sprintf("https://%s/%s/oauth2/v2.0/token", a.Login, a.TenantID), nil)
		if err != nil || u.URL.Host != a.Login || u.URL.Path != "/"+a.TenantID+"/oauth2/v2.0/token" || u.URL.RawQuery != "" || u.URL.User != nil {
			t.Errorf("%+v of %q: %v", a, challenge, err)
		}
	})
}

// Each organization is asked once in a long time. Of ten thousand tenants the
// connections would be most of the memory.
func TestWhoIsAskedForItsTenantKeepsNoConnection(t *testing.T) {
	states := make(chan http.ConnState, 16)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer authorization_uri=https://"+login+"/"+tenant+"/oauth2/authorize")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
	server.Start()
	t.Cleanup(server.Close)
	f := &entra.AuthorityResolver{Transport: &http.Transport{}, LoginAllowed: microsoft}
	if a, err := f.Find(t.Context(), server.URL); err != nil || a.TenantID != tenant {
		t.Fatalf("%+v, %v", a, err)
	}
	for state := range states {
		if state == http.StateIdle {
			t.Fatal("the connection is kept")
		}
		if state == http.StateClosed {
			return
		}
	}
}
