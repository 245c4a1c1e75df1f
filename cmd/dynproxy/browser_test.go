package main

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

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"dynproxy/internal/emulator"
)

// browser starts Debian's Chromium for the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		requireTool(t, "chromium", "Debian's chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("ignore-certificate-errors", true), // the emulator's authority is its own
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	ctx, cancelTime := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancelTime)
	return ctx
}

// album keeps screenshots: each page light and dark, wide and narrow.
type album struct {
	t      *testing.T
	ctx    context.Context
	folder string
}

func newAlbum(t *testing.T, ctx context.Context) *album {
	folder := os.Getenv("DYNPROXY_TEST_ARTIFACTS")
	if folder == "" {
		folder = t.TempDir()
	} else if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return &album{t, ctx, folder}
}

func (a *album) shoot(page string) {
	a.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for width, name := range map[int64]string{1280: "1280", 390: "390"} {
			err := chromedp.Do(a.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
				_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				})
				return err
			}), chromedp.EmulateViewport(width, 900))
			if err != nil {
				a.t.Fatalf("%s: %v", page, err)
			}
			overflow, err := chromedp.Run(a.ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
			if err != nil {
				a.t.Fatalf("%s: %v", page, err)
			}
			png, err := chromedp.Run(a.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				a.t.Fatalf("%s: %v", page, err)
			}
			if overflow {
				a.t.Errorf("%s is wider than %d pixels", page, width)
			}
			if err := os.WriteFile(filepath.Join(a.folder, page+"-"+scheme+"-"+name+".png"), png, 0o644); err != nil {
				a.t.Fatal(err)
			}
		}
	}
	chromedp.Do(a.ctx, chromedp.EmulateViewport(1280, 900))
}

// shows waits until the page's text holds what it should.
func shows(text string) chromedp.Action[chromedp.Void] {
	has := chromedp.Evaluate[bool](`document.body !== null && document.body.innerText.includes(` + quoted(text) + `)`)
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

func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

// An administrator's whole way in a real browser: from the portal to consent,
// back, the application user, and a call that is answered; and the ways on
// which nothing must happen.
func TestTheWayInWithABrowser(t *testing.T) {
	ctx := browser(t)
	seed := demoSeed()
	seed.Organizations = append(seed.Organizations, emulator.OrganizationSeed{Name: "adatum", TenantID: "44444444-4444-4444-8444-444444444444"})
	p := pretended(t, seed)
	r := start(t, p.settings("contoso", "fabrikam", "northwind", "adatum"))
	_, port, _ := strings.Cut(strings.TrimPrefix(r.ops, "http://"), ":")
	ops := "http://localhost:" + port
	p.Entra().AddRedirectURI(demoClientID, ops+"/consent/callback")
	pictures := newAlbum(t, ctx)
	step := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			at, _ := chromedp.Run(ctx, chromedp.Location())
			text, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
			t.Fatalf("%s: %v\nat %s: %.600s", what, err, at, text)
		}
	}

	r.get(whoAmIPath)
	step("the portal", chromedp.Navigate(ops+"/"), seen(`a[href$="/consent/fabrikam"]`))
	pictures.shoot("portal")
	step("a tenant's page", chromedp.Navigate(ops+"/tenants/fabrikam"), shows("Next: let its administrator open"))
	pictures.shoot("tenant")
	step("the wallboard", chromedp.Navigate(ops+"/wallboard"), shows("fabrikam"))
	pictures.shoot("wallboard")

	step("no", chromedp.Navigate(ops+"/consent/adatum"), click("#cancel"), shows("Access was not granted"))
	pictures.shoot("refused")

	step("consent", chromedp.Navigate(ops+"/tenants/fabrikam"), click(`a[href$="/consent/fabrikam"]`),
		click("#accept"), shows("One step is left in the organization"), shows("pac admin assign-user"))
	pictures.shoot("granted")
	status, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	step("the application user", chromedp.Navigate("https://"+p.LoginHost()+"/_emulator/organizations/fabrikam"),
		chromedp.SetValue(chromedp.CSS("#client_id"), demoClientID), click("#create"), shows("Remove"))
	step("all done", chromedp.Navigate(status), shows("All is set up"))
	pictures.shoot("done")
	step("the portal turns green", chromedp.Navigate(ops+"/tenants/fabrikam"), replaced(click("form button")), seen("h1 .state.ready"))
	if resp, body := r.get("/fabrikam/api/data/v9.2/WhoAmI"); resp.StatusCode != 200 {
		t.Errorf("a call gets %d %s", resp.StatusCode, body)
	}

	// What others may send to the callback.
	const adatum = "44444444-4444-4444-8444-444444444444"
	back := func(values url.Values) string { return ops + "/consent/callback?" + values.Encode() }
	granted := func(state string) url.Values {
		return url.Values{"admin_consent": {"True"}, "tenant": {adatum}, "state": {state}}
	}
	good := stateOf(t, ops, "adatum")
	step("a forged state", chromedp.Navigate(back(granted(good[:len(good)-4]+"AAAA"))), shows("belongs to no question of ours"))
	step("no state", chromedp.Navigate(back(granted(""))), shows("belongs to no question of ours"))
	step("an answer that says yes, and no consent", chromedp.Navigate(back(granted(good))), shows("There is no access yet"))
	step("the same once more", chromedp.Navigate(back(granted(good))), shows("was given before"))
	forged := granted(stateOf(t, ops, "adatum"))
	forged.Set("tenant", "11111111-1111-4111-8111-111111111111") // where there is consent
	step("a forged tenant", chromedp.Navigate(back(forged)), shows("There is no access yet"))
	if resp, _ := r.get("/adatum/api/data/v9.2/WhoAmI"); resp.StatusCode != 502 {
		t.Errorf("adatum answers %d", resp.StatusCode)
	}
}

// stateOf is the state in the link to which the portal leads.
func stateOf(t *testing.T, ops, tenant string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(ops + "/consent/" + tenant)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Query().Get("state") == "" {
		t.Fatalf("%s leads to %q", resp.Status, resp.Header.Get("Location"))
	}
	return to.Query().Get("state")
}
