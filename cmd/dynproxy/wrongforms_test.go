package main

import (
	"html"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"dynproxy/internal/callers"
	"dynproxy/tenants"
)

// A form that cannot be saved comes back with what was typed, and each fault
// beside its field; the file stays as it is.
func TestWrongFormsComeBackAsTheyWereTyped(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	org := p.OrgURL("contoso")
	for kind, first := range map[string]url.Values{"tenant": {"name": {"a"}, "ORG_URL": {org}, "READ_ONLY": {"true"}, "CONCURRENCY": {"7"}}, "caller": {"name": {"a"}, "READ_ONLY": {"true"}}} {
		if status, _, text := d.fill("/change/"+kind, first); status != 303 && status != 200 {
			t.Fatalf("%s: %d %s", kind, status, text)
		}
	}
	files := map[string]string{"tenant": d.dir + "/tenants/a.env", "caller": d.dir + "/callers/a.env"}
	for kind, names := range map[string][]string{"tenant": tenants.SettingNames(), "caller": callers.SettingNames()} {
		before, err := os.ReadFile(files[kind])
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{`x"'><script>&`, "-1", "1e309", "NaN", "x\ny", "\x01", "\xff", strings.Repeat("y", 9<<10), "https://x:99999", "10.0.0.0/33", "31.03.2027", "yes"} {
			form := url.Values{"name": {"a"}, "existing": {"1"}}
			for _, name := range names {
				form.Set(name, value)
			}
			if strings.Contains(strings.Join(names, " "), "CLIENT_SECRET") {
				form.Set("CLIENT_SECRET", value+hiddenWord)
			}
			status, _, page := d.fill("/change/"+kind, form)
			if status != http.StatusUnprocessableEntity || strings.Contains(page, hiddenWord) || strings.Contains(page, "<script>&") {
				t.Errorf("%s of %.20q: %d, or it shows what it must not", kind, value, status)
			}
			for _, name := range []string{"RATE", "BURST", "READ_ONLY"} {
				wrong := strings.Count(page, `id="fault-`+name+`"`)
				if wrong != 1 || !strings.Contains(page, `aria-describedby="fault-`+name+`"`) {
					t.Errorf("%s of %.20q: %d faults beside %s", kind, value, wrong, name)
				}
				if shown := html.EscapeString(strings.TrimSpace(value)); utf8.ValidString(value) && !strings.ContainsAny(value, "\x01\n") && !strings.Contains(html.UnescapeString(page), `name="`+name+`" value="`+html.UnescapeString(shown)) {
					t.Errorf("%s of %.20q: %s is not as it was typed", kind, value, name)
				}
			}
			if after, _ := os.ReadFile(files[kind]); string(after) != string(before) {
				t.Errorf("%s of %.20q: the file is another", kind, value)
			}
		}
	}
}

// What did not come with a form is no wish to take it away.
func TestAFormThatIsNotWholeChangesNothing(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	org := p.OrgURL("contoso")
	d.fill("/change/tenant", url.Values{"name": {"a"}, "ORG_URL": {org}, "READ_ONLY": {"true"}})
	for body, want := range map[string]int{
		"name=a&existing=1&ORG_URL=" + url.QueryEscape(org) + "&READ_ONLY=%zz":         400,
		"name=a&existing=1&ORG_URL=" + url.QueryEscape(org) + "&READ_ONLY=true;RATE=1": 400,
		"name=a&existing=1&ORG_URL=" + url.QueryEscape(org):                            303,
		"name=a&existing=1&" + strings.Repeat("x", 2<<20):                              400,
	} {
		r, err := http.NewRequest("POST", d.ops+"/change/tenant", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("alice", opsWord)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Errorf("%.80s: %v", body, err)
			continue
		}
		resp.Body.Close()
		if text, _ := os.ReadFile(d.dir + "/tenants/a.env"); resp.StatusCode != want && resp.StatusCode/100 != 4 || !strings.Contains(string(text), "READ_ONLY=true") {
			t.Errorf("%.80s: %d, and the file is\n%s", body, resp.StatusCode, text)
		}
	}
}
