package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"dynproxy/internal/needs"
)

// album keeps screenshots: each page light and dark, on a screen, on a wall and
// on a telephone. A page that is wider than the screen, or in which axe finds a
// fault, fails the test.
type album struct {
	t      *testing.T
	ctx    context.Context
	folder string
	axe    string // its script
}

func newAlbum(t *testing.T, ctx context.Context) *album {
	folder := os.Getenv("DYNPROXY_TEST_ARTIFACTS")
	if folder == "" {
		folder = t.TempDir()
	} else if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return &album{t, ctx, folder, axe(t)}
}

// axeScript installs axe-core as its registry has it.
var axeScript = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dynproxy-axe-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "axe", name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if _, err := install.CombinedOutput(); err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
})

func axe(t *testing.T) string {
	t.Helper()
	needs.Tool(t, "node")
	script, err := axeScript()
	if err != nil {
		needs.Missing(t, "axe-core cannot be installed: "+err.Error())
	}
	return script
}

// screens are the widths in pixels of what pages are looked at on.
var screens = map[int64]string{1280: "1280", 390: "390", 1920: "1920"}

func (a *album) shoot(page string) {
	a.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for width, name := range screens {
			if width == 1920 && scheme == "light" {
				continue // a wall is dark
			}
			a.dress(page, scheme, width)
			a.fits(page, width)
			if err := os.WriteFile(filepath.Join(a.folder, page+"-"+scheme+"-"+name+".png"), a.picture(page), 0o644); err != nil {
				a.t.Fatal(err)
			}
			if width != 1920 {
				a.accessible(page + ", " + scheme + " at " + name)
			}
		}
	}
	chromedp.Do(a.ctx, chromedp.EmulateViewport(1280, 900))
}

// picture is the whole page. The browser waits for a frame of its compositor,
// which after a change of the screen's size now and then draws none until it is
// asked anew.
func (a *album) picture(page string) []byte {
	a.t.Helper()
	var err error
	for range 3 {
		ctx, cancel := context.WithTimeout(a.ctx, 15*time.Second)
		var png []byte
		png, err = chromedp.Run(ctx, chromedp.FullScreenshot(100))
		cancel()
		if err == nil {
			return png
		}
		a.t.Logf("%s: no picture (%v)", page, err)
	}
	a.t.Fatalf("%s: no picture: %v", page, err)
	return nil
}

func (a *album) dress(page, scheme string, width int64) {
	a.t.Helper()
	err := chromedp.Do(a.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}), chromedp.EmulateViewport(width, 900))
	if err != nil {
		a.t.Fatalf("%s: %v", page, err)
	}
}

func (a *album) fits(page string, width int64) {
	a.t.Helper()
	overflow, err := chromedp.Run(a.ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil {
		a.t.Fatalf("%s: %v", page, err)
	}
	if overflow {
		a.t.Errorf("%s is wider than %d pixels", page, width)
	}
	torn, err := chromedp.Run(a.ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("form.search label")].filter(l => {
	const field = l.control.getBoundingClientRect(), words = document.createRange();
	words.selectNodeContents([...l.childNodes].find(n => n.nodeType === Node.TEXT_NODE && n.data.trim() !== ""));
	const said = words.getBoundingClientRect();
	return said.bottom < field.top || said.top > field.bottom;
}).map(l => l.textContent).join()`))
	if err != nil || torn != "" {
		a.t.Errorf("%s at %d pixels: words stand on another line than their field: %s (%v)", page, width, torn, err)
	}
}

// accessible has axe look at the page. One that is just coming again is waited
// for.
func (a *album) accessible(page string) {
	a.t.Helper()
	// A page that shows what is not known yet comes anew by itself, and of one that
	// is still coming a link may lack its words.
	look := chromedp.Evaluate[string](a.axe+`;
(document.readyState === "complete" ? Promise.resolve() : new Promise(whole => addEventListener("load", whole))).then(() =>
axe.run(document, {resultTypes: ["violations"]})).then(r => r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html).slice(0, 3).join(" ")).join("\n"))`, chromedp.EvalAwaitPromise)
	var found string
	var err error
	for range 5 {
		if found, err = chromedp.Run(a.ctx, look); err == nil {
			break
		}
	}
	if err != nil {
		a.t.Fatalf("%s: axe cannot look: %v", page, err)
	}
	if strings.TrimSpace(found) != "" {
		a.t.Errorf("%s: axe finds\n%s", page, found)
	}
}
