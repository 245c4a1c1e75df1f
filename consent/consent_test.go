package consent

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/check"
)

// asked runs a request against the pages.
func asked(p *Pages, method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// backend knows the tenant contoso.
type backend struct {
	problem string // why there is no token
	ready   bool
}

func (backend) ConsentLink(_ context.Context, tenant, state string) (string, bool) {
	return "https://login.example/?state=" + url.QueryEscape(state), tenant == "contoso"
}

func (b backend) Prove(context.Context, string) string { return b.problem }

func (b backend) Report(_ context.Context, tenant string) (check.Report, bool) {
	l := check.Link{Name: check.ApplicationUser, State: check.Broken, Finding: "none", Next: "create it"}
	if b.ready {
		l.State = check.OK
	}
	return check.Report{Tenant: tenant, OK: b.ready, Links: []check.Link{l}}, true
}

func (backend) Facts(string) Facts {
	return Facts{"https://contoso.example", "the-client-id", "curl x"}
}

func pages(k Key, problem string, ready bool) *Pages { return New(k, backend{problem, ready}) }

func TestAnswersOfEntraID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKey([]byte("secret"))
		other := NewKey([]byte("another secret"))
		yes := func(state string) url.Values {
			return url.Values{"admin_consent": {"True"}, "tenant": {"whoever"}, "state": {state}}
		}
		for name, c := range map[string]struct {
			form url.Values
			want string // in the page, or where it leads
		}{
			"granted":                {yes(k.State("contoso", MailLife)), "/consent/status?of="},
			"refused, with a yes":    {url.Values{"admin_consent": {"True"}, "error": {"access_denied"}, "state": {k.State("contoso", MailLife)}}, "was not granted"},
			"an error that is new":   {url.Values{"error": {"<b>x</b>"}, "error_description": {"<script>"}, "state": {k.State("contoso", MailLife)}}, "was not granted"},
			"no state":               {yes(""), "no question of ours"},
			"a state of nobody":      {yes("AAAA.BBBB"), "no question of ours"},
			"another key's":          {yes(other.State("contoso", MailLife)), "no question of ours"},
			"a state of the watcher": {yes(k.sign(forStatus, "contoso", MailLife)), "no question of ours"},
			"one that has ended":     {yes(k.State("contoso", -time.Second)), "too late"},
		} {
			for _, method := range []string{"GET", "POST"} {
				p := pages(k, "", false)
				w := asked(p, method, "/consent/callback", c.form)
				if method == "GET" {
					w = asked(p, method, "/consent/callback?"+c.form.Encode(), nil)
				}
				if said := w.Body.String() + w.Header().Get("Location"); !strings.Contains(said, c.want) {
					t.Errorf("%s by %s: %d %s", name, method, w.Code, said)
				}
				if strings.Contains(w.Body.String(), "<script>") || strings.Contains(w.Body.String(), "<b>x") {
					t.Errorf("%s: what was sent is shown", name)
				}
			}
		}
	})
}

func TestAStateIsGoodOnce(t *testing.T) {
	k := NewKey(nil)
	p := pages(k, "", false)
	target := "/consent/callback?admin_consent=True&state=" + k.State("contoso", MailLife)
	if w := asked(p, "GET", target, nil); w.Code != http.StatusSeeOther {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := asked(p, "GET", target, nil); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "given before") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTheWatcherSaysWhatIsNext(t *testing.T) {
	k := NewKey([]byte("secret"))
	for _, c := range []struct {
		problem string
		ready   bool
		want    string
		again   bool
	}{
		{"not yet.", false, "There is no access yet", true},
		{"", false, "pac admin assign-user --environment https://contoso.example --user the-client-id", true},
		{"", true, "All is set up", false},
	} {
		w := asked(pages(k, c.problem, c.ready), "GET", "/consent/status?of="+k.sign(forStatus, "contoso", time.Hour), nil)
		if !strings.Contains(w.Body.String(), c.want) || (w.Header().Get("Refresh") != "") != c.again {
			t.Errorf("want %q: %v %s", c.want, w.Header(), w.Body)
		}
	}
	for _, of := range []string{"", "x.y", k.State("contoso", time.Hour), k.sign(forStatus, "contoso", -time.Second)} {
		if w := asked(pages(k, "", true), "GET", "/consent/status?of="+of, nil); w.Code != http.StatusBadRequest {
			t.Errorf("%q gets %d", of, w.Code)
		}
	}
}

// Each answer may cost a token request: nobody gets more than a person needs.
func TestStrangersAreHeldOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pages(NewKey(nil), "", false)
		served := 0
		for range 200 {
			if asked(p, "GET", "/consent/contoso", nil).Code == http.StatusFound {
				served++
			}
		}
		if served != 30 {
			t.Errorf("%d of 200 at once are served", served)
		}
		time.Sleep(20 * time.Second)
		if w := asked(p, "GET", "/consent/contoso", nil); w.Code != http.StatusFound {
			t.Errorf("later: %d", w.Code)
		}
		if w := asked(p, "GET", "/consent/nobody", nil); w.Code != http.StatusNotFound {
			t.Errorf("an unknown tenant: %d", w.Code)
		}
	})
}
