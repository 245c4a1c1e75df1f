package consent

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"dynproxy/internal/check"
	"dynproxy/internal/problem"
)

var placeholder = regexp.MustCompile(`%(\[\d\])?[a-z%]`)

// Every text is there in every language, with the same places for what is put
// into it; and the pages use all that there is, and nothing else.
func TestEveryTextIsInEveryLanguage(t *testing.T) {
	english := readWords(language.English)
	for _, tag := range languages {
		own := readWords(tag)
		for key, text := range own {
			if strings.TrimSpace(text) != text || text == "" || !utf8.ValidString(text) || strings.ContainsAny(text, "\ufffd\"<>") || strings.Contains(text, "Ã") {
				t.Errorf("%s %s: %q", tag, key, text)
			}
			places, want := placeholder.FindAllString(text, -1), placeholder.FindAllString(english[key], -1)
			slices.Sort(places)
			slices.Sort(want)
			if !slices.Equal(places, want) {
				t.Errorf("%s %s has %q, and English %q", tag, key, places, want)
			}
		}
		if keys, want := slices.Sorted(maps.Keys(own)), slices.Sorted(maps.Keys(english)); !slices.Equal(keys, want) {
			t.Errorf("%s has %d texts, and English %d", tag, len(keys), len(want))
		}
	}
	names, err := files.ReadDir("words")
	if err != nil || len(names) != len(languages) {
		t.Errorf("%d files for %d languages: %v", len(names), len(languages), err)
	}
}

// Quotes are those of each language, and Japanese is Japanese: what is said,
// and not a name of Microsoft's, is written in its own letters.
func TestEachLanguageIsWrittenAsItShouldBe(t *testing.T) {
	quotes := map[string]string{"en": "“”’", "de": "„“", "fr": "«»’", "es": "«»", "ja": "「」"}
	for _, tag := range languages {
		for key, text := range readWords(tag) {
			for _, r := range text {
				if strings.ContainsRune("“”„«»「」’'`´", r) && !strings.ContainsRune(quotes[tag.String()], r) {
					t.Errorf("%s %s has %q: %s", tag, key, r, text)
				}
			}
			if tag == language.French && regexp.MustCompile(`«[^\x{a0}]|[^\x{a0}][»:;?!]`).MatchString(text) {
				t.Errorf("%s %s: no space that holds together: %s", tag, key, text)
			}
			if tag == language.Japanese && key != "menu.newuser" && key != "menu.addapp" && !strings.ContainsFunc(text, func(r rune) bool {
				return unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han)
			}) {
				t.Errorf("%s: %q", key, text)
			}
		}
	}
}

