// Package browser drives the portal and the administrator's way in with a real
// browser, against the program as it is built.
package browser

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"dynproxy/bench/stand"
	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
)

// browser starts Debian's Chromium for the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	needs.Tool(t, "chromium")
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("ignore-certificate-errors", true),             // the emulator's authority is its own
		chromedp.Flag("host-resolver-rules", "MAP opsbox 127.0.0.1"), // a name of this machine that browsers take for another's
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	ctx, cancelTime := context.WithTimeout(ctx, 6*time.Minute)
	t.Cleanup(cancelTime)
	return ctx
}

// shows waits until the page's text holds what it should.
func shows(text string) chromedp.Action[chromedp.Void] {
	has := chromedp.Evaluate[bool](says(text))
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
			// A page that is just leaving for another cannot be asked.
			if shown, err := has(ctx, t); err == nil && shown {
				return nil
			}
		}
		return fmt.Errorf("%q is not shown", text)
	})
}

func seen(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

// comes opens a page again and again, until it has all of that: a state turns a
// moment after the call that turns it.
func comes(address string, selectors ...string) chromedp.Action[chromedp.Void] {
	return reopened(address, fmt.Sprintf("comes to have %q", selectors),
		`[`+quoted(strings.Join(selectors, "|"))+`].every(all => all.split("|").every(one => document.querySelector(one) !== null))`)
}

// reopened opens a page until the expression is true of it.
func reopened(address, what, expression string) chromedp.Action[chromedp.Void] {
	is := chromedp.Evaluate[bool](expression)
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for began := time.Now(); time.Since(began) < 30*time.Second; {
			if _, err := chromedp.Navigate(address)(ctx, t); err != nil {
				return err
			}
			if there, err := is(ctx, t); err == nil && there {
				return nil
			}
		}
		return fmt.Errorf("%s never %s", address, what)
	})
}

// says is true of a page whose text holds text.
func says(text string) string {
	return `document.body !== null && document.body.innerText.includes(` + quoted(text) + `)`
}

// click waits for what is to be clicked.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(seen(selector), chromedp.Click(chromedp.CSS(selector)))
}

// replaced does what leads to another page, or to the same anew, and waits for
// that: what comes next must not overtake it.
func replaced(by chromedp.Action[chromedp.Void]) chromedp.Action[chromedp.Void] {
	mark := chromedp.Evaluate[bool](`window.before = true`)
	gone := chromedp.Evaluate[bool](`window.before === undefined && document.readyState === "complete"`)
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := mark(ctx, t); err != nil {
			return err
		}
		if _, err := by(ctx, t); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
			if left, err := gone(ctx, t); err == nil && left {
				return nil
			}
		}
		return errors.New("the page stays")
	})
}

// kept does what a page must see by itself, and fails if the page was loaded
// anew until it did.
func kept(by func(), until chromedp.Action[chromedp.Void]) chromedp.Action[chromedp.Void] {
	mark, marked := chromedp.Evaluate[bool](`window.before = true`), chromedp.Evaluate[bool](`window.before === true`)
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := mark(ctx, t); err != nil {
			return err
		}
		by()
		if _, err := until(ctx, t); err != nil {
			return err
		}
		if same, err := marked(ctx, t); err != nil || !same {
			return fmt.Errorf("the page was loaded anew: %v", err)
		}
		return nil
	})
}

func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

// harness is a proxy before an emulated Entra ID and four organizations: one is
// ready, one lacks its application user, two their administrator's consent.
type harness struct {
	stand.Proxy
	microsoft *emulator.Emulator
	stand     *stand.Stand
	settings  []string
}

const (
	app    = "6f1a4c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"
	secret = "a secret that opens nothing"
	adatum = "44444444-4444-4444-8444-444444444444"
)

