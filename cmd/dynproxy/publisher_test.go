package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Who asks is said on the page that the command's link leads to, with the logo;
// and what is wrong about the settings is told with its cure.
func TestThePublisherIsSaidToAdministrators(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	logo := filepath.Join(t.TempDir(), "logo")
	write(t, logo, []byte("\x89PNG\r\n\x1a\n and so on"))
	settings := p.settings("contoso", "fabrikam")
	settings[prefix+"OPS_PASSWORD"], settings[prefix+"OPS_LISTEN"] = "let me in", unused(t)
	settings[prefix+"PUBLISHER_NAME"], settings[prefix+"PUBLISHER_CONTACT"], settings[prefix+"PUBLISHER_LOGO_FILE"] = "Wingtip", "help@wingtip.example", logo
	r := start(t, settings)
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"consent-url", "fabrikam", "--about"}, environOf(settings), &out, &errs); err != nil {
		t.Fatal(err, errs.String())
	}
	resp, page := fetch(t, strings.TrimSpace(out.String()))
	for _, want := range []string{"Wingtip asks for access", "mailto:help@wingtip.example", `src="/consent/files/logo"`, strings.TrimPrefix(p.OrgURL("fabrikam"), "https://"), `id="go" href="/consent/fabrikam?key=`} {
		if resp.StatusCode != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%d, no %q: %s", resp.StatusCode, want, page)
		}
	}
	if resp, picture := fetch(t, r.ops+"/consent/files/logo"); resp.Header.Get("Content-Type") != "image/png" || !strings.HasPrefix(picture, "\x89PNG") {
		t.Errorf("the logo: %d %v", resp.StatusCode, resp.Header)
	}
	for _, path := range []string{"/consent/fabrikam/about", "/consent/nobody/about"} {
		if resp, _ := fetch(t, r.ops+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	for name, wrong := range map[string]string{"PUBLISHER_NAME": strings.Repeat("x", 81), "PUBLISHER_CONTACT": "javascript:alert(1)"} {
		bad := p.settings("contoso")
		bad[prefix+name] = wrong
		if _, err := loadConfig(bad); err == nil || !strings.Contains(err.Error(), prefix+name+" must be") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
