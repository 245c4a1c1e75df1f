package consent

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dynproxy/internal/check"
	"dynproxy/internal/problem"
)

const mailLife = 7 * 24 * time.Hour

// asked runs a request against the pages.
func asked(p *Pages, method, target string, form url.Values) *httptest.ResponseRecorder {
	return askedFrom("192.0.2.1:1234", p, method, target, form)
}

func askedFrom(remote string, p *Pages, method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.RemoteAddr = remote
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// backend knows the tenant contoso.
type backend struct {
	problem problem.Code // why there is no token
	ready   bool
	broken  string // link of the chain; the application user's by default
	proofs  int
	granted int // how often it was told so
	welcome []string
}

func (*backend) ConsentLink(_ context.Context, tenant, state string) (string, bool) {
	return "https://login.example/?state=" + url.QueryEscape(state), tenant == "contoso"
}

func (b *backend) Granted(string) { b.granted++ }

func (b *backend) Prove(context.Context, string) problem.Code { b.proofs++; return b.problem }

func (b *backend) Report(_ context.Context, tenant string) (check.Report, bool) {
	l := check.Link{Name: cmp.Or(b.broken, check.ApplicationUser), State: check.Broken, Finding: "none", Next: "create it"}
	if b.ready {
		l.State = check.OK
	}
	return check.Report{Tenant: tenant, OK: b.ready, Links: []check.Link{l}}, true
}

func (*backend) Facts(_ context.Context, tenant string) (Facts, bool) {
	return Facts{"https://contoso.example", "the-client-id", "the-tenant-id"}, tenant == "contoso"
}

// NewcomerLink is Backend's.
func (*backend) NewcomerLink(_ context.Context, state string) string {
	return "https://login.example/organizations?state=" + url.QueryEscape(state)
}

func (b *backend) Welcome(tenantID, _ string) { b.welcome = append(b.welcome, tenantID) }

func pages(k Key, code problem.Code, ready bool) *Pages {
	return New(Options{Keys: func() []Key { return []Key{k} }, Backend: &backend{problem: code, ready: ready}, Strangers: func() bool { return true }, Base: func() string { return "http://proxy.example" }})
}

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
			"granted":                {yes(k.State("contoso", mailLife)), "/consent/status?of="},
			"one without an end":     {yes(k.State("contoso", 0)), "/consent/status?of="},
			"refused, with a yes":    {url.Values{"admin_consent": {"True"}, "error": {"access_denied"}, "state": {k.State("contoso", mailLife)}}, "was not granted"},
			"an error that is new":   {url.Values{"error": {"<b>x</b>"}, "error_description": {"<script>"}, "state": {k.State("contoso", mailLife)}}, "was not granted"},
			"no state":               {yes(""), "no question of ours"},
			"a state of nobody":      {yes("AAAA.BBBB"), "no question of ours"},
			"another key's":          {yes(other.State("contoso", mailLife)), "no question of ours"},
			"a state of the watcher": {yes(k.sign(signed{purpose: forStatus, tenant: "contoso"}, mailLife)), "no question of ours"},
			"one that has ended":     {yes(k.State("contoso", -time.Second)), "too late"},
		} {
			for _, method := range []string{"GET", "POST"} {
				p := pages(k, "not yet", false)
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
	target := "/consent/callback?admin_consent=True&state=" + k.State("contoso", mailLife)
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
		problem problem.Code
		ready   bool
		want    string
		again   bool
	}{
		{problem.ConsentRequired, false, "There is no access yet", true},
		{"", false, "pac admin assign-user --environment https://contoso.example --user the-client-id", true},
		{"", true, "All is set up", false},
	} {
		w := asked(pages(k, c.problem, c.ready), "GET", "/consent/status?of="+k.sign(signed{purpose: forStatus, tenant: "contoso"}, time.Hour), nil)
		if !strings.Contains(w.Body.String(), c.want) || strings.Contains(w.Body.String(), `<noscript><meta http-equiv="refresh"`) != c.again || strings.Contains(w.Body.String(), "curl") {
			t.Errorf("want %q: %v %s", c.want, w.Header(), w.Body)
		}
	}
	for _, of := range []string{"", "x.y", k.State("contoso", time.Hour), k.sign(signed{purpose: forStatus, tenant: "contoso"}, -time.Second)} {
		if w := asked(pages(k, "", true), "GET", "/consent/status?of="+of, nil); w.Code != http.StatusBadRequest {
			t.Errorf("%q gets %d", of, w.Code)
		}
	}
}

