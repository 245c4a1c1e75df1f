package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const word = "0perators-word"

// desk is a portal whose password is known to its browser.
type desk struct {
	*harness
	t   *testing.T
	ctx context.Context
	dir string // holds tenants, callers and state
}

// sit opens a portal of so many tenants of one organization.
func sit(t *testing.T, tenants int, prepare func(dir string)) *desk {
	t.Helper()
	d := &desk{t: t, ctx: browser(t), dir: t.TempDir()}
	for _, sub := range []string{"tenants", "callers", "state"} {
		if err := os.Mkdir(filepath.Join(d.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if prepare != nil {
		prepare(d.dir)
	}
	d.harness = open(t, "TENANTS=", "TENANTS_DIR="+d.dir+"/tenants", "CALLERS_DIR="+d.dir+"/callers", "STATE_DIR="+d.dir+"/state", "OPS_PASSWORD="+word)
	for i := range tenants {
		d.tenant(fmt.Sprintf("tenant%03d", i), d.microsoft.OrgURL([]string{"contoso", "northwind", "fabrikam"}[i%3]))
	}
	return d
}

// tenant lays down the file of a tenant.
func (d *desk) tenant(name, org string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, "tenants", name+".env"), []byte("ORG_URL="+org+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// at is the address of a page, with the password in it.
func (d *desk) at(path string) string {
	u, err := url.Parse(d.Ops + path)
	if err != nil {
		d.t.Fatal(err)
	}
	u.User = url.UserPassword("alice", word)
	return u.String()
}

func (d *desk) step(what string, actions ...chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	if err := chromedp.Do(d.ctx, actions...); err != nil {
		text, _ := chromedp.Run(d.ctx, chromedp.Text(chromedp.CSS("body")))
		d.t.Fatalf("%s: %v\n%.900s", what, err, text)
	}
}

// scripts switches the pages' scripts on or off.
func scripts(on bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	})
}

// Nobody, six or hundreds of tenants: each page fits each screen, says how many
// there are, and axe finds nothing.
func TestPagesOfFewAndMany(t *testing.T) {
	for _, many := range []struct {
		tenants int
		says    string
		pages   []string
	}{
		{0, "There is no tenant yet", []string{"/", "/wallboard", "/callers", "/proxies", "/settings", "/events", "/calls", "/usage", "/help"}},
		{6, "6 tenants", []string{"/", "/wallboard", "/change/tenant", "/change/caller", "/confirm/remove/tenant/tenant001", "/nothing"}},
		{506, "1 to 50 of 506 tenants", []string{"/", "/wallboard"}},
	} {
		t.Run(fmt.Sprint(many.tenants), func(t *testing.T) {
			d := sit(t, many.tenants, nil)
			pictures := newAlbum(t, d.ctx)
			d.step("the list", comes(d.at("/"), "main"), untilSays(d.at("/"), many.says))
			for _, page := range many.pages {
				d.step(page, chromedp.Navigate(d.at(page)), seen("main h1, main .tally"))
				pictures.shoot(fmt.Sprintf("%d-%s", many.tenants, strings.ReplaceAll(strings.Trim(page, "/"), "/", "-")))
			}
		})
	}
}

// untilSays opens a page until it says text: files are taken up within a second.
func untilSays(address, text string) chromedp.Action[chromedp.Void] {
	return reopened(address, fmt.Sprintf("says %q", text), says(text))
}

// An operator whose browser runs no scripts does all there is to do.
func TestAnOperatorWithoutScripts(t *testing.T) {
	d := sit(t, 3, nil)
	d.step("add a tenant", scripts(false), chromedp.Navigate(d.at("/change/tenant")),
		chromedp.SendKeys(chromedp.CSS("#name"), "extra"), chromedp.SendKeys(chromedp.CSS("#ORG_URL"), d.microsoft.OrgURL("contoso")),
		replaced(click("form.settings button")), seen("h1 .state"))
	d.step("check it", replaced(click("form.do button")), seen("h1 .state.ready"))
	d.step("add a caller", chromedp.Navigate(d.at("/change/caller")), chromedp.SendKeys(chromedp.CSS("#name"), "webform"), replaced(click("form.settings button")), seen("code.key"))
	d.step("rotate its key", chromedp.Navigate(d.at("/confirm/rotate/caller/webform")), replaced(click("form button")), seen("code.key"))
	d.step("withdraw the former", chromedp.Navigate(d.at("/confirm/withdraw/caller/webform")), replaced(click("form button")), seen("#webform"))
	d.step("find", chromedp.Navigate(d.at("/")), chromedp.SendKeys(chromedp.CSS("#q"), "extr"), replaced(click("form.search button")), shows("1 that match, of 4 tenants"))
	d.step("remove the tenant", chromedp.Navigate(d.at("/confirm/remove/tenant/extra")), replaced(click("form button")), shows("3 tenants"))
	d.step("what was done", chromedp.Navigate(d.at("/events")), shows("tenant extra removed"), shows("alice"))
}

// Over plain HTTP and by a machine's name a browser says less of where a form
// comes from than it does to localhost.
func TestAnOperatorOnAnotherMachineWithoutTLS(t *testing.T) {
	d := sit(t, 1, nil)
	d.Ops = strings.Replace(d.Ops, "localhost", "opsbox", 1)
	d.step("the list", untilSays(d.at("/"), "1 tenant"))
	d.step("check a tenant", chromedp.Navigate(d.at("/tenants/tenant000")), replaced(click("form.do button")), seen("h1 .state.ready"))
	d.step("add a caller", chromedp.Navigate(d.at("/change/caller")), chromedp.SendKeys(chromedp.CSS("#name"), "webform"), replaced(click("form.settings button")), seen("code.key"))
}

// Without a mouse: what is to be done is reached by the tab key and done by
// enter, and what has the focus can be seen.
func TestAnOperatorWithoutAMouse(t *testing.T) {
	d := sit(t, 3, nil)
	focused := chromedp.Evaluate[string](`document.activeElement.href || document.activeElement.id || document.activeElement.textContent`)
	outlined := chromedp.Evaluate[bool](`getComputedStyle(document.activeElement).outlineStyle !== "none"`)
	reach := func(what string) {
		t.Helper()
		for range 80 {
			d.step("tab", chromedp.KeyEvent(kb.Tab))
			at, err := chromedp.Run(d.ctx, focused)
			if err != nil {
				t.Fatal(err)
			}
			if seen, err := chromedp.Run(d.ctx, outlined); err != nil || !seen {
				t.Errorf("the focus on %q cannot be seen (%v)", at, err)
			}
			if strings.Contains(at, what) {
				return
			}
		}
		t.Fatalf("the tab key does not lead to %q", what)
	}
	d.step("the list", untilSays(d.at("/"), "3 tenants"))
	reach("/tenants/tenant000")
	d.step("into the tenant", replaced(chromedp.KeyEvent(kb.Enter)), seen("h1 .state"))
	reach("#check-")
	d.step("to a check", chromedp.KeyEvent(kb.Enter))
	reach("span=week")
	d.step("to the week", replaced(chromedp.KeyEvent(kb.Enter)), seen(`a[href="?span=week"][aria-current]`))
	reach("/confirm/remove/tenant/tenant000")
	d.step("to its end", replaced(chromedp.KeyEvent(kb.Enter)), shows("Remove the tenant tenant000?"))
	reach("Remove it")
	d.step("and over it", replaced(chromedp.KeyEvent(kb.Enter)), untilSays(d.at("/"), "2 tenants"))
}

// A week that was is drawn, and a restart keeps it.
func TestAWeekIsDrawn(t *testing.T) {
	d := sit(t, 0, func(dir string) { play(t, filepath.Join(dir, "state", "process-0")) })
	d.tenant("contoso", d.microsoft.OrgURL("contoso"))
	pictures := newAlbum(t, d.ctx)
	bars := chromedp.Evaluate[int](`document.querySelectorAll(".chart rect").length`)
	var drawn []int
	for range 2 {
		d.step("the week", untilSays(d.at("/"), "1 tenant"), chromedp.Navigate(d.at("/tenants/contoso?span=week")), seen(".chart"))
		n, err := chromedp.Run(d.ctx, bars)
		if err != nil {
			t.Fatal(err)
		}
		drawn = append(drawn, n)
		pictures.shoot("week")
		d.stand.End(d.PID)
		d.start(t)
	}
	if drawn[0] < 150 || drawn[1] < drawn[0]-2 || drawn[1] > drawn[0]+4 {
		t.Errorf("%d bars, and %d after a restart", drawn[0], drawn[1])
	}
}

// play writes a week of calls as a proxy keeps it.
func play(t *testing.T, place string) {
	t.Helper()
	if err := os.MkdirAll(place, 0o700); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	to := json.NewEncoder(&text)
	now := time.Now().Unix()
	for level, span := range [][2]int64{{3600, 60}, {86400, 900}, {7 * 86400, 7200}} {
		for at := (now - span[0]) / span[1] * span[1]; at < now; at += span[1] {
			hour := float64(at%86400) / 3600
			calls := int(float64(span[1]) * (0.2 + max(0, 8-(hour-12)*(hour-12))/4))
			to.Encode(map[string]any{"t": "contoso", "s": level, "at": at, "n": calls, "e": calls / 50, "r": calls / 900,
				"d": [3][2]int{{90, 110}, {0, 150 + int(at/span[1])%40}, {190 + int(at/span[1])%12, 220}}, "u": min(6000, calls*3), "w": calls / 400})
		}
	}
	if err := os.WriteFile(filepath.Join(place, "trend.jsonl"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
