package browser

import (
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"dynproxy/internal/emulator"
)

// An operator finds the call that failed, and reads why and what to do.
func TestACallIsExplainedInABrowser(t *testing.T) {
	ctx := browser(t)
	h := open(t)
	pictures := newAlbum(t, ctx)
	contoso := h.microsoft.Organization("contoso")
	for _, c := range []struct {
		tenant string
		want   int
		fault  emulator.Fault
	}{
		{"contoso", http.StatusOK, emulator.Fault{}},
		{"fabrikam", http.StatusBadGateway, emulator.Fault{}},
		{"northwind", http.StatusForbidden, emulator.Fault{}},
		{"contoso", http.StatusOK, emulator.Fault{Kind: emulator.Status, Status: http.StatusServiceUnavailable, Times: 2}},
		{"contoso", http.StatusServiceUnavailable, emulator.Fault{Kind: emulator.Status, Status: http.StatusServiceUnavailable}},
		{"nobody", http.StatusNotFound, emulator.Fault{}},
	} {
		if c.fault.Kind != "" {
			if err := contoso.Inject(c.fault); err != nil {
				t.Fatal(err)
			}
		}
		if status := h.whoAmI(t, c.tenant); status != c.want {
			t.Fatalf("%s answers %d", c.tenant, status)
		}
	}
	step := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			text, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
			t.Fatalf("%s: %v\n%.600s", what, err, text)
		}
	}
	step("the calls", chromedp.Navigate(h.Ops+"/"), replaced(click(`nav a[href="/calls"]`)), shows("tenant_unknown"), shows("/contoso/api/data/v9.2/WhoAmI"))
	pictures.shoot("calls")
	step("one tenant's", chromedp.SetValue(chromedp.CSS("#tenant"), "northwind"), replaced(click("form button")), shows("The last 1 calls"))
	step("one call", replaced(click(`tbody th a`)), shows("Create the application user: pac admin assign-user"), shows("0x80072560"))
	pictures.shoot("call-refused")
	step("what its hint means", replaced(click(`a[href="/help/application_user_missing"]`)), shows("If you run the proxy"), shows("0x80072560"))
	pictures.shoot("help")
	step("what was tried again", chromedp.Navigate(h.Ops+"/calls?tenant=contoso&failed=1"), replaced(click(`tbody th a`)), shows("the organization, attempt 3"), shows("the organization is not available: 503"))
	pictures.shoot("call-retried")
}