// A host of IPv6 has more addresses than anybody can count: they are one stranger.
func TestTheAddressesOfOneIPv6NetworkAreOneStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pages(NewKey(nil), "", false)
		refused := 0
		for i := range 100 {
			if askedFrom(fmt.Sprintf("[2001:db8::%x]:1", i+1), p, "GET", "/consent/status?of=x", nil).Code == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused != 70 {
			t.Errorf("%d of 100 are held off", refused)
		}
		if code := askedFrom("[2001:db8:0:1::1]:1", p, "GET", "/consent/status?of=x", nil).Code; code != http.StatusBadRequest {
			t.Errorf("another network gets %d", code)
		}
	})
}

// A flood of answers to nothing keeps out neither a guest with a link nor one
// who has begun here, though all come from one address; and each is cheap.
func TestAFloodDoesNotShutTheGuestOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKey(nil)
		p := pages(k, "", false)
		p.Strangers = func() bool { return false }
		refused := 0
		for i := range 5000 {
			target := []string{"/consent/callback?state=" + k.State("contoso", 0) + "x", "/consent/nobody", "/consent/status?of=x"}[i%3]
			if asked(p, "GET", target, nil).Code == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused < 4900 {
			t.Errorf("%d of 5000 are held off", refused)
		}
		if w := asked(p, "GET", "/consent/contoso?key="+k.Link("contoso", 0), nil); w.Code != http.StatusFound {
			t.Errorf("the guest's link: %d", w.Code)
		}
		for range 500 {
			w := asked(p, "GET", "/consent/callback?admin_consent=True&state="+k.State("contoso", 0), nil)
			if w.Code != http.StatusSeeOther {
				t.Fatalf("the guest's answer: %d", w.Code)
			}
			asked(p, "GET", w.Header().Get("Location"), nil)
		}
		if n := p.Backend.(*backend).proofs; n != 1 {
			t.Errorf("%d token requests", n)
		}
	})
}

// Where strangers are kept out, they learn nothing: a tenant and none look the
// same by every method and with every signature that is not theirs.
func TestStrangersLearnNothing(t *testing.T) {
	k, other := NewKey([]byte("secret")), NewKey([]byte("another"))
	for _, method := range []string{"GET", "POST", "HEAD", "PUT"} {
		for _, key := range []string{"", "?key=", "?key=x.y", "?key=" + other.Link("contoso", 0), "?key=" + k.Link("fabrikam", 0), "?key=" + k.State("contoso", 0)} {
			p := pages(k, "", true)
			p.Strangers = func() bool { return false }
			known, none := asked(p, method, "/consent/contoso"+key, nil), asked(p, method, "/consent/nobody"+key, nil)
			if known.Code != none.Code || known.Body.String() != none.Body.String() || fmt.Sprint(known.Header()) != fmt.Sprint(none.Header()) || known.Code < 400 {
				t.Errorf("%s %q: %d and %d", method, key, known.Code, none.Code)
			}
		}
	}
	p := pages(k, "", true)
	p.Strangers = func() bool { return false }
	for link, want := range map[string]int{k.Link("Contoso", 0): 302, k.Link("contoso", time.Hour): 302, k.Link("contoso", -time.Second): 404} {
		for range 3 { // a link may be opened more than once
			if w := asked(p, "GET", "/consent/CONTOSO?key="+link, nil); w.Code != want {
				t.Errorf("%s: %d, want %d", link, w.Code, want)
			}
		}
	}
}

// Who has declined may think again on the same link, and is told the truth.
func TestDeclinedFirstAndAcceptedThen(t *testing.T) {
	k := NewKey(nil)
	b := &backend{problem: "not yet"}
	p := New(Options{Keys: func() []Key { return []Key{k} }, Backend: b, Base: func() string { return "" }})
	synctest.Test(t, func(t *testing.T) {
		target := "/consent/callback?admin_consent=True&state=" + k.State("contoso", 0)
		if w := asked(p, "GET", target+"&error=access_denied", nil); !strings.Contains(w.Body.String(), "was not granted") {
			t.Errorf("%s", w.Body)
		}
		time.Sleep(time.Minute)
		b.problem = ""
		if w := asked(p, "GET", target, nil); w.Code != http.StatusSeeOther {
			t.Errorf("accepted then: %d %s", w.Code, w.Body)
		}
		for _, more := range []string{"", "&error=access_denied"} {
			if w := asked(p, "GET", target+more, nil); !strings.Contains(w.Body.String(), "Access stands") || strings.Contains(w.Body.String(), "Nothing was") {
				t.Errorf("once more: %s", w.Body)
			}
		}
	})
}

