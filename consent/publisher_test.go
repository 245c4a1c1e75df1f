package consent

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dynproxy/internal/problem"
)

func TestThePageBeforeEntraSaysWhoAsksAndForWhat(t *testing.T) {
	p := pages(NewKey(nil), problem.ConsentRequired, false)
	bare := asked(p, "GET", "/consent/contoso/about", nil).Body.String()
	for _, want := range []string{"An app asks for access", "has left no name here", "contoso.example", "the-client-id", "no user’s password", "no mailbox", `id="go" href="/consent/contoso"`} {
		if !strings.Contains(bare, want) {
			t.Errorf("no %q in %s", want, bare)
		}
	}
	for _, no := range []string{"<img", "mailto:", "<header", "curl"} {
		if strings.Contains(bare, no) {
			t.Errorf("%q in %s", no, bare)
		}
	}
	p.Publisher = func() Publisher { return Publisher{Name: `Wingtip <Toys> & Co`, Contact: "help@wingtip.example"} }
	named := asked(p, "GET", "/consent/contoso/about", nil).Body.String()
	for _, want := range []string{"Wingtip &lt;Toys&gt; &amp; Co asks for access to your organization", `href="mailto:help@wingtip.example"`} {
		if !strings.Contains(named, want) {
			t.Errorf("no %q in %s", want, named)
		}
	}
	// It asks nothing of Entra ID, and what leads there still does, as ever.
	if n := p.Backend.(*backend).proofs; n != 0 {
		t.Errorf("%d token requests", n)
	}
	for _, begin := range []string{"/consent/contoso", "/consent"} {
		if w := asked(p, "GET", begin, nil); w.Code != http.StatusFound || !strings.HasPrefix(w.Header().Get("Location"), "https://login.example/") {
			t.Errorf("%s: %d %v", begin, w.Code, w.Header())
		}
	}
}

// The page tells strangers as little as the link does.
func TestStrangersLearnNothingOfThePageBefore(t *testing.T) {
	k, other := NewKey([]byte("secret")), NewKey([]byte("another"))
	for _, key := range []string{"", "?key=", "?key=" + other.Link("contoso", 0), "?key=" + k.Link("fabrikam", 0), "?key=" + k.State("contoso", 0), "?lang=de"} {
		p := pages(k, "", true)
		p.Strangers = func() bool { return false }
		known, none := asked(p, "GET", "/consent/contoso/about"+key, nil), asked(p, "GET", "/consent/nobody/about"+key, nil)
		if known.Code != none.Code || known.Body.String() != none.Body.String() || fmt.Sprint(known.Header()) != fmt.Sprint(none.Header()) || known.Code < 400 {
			t.Errorf("%q: %d and %d", key, known.Code, none.Code)
		}
	}
}

// A logo is a picture by its content, of a bounded size.
func TestALogoIsAPicture(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var asPNG, asJPEG bytes.Buffer
	dot := image.NewRGBA(image.Rect(0, 0, 4, 4))
	if png.Encode(&asPNG, dot) != nil || jpeg.Encode(&asJPEG, dot, nil) != nil {
		t.Fatal("no pictures")
	}
	for name, c := range map[string]struct {
		path, want string
		cure       string
	}{
		"png, by another name": {file("a.svg", asPNG.Bytes()), "image/png", ""},
		"jpeg":                 {file("b", asJPEG.Bytes()), "image/jpeg", ""},
		"webp":                 {file("c", []byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00")), "image/webp", ""},
		"svg":                  {file("d.png", []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)), "", "convert the picture"},
		"a page":               {file("e.png", []byte("<html><script>")), "", "convert the picture"},
		"empty":                {file("f", nil), "", "convert the picture"},
		"too large":            {file("g.png", append(asPNG.Bytes(), make([]byte, largestLogo)...)), "", "smaller"},
		"a directory":          {dir, "", "is no file"},
		"none":                 {filepath.Join(dir, "none"), "", "none"},
	} {
		p := pages(NewKey(nil), "", false)
		p.Publisher = func() Publisher { return Publisher{LogoFile: c.path} }
		w := asked(p, "GET", "/consent/files/logo", nil)
		page := asked(p, "GET", "/consent/contoso/about", nil).Body.String()
		_, _, err := ReadLogo(c.path)
		if c.want == "" {
			if w.Code != http.StatusNotFound || strings.Contains(page, "<img") || err == nil || !strings.Contains(err.Error(), c.cure) {
				t.Errorf("%s: %d %v", name, w.Code, err)
			}
			continue
		}
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != c.want || w.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(page, `<img src="/consent/files/logo" alt="Logo"`) {
			t.Errorf("%s: %d %v %v", name, w.Code, w.Header(), err)
		}
	}
}

func TestAContactIsALinkThatIsSafe(t *testing.T) {
	for contact, want := range map[string]string{
		"support@example.com": "mailto:support@example.com", "https://example.com/help?x=1": "https://example.com/help?x=1",
		"http://example.com": "", "javascript:alert(1)": "", "data:text/html,x": "", "Ann <a@example.com>": "", "a@example.com?bcc=b@example.com": "", "": "", "https://": "", "https://ann:pw@example.com/": "", "call us": "",
	} {
		if got, err := ContactLink(contact); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", contact, got, err)
		}
	}
}

// Every outcome has its own words, and an administrator of another organization
// hears that it was another.
func TestEachOutcomeIsToldInPlainWords(t *testing.T) {
	k := NewKey([]byte("secret"))
	for description, want := range map[string]string{
		"AADSTS65004: User declined to consent":      "Somebody said no",
		"AADSTS90094: The grant requires admin":      "may not grant access for the whole organization",
		"AADSTS50020: User account does not exist":   "does not belong to this organization",
		"AADSTS650052: needs access to a service":    "has no Dataverse",
		"AADSTS53003: Access has been blocked":       "A rule of your organization",
		"AADSTS50011: The redirect URI":              "does not accept this app as it is registered",
		"AADSTS9999999: of a kind that is not known": "answered with an error",
	} {
		number, _, _ := strings.Cut(description, ":")
		w := asked(pages(k, problem.ConsentRequired, false), "GET", "/consent/callback?"+url.Values{"error": {"server_error"}, "error_description": {description}, "state": {k.State("contoso", 0)}}.Encode(), nil)
		body := w.Body.String()
		if !strings.Contains(body, want) || !strings.Contains(body, number) || strings.Contains(body, strings.TrimPrefix(description, number)) || !strings.Contains(body, "Try again") {
			t.Errorf("%s: %s", description, body)
		}
	}
	for named, want := range map[string]string{"THE-TENANT-ID": "does not let the app in yet", "another": "another organization than contoso.example", "": "does not let the app in yet"} {
		p := pages(k, problem.ConsentRequired, false)
		w := asked(p, "GET", "/consent/callback?"+url.Values{"admin_consent": {"True"}, "tenant": {named}, "state": {k.State("contoso", 0)}}.Encode(), nil)
		if body := asked(p, "GET", w.Header().Get("Location"), nil).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%q: %s", named, body)
		}
	}
}