func spoken(p *Pages, target, accept, cookie string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Accept-Language", accept)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: languageCookie, Value: cookie})
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// allPages are pages in every state, by name.
func allPages(k Key) map[string]func(accept string) *httptest.ResponseRecorder {
	all := make(map[string]func(string) *httptest.ResponseRecorder)
	add := func(name, target string, b *backend) {
		all[name] = func(accept string) *httptest.ResponseRecorder {
			p := New(Options{Keys: func() []Key { return []Key{k} }, Backend: b, Strangers: func() bool { return false }, Base: func() string { return "" }, Publisher: func() Publisher { return Publisher{Name: "Wingtip", Contact: "help@wingtip.example"} }})
			return spoken(p, target, accept, "")
		}
	}
	status := func(p purpose) string {
		return "/consent/status?of=" + k.sign(signed{purpose: p, tenant: "contoso"}, time.Hour)
	}
	back := func(more url.Values) string {
		more.Set("state", k.State("contoso", 0))
		return "/consent/callback?" + more.Encode()
	}
	refused := &backend{problem: problem.ConsentRequired}
	for _, link := range []string{check.ApplicationUser, check.Role, check.Firewall, check.AppAccess, check.Answer} {
		add("left: "+link, status(forStatus), &backend{broken: link})
	}
	add("done", status(forStatus), &backend{ready: true})
	add("waiting", status(forStatus), refused)
	add("elsewhere", status(forElsewhere), refused)
	add("provider's", status(forStatus), &backend{problem: problem.CredentialRejected})
	add("about", "/consent/contoso/about?key="+k.Link("contoso", 0), refused)
	add("about any", "/consent?about", refused)
	add("ended link", "/consent/contoso?key="+k.Link("contoso", -time.Second), refused)
	add("nowhere", "/consent/contoso", refused)
	add("foreign", "/consent/callback", refused)
	add("unreadable", "/consent/callback?%zz", refused)
	add("ended", "/consent/status", refused)
	add("late", "/consent/callback?state="+k.State("contoso", -time.Second), refused)
	add("stands", back(url.Values{"error": {"access_denied"}}), &backend{})
	add("newcomer", "/consent/callback?state="+k.sign(signed{purpose: forNewcomer, nonce: "n"}, 0), refused)
	for number, text := range numbers {
		add(text, back(url.Values{"error": {"x"}, "error_description": {"AADSTS" + number + ": <b>so</b>"}}), refused)
	}
	add("error", back(url.Values{"error": {"x"}, "error_description": {"AADSTS1234567"}}), refused)
	return all
}

// No page mixes languages: of all that is said in English nothing is left in
// another language, but what is the same in both.
func TestNoPageMixesLanguages(t *testing.T) {
	k := NewKey([]byte("secret"))
	texts := make(map[language.Tag][]string) // what only this language says
	for _, tag := range languages {
		for key, text := range readWords(tag) {
			if key == "lang.name" {
				continue
			}
			for part := range strings.SplitSeq(placeholder.ReplaceAllString(text, "\x00"), "\x00") {
				if part = strings.TrimSpace(part); utf8.RuneCountInString(part) > 12 {
					texts[tag] = append(texts[tag], part)
				}
			}
		}
	}
	for name, page := range allPages(k) {
		for _, tag := range languages {
			w := page(tag.String())
			body := w.Body.String()
			if !strings.Contains(body, `<html lang="`+tag.String()+`">`) || w.Header().Get("Content-Language") != tag.String() {
				t.Errorf("%s in %s: %.200s", name, tag, body)
			}
			if strings.Contains(body, "%!") || strings.Contains(body, "<b>so") {
				t.Errorf("%s in %s: %s", name, tag, body)
			}
			for _, other := range languages {
				for _, text := range texts[other] {
					if other != tag && strings.Contains(body, text) && !slices.ContainsFunc(texts[tag], func(own string) bool { return strings.Contains(own, text) }) {
						t.Errorf("%s in %s says in %s: %s", name, tag, other, text)
					}
				}
			}
			if n := strings.Count(body, "<h1>"); n != 1 || strings.Contains(body, `<h1></h1>`) {
				t.Errorf("%s in %s has %d headings", name, tag, n)
			}
			for _, svg := range regexp.MustCompile(`<svg[^>]*>`).FindAllString(body, -1) {
				if !regexp.MustCompile(`role="img" aria-label="[^"]{20,}"`).MatchString(svg) {
					t.Errorf("%s in %s: a picture without words: %s", name, tag, svg)
				}
			}
		}
	}
}

// Each text is said on some page, so that none is kept for nothing, and none is
// asked for that is not there.
func TestEveryTextIsSaid(t *testing.T) {
	used := make(map[string]bool)
	key := regexp.MustCompile(`"([a-z]+(?:\.[a-z]+)*)"`)
	var sources []string
	for _, name := range []string{"about.html", "status.html", "words.html", "pictures.html"} {
		text, err := files.ReadFile("pages/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(text))
		for _, asked := range regexp.MustCompile(`\.T "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			if readWords(language.English)[asked[1]] == "" {
				t.Errorf("%s asks for %q", name, asked[1])
			}
		}
	}
	for _, text := range sources {
		for _, found := range key.FindAllStringSubmatch(text, -1) {
			used[found[1]] = true
		}
	}
	for _, page := range allPages(NewKey([]byte("secret"))) {
		body := page("en").Body.String()
		for name, text := range readWords(language.English) {
			longest := slices.MaxFunc(placeholder.Split(text, -1), func(a, b string) int { return len(a) - len(b) })
			if strings.Contains(body, longest) {
				used[name] = true
			}
		}
	}
	elsewhere := []string{"about.title.unnamed", "about.who.unnamed", "about.organization.any", "browser.title", "browser.text", "many.title", "many.text", "repeated.title", "repeated.granted", "repeated.open", "repeated.newcomer", "lang.name"}
	for name := range readWords(language.English) {
		if !used[name] && !slices.Contains(elsewhere, name) {
			t.Errorf("%s is said nowhere", name)
		}
	}
}

func TestTheLanguageIsTheBrowsersUntilOneIsChosen(t *testing.T) {
	k := NewKey([]byte("secret"))
	p := pages(k, "", false)
	for _, c := range []struct{ lang, cookie, accept, want string }{
		{"", "", "", "en"}, {"", "", "pt-BR,pl;q=0.5", "en"}, {"", "", "de-AT,en;q=0.5", "de"}, {"", "", "ja-JP", "ja"}, {"", "", "pl,fr-CA;q=0.8,en;q=0.2", "fr"},
		{"", "", "es-419", "es"}, {"", "fr", "de", "fr"}, {"ja", "fr", "de", "ja"}, {"xx", "", "de", "de"}, {"<b>", "<b>", "de", "de"}, {"", "", strings.Repeat("de-", 5000), "en"},
	} {
		w := spoken(p, "/consent/contoso/about?lang="+url.QueryEscape(c.lang), c.accept, c.cookie)
		if !strings.Contains(w.Body.String(), `<html lang="`+c.want+`">`) {
			t.Errorf("%+v: %.60s", c, w.Body)
		}
		cookies := w.Result().Cookies()
		if kept := len(cookies) == 1 && cookies[0].Value == c.lang && cookies[0].HttpOnly; kept != (c.lang == "ja") {
			t.Errorf("%+v: %v", c, cookies)
		}
		if strings.Contains(w.Body.String(), "<b>\"") || strings.Contains(w.Body.String(), "xx") {
			t.Errorf("%+v is shown: %s", c, w.Body)
		}
	}
	// The choice leads to the same page, and goes on with what has been signed.
	p.Strangers = func() bool { return false }
	key := k.Link("contoso", 0)
	body := spoken(p, "/consent/contoso/about?key="+key, "de", "").Body.String()
	for _, want := range []string{`href="?key=` + url.QueryEscape(key) + `&amp;lang=ja" lang="ja"`, `href="/consent/contoso?key=` + url.QueryEscape(key) + `"`, `aria-current="true">Deutsch`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	var words map[string]string
	if raw, err := files.ReadFile("words/ja.json"); err != nil || json.Unmarshal(raw, &words) != nil || words["menu.environments"] != "環境" {
		t.Errorf("%v %q", err, words["menu.environments"])
	}
}