// What begins at a page is answered from the same browser, and from no other.
func TestAnAnswerBelongsToItsBrowser(t *testing.T) {
	for _, begin := range []string{"/consent/contoso", "/consent"} {
		p := pages(NewKey(nil), "", false)
		w := asked(p, "GET", "http://proxy.example"+begin, nil)
		cookies := w.Result().Cookies()
		to, err := url.Parse(w.Header().Get("Location"))
		if err != nil || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
			t.Fatalf("%v %v", err, cookies)
		}
		answer := func(cookie string) int {
			r := httptest.NewRequest("GET", "http://proxy.example/consent/callback?admin_consent=True&tenant=11111111-2222-4333-8444-555555555555&state="+url.QueryEscape(to.Query().Get("state")), nil)
			if cookie != "" {
				r.AddCookie(&http.Cookie{Name: cookies[0].Name, Value: cookie})
			}
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			return w.Code
		}
		if none, others := answer(""), answer("another-browser's-cookie-26"); none != 400 || others != 400 {
			t.Errorf("%s: no cookie %d, another's %d", begin, none, others)
		}
		if own := answer(cookies[0].Value); own >= 400 {
			t.Errorf("%s: its own %d", begin, own)
		}
		if again := answer(cookies[0].Value); again != 400 {
			t.Errorf("%s: a second time %d", begin, again)
		}
		if n := len(p.Backend.(*backend).welcome); n != map[bool]int{true: 1, false: 0}[begin == "/consent"] {
			t.Errorf("%s: %d newcomers", begin, n)
		}
	}
}

// However many answers there have been, a new one is taken.
func TestUsedAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u used
		for i := range maxUsed + 10 {
			if !u.take(fmt.Sprint(i), time.Time{}) {
				t.Fatalf("the %dth is not taken", i)
			}
		}
		if len(u.ends) > maxUsed || u.take(fmt.Sprint(maxUsed+9), time.Time{}) {
			t.Errorf("%d are kept", len(u.ends))
		}
	})
}

// The answer of Entra ID is proven when it comes: who closes the page then has
// granted access all the same.
func TestWhatIsGrantedCountsBeforeThePageIsSeen(t *testing.T) {
	k, known := NewKey(nil), &backend{}
	p := New(Options{Keys: func() []Key { return []Key{k} }, Backend: known, Base: func() string { return "http://proxy.example" }})
	if w := asked(p, "GET", "/consent/callback?admin_consent=True&state="+k.State("contoso", 0), nil); w.Code != http.StatusSeeOther || known.proofs != 1 {
		t.Errorf("%d, proven %d times", w.Code, known.proofs)
	}
	// It is told once, however often the page is looked at and somebody answers no.
	seen := "/consent/status?of=" + url.QueryEscape(k.sign(signed{purpose: forStatus, tenant: "contoso", nonce: "n"}, statusLife))
	for range 3 {
		asked(p, "GET", seen, nil)
		asked(p, "GET", "/consent/callback?error=access_denied&state="+k.State("contoso", 0), nil)
	}
	if known.granted != 1 {
		t.Errorf("told %d times", known.granted)
	}
	// What is proven only later is told then.
	late := &backend{problem: "not yet"}
	p = New(Options{Keys: func() []Key { return []Key{k} }, Backend: late, Base: func() string { return "http://proxy.example" }})
	asked(p, "GET", "/consent/callback?admin_consent=True&state="+k.State("contoso", 0), nil)
	if late.granted != 0 {
		t.Error("told without a proof")
	}
	late.problem = ""
	v, _ := p.proofs.Load("contoso")
	v.(*proof).at = time.Time{} // some seconds later
	if asked(p, "GET", seen, nil); late.granted != 1 {
		t.Errorf("told %d times", late.granted)
	}
	if w := asked(p, "POST", "/consent/callback", url.Values{"state": {strings.Repeat("x", 100<<10)}}); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("100 KiB of an answer: %d", w.Code)
	}
}