// open starts a harness; more settings of the proxy replace those that it has.
func open(t *testing.T, more ...string) *harness {
	t.Helper()
	microsoft, err := emulator.New(emulator.Seed{
		Apps: []emulator.App{{ClientID: app, Name: "dynproxy", Secrets: []string{secret}}},
		Organizations: []emulator.OrganizationSeed{
			{Name: "contoso", TenantID: "11111111-1111-4111-8111-111111111111", Consented: []string{app}, ApplicationUsers: []string{app}},
			{Name: "fabrikam", TenantID: "22222222-2222-4222-8222-222222222222"},
			{Name: "northwind", TenantID: "33333333-3333-4333-8333-333333333333", Consented: []string{app}},
			{Name: "adatum", TenantID: adatum},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := microsoft.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { microsoft.Close() })
	s, err := stand.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ca := filepath.Join(s.Dir, "ca.pem")
	if err := os.WriteFile(ca, microsoft.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	var list, hosts []string
	for _, name := range []string{"contoso", "fabrikam", "northwind", "adatum"} {
		list = append(list, name+"="+microsoft.OrgURL(name))
		hosts = append(hosts, strings.TrimPrefix(microsoft.OrgURL(name), "https://"))
	}
	h := &harness{microsoft: microsoft, stand: s, settings: append([]string{"CLIENT_ID=" + app, "CLIENT_SECRET=" + secret, "TRUSTED_CA_FILE=" + ca, "TENANTS=" + strings.Join(list, ","), "PUBLISHER_NAME=Wingtip Software",
		"ALLOWED_ORG_HOSTS=" + strings.Join(hosts, ","), "ALLOWED_LOGIN_HOSTS=" + microsoft.LoginHost()}, more...)}
	s.Alive = len(more) > 0
	h.start(t)
	return h
}

// start starts the proxy.
func (h *harness) start(t *testing.T) {
	t.Helper()
	var err error
	if h.Proxy, err = h.stand.Proxy(h.settings...); err != nil {
		t.Fatal(err)
	}
	h.microsoft.Entra().AddRedirectURI(app, h.Ops+"/consent/callback")
}

// whoAmI calls as an application does, and returns the status.
func (h *harness) whoAmI(t *testing.T, tenant string) int {
	t.Helper()
	return h.call(t, "/"+tenant+"/api/data/v9.2/WhoAmI")
}

func (h *harness) call(t *testing.T, path string) int {
	t.Helper()
	resp, err := http.Get(h.Calls + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// An administrator's whole way in a real browser: from the portal to consent,
// back, the application user, and a call that is answered; and the ways on
// which nothing must happen.
func TestTheWayInWithABrowser(t *testing.T) {
	ctx := browser(t)
	h := open(t)
	ops := h.Ops
	pictures := newAlbum(t, ctx)
	step := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			at, _ := chromedp.Run(ctx, chromedp.Location())
			text, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
			t.Fatalf("%s: %v\nat %s: %.600s", what, err, at, text)
		}
	}

	if status := h.whoAmI(t, "contoso"); status != http.StatusOK {
		t.Fatalf("contoso answers %d", status)
	}
	step("the portal", chromedp.Navigate(ops+"/"), seen(`a[href*="/consent/fabrikam?key="]`))
	pictures.shoot("portal")
	step("a tenant's page", chromedp.Navigate(ops+"/tenants/fabrikam"), shows("Next: let its administrator open"))
	pictures.shoot("tenant")
	// Its past: well, down for a while, and well again.
	if err := h.microsoft.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Down}); err != nil {
		t.Fatal(err)
	}
	if status := h.whoAmI(t, "contoso"); status != http.StatusBadGateway {
		t.Fatalf("contoso answers %d while it is down", status)
	}
	step("a tenant that is down", comes(ops+"/tenants/contoso", "h1 .state.broken", ".timeline rect.broken"))
	h.microsoft.Organization("contoso").Heal()
	for h.whoAmI(t, "contoso") != http.StatusOK { // what was refused a moment ago is not asked again at once
		time.Sleep(100 * time.Millisecond)
	}
	step("a tenant's past", comes(ops+"/tenants/contoso", "h1 .state.ready", ".timeline rect.ready"), shows("upstream_unreachable"))
	pictures.shoot("past")
	h.call(t, "/contoso/XRMServices/2011/OrganizationData.svc/AccountSet")
	h.call(t, "/contoso/api/data/v8.2/accounts")
	step("usage", chromedp.Navigate(ops+"/usage"), shows("requests go to what Microsoft has withdrawn"), shows("OData v2 is deprecated"), seen(`a[href^="/usage.csv"]`))
	pictures.shoot("usage")
	step("the wallboard", chromedp.Navigate(ops+"/wallboard"), shows("fabrikam"))
	pictures.shoot("wallboard")

	step("what is asked, in German", chromedp.Navigate(ops+"/consent/adatum/about?lang=de"), shows("Wingtip Software bittet um Zugriff auf Ihre Organisation"), seen(`html[lang="de"] svg[role="img"]`))
	pictures.shoot("about-de")
	step("likewise, in Japanese", replaced(click(`nav a[lang="ja"]`)), seen(`html[lang="ja"] #go`))
	pictures.shoot("about-ja")
	step("no, in English", replaced(click(`nav a[lang="en"]`)), shows("asks for access to your organization"), click("#go"), click("#cancel"), shows("Access was not granted"))
	pictures.shoot("refused")

	step("consent", chromedp.Navigate(ops+"/tenants/fabrikam"), click(`a[href*="/consent/fabrikam?key="]`),
		click("#accept"), shows("One step is left in the organization"), shows("pac admin assign-user"))
	pictures.shoot("granted")
	status, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	step("the application user", chromedp.Navigate("https://"+h.microsoft.LoginHost()+"/_emulator/organizations/fabrikam"),
		chromedp.SetValue(chromedp.CSS("#client_id"), app), click("#create"), shows("Remove"))
	step("all done", chromedp.Navigate(status), shows("All is set up"))
	pictures.shoot("done")
	step("what is left, without a reload", chromedp.Navigate(ops+"/consent/northwind"), click("#accept"), seen(`main[data-stage="user"]`), kept(func() {
		h.microsoft.Organization("northwind").AddApplicationUser(app)
	}, seen(`main[data-stage="done"]`)))
	step("the portal turns green", chromedp.Navigate(ops+"/tenants/fabrikam"), replaced(click("form button")), seen("h1 .state.ready"))
	if status := h.whoAmI(t, "fabrikam"); status != http.StatusOK {
		t.Errorf("a call gets %d", status)
	}

	// What others may send to the callback.
	back := func(values url.Values) string { return ops + "/consent/callback?" + values.Encode() }
	granted := func(state string) url.Values {
		return url.Values{"admin_consent": {"True"}, "tenant": {adatum}, "state": {state}}
	}
	begun := func() string {
		t.Helper()
		step("a beginning", chromedp.Navigate(ops+"/consent/adatum"), seen("#cancel"))
		at, err := chromedp.Run(ctx, chromedp.Location())
		if err != nil {
			t.Fatal(err)
		}
		return stateOf(t, at)
	}
	good := begun()
	step("a forged state", chromedp.Navigate(back(granted(good[:len(good)-4]+"AAAA"))), shows("belongs to no question of ours"))
	step("no state", chromedp.Navigate(back(granted(""))), shows("belongs to no question of ours"))
	step("an answer for another browser", chromedp.Navigate(back(granted(stateOf(t, elsewhere(t, ops+"/consent/adatum"))))), shows("belongs to another browser"))
	step("an answer that says yes, and no consent", chromedp.Navigate(back(granted(good))), shows("There is no access yet"))
	step("the same once more", chromedp.Navigate(back(granted(good))), shows("was given before"))
	forged := granted(begun())
	forged.Set("tenant", "11111111-1111-4111-8111-111111111111") // where there is consent
	step("a forged tenant", chromedp.Navigate(back(forged)), shows("There is no access yet"))
	if status := h.whoAmI(t, "adatum"); status != http.StatusBadGateway {
		t.Errorf("adatum answers %d", status)
	}
}

// stateOf is the state in the address of Entra ID's page.
func stateOf(t *testing.T, location string) string {
	t.Helper()
	to, err := url.Parse(location)
	if err != nil || to.Query().Get("state") == "" {
		t.Fatalf("no state in %q", location)
	}
	return to.Query().Get("state")
}

// elsewhere is where another browser is led.
func elsewhere(t *testing.T, page string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Location")
}
