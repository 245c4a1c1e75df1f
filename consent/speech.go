package consent

import (
	"embed"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"

	"dynproxy/internal/page"
)

//go:embed pages words
var files embed.FS

// languages are those that the pages speak; words/ holds a file for each. The
// first is for whoever understands none of them.
var languages = []language.Tag{language.English, language.German, language.French, language.Spanish, language.Japanese}

// speech is what the pages say, in all languages.
type speech struct {
	catalog catalog.Catalog
	matcher language.Matcher
	names   []string // of the languages, in themselves
}

func newSpeech() *speech {
	b := catalog.NewBuilder(catalog.Fallback(languages[0]))
	s := &speech{catalog: b, matcher: language.NewMatcher(languages)}
	for _, tag := range languages {
		words := readWords(tag)
		for key, text := range words {
			if err := b.SetString(tag, key, text); err != nil {
				panic(err) // a fault of the file, which is part of the program
			}
		}
		s.names = append(s.names, words["lang.name"])
	}
	return s
}

// readWords returns what the pages say in a language, by keys.
func readWords(tag language.Tag) map[string]string {
	raw, err := files.ReadFile("words/" + tag.String() + ".json")
	var words map[string]string
	if err == nil {
		err = json.Unmarshal(raw, &words)
	}
	if err != nil {
		panic(err) // likewise
	}
	return words
}

const (
	languageCookie = "dynproxy_language"
	languageLife   = 24 * time.Hour
)

// chosen is the language that r chooses by its parameter lang, "" if it
// chooses none that the pages speak.
func chosen(r *http.Request) string {
	lang := r.URL.Query().Get("lang")
	for _, tag := range languages {
		if lang == tag.String() {
			return lang
		}
	}
	return ""
}

// keepLanguage lets a choice hold for the steps that follow, those too to which
// Entra ID sends a browser.
func (p *Pages) keepLanguage(w http.ResponseWriter, r *http.Request) {
	if lang := chosen(r); lang != "" {
		http.SetCookie(w, &http.Cookie{
			Name: languageCookie, Value: lang, Path: "/consent", MaxAge: int(languageLife / time.Second),
			HttpOnly: true, Secure: strings.HasPrefix(p.Base(), "https://"), SameSite: http.SameSiteLaxMode,
		})
	}
}

// language is the language of the answer to r: the one that is chosen, was
// chosen before, or that the browser asks for.
func (s *speech) language(r *http.Request) language.Tag {
	before := ""
	if c, err := r.Cookie(languageCookie); err == nil {
		before = c.Value
	}
	_, at := language.MatchStrings(s.matcher, chosen(r), before, r.Header.Get("Accept-Language"))
	return languages[at]
}

// words are what a plain page says: keys of texts.
type words struct {
	Title, Text string
	Number      string // Entra ID's of an error
	Again       string // link to try once more
}

// view is what a page shows, and the language in which it does.
type view struct {
	Lang      string
	Title     string
	Text      string
	Number    string
	Again     string // link to go on, or to try once more
	Publisher Publisher
	Logo      bool
	Choices   []choice
	Facts     Facts
	Stage     stage
	Watch     bool // whether the page looks again by itself

	names   []string
	printer *message.Printer
}

// choice is a link to the same page in another language.
type choice struct {
	Lang, Name, Link string
	Chosen           bool
}

// T is the text of key in the language of the page.
func (v view) T(key string, args ...any) string { return v.printer.Sprintf(key, args...) }

// Host is the organization's.
func (v view) Host() string { return strings.TrimPrefix(v.Facts.Organization, "https://") }

// short is text as a picture has room for it.
func short(text string) string {
	const most = 36
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func (p *Pages) view(r *http.Request, title string) view {
	tag := p.speech.language(r)
	v := view{Lang: tag.String(), names: p.speech.names, printer: message.NewPrinter(tag, message.Catalog(p.speech.catalog))}
	v.Title = v.T(title)
	if p.Publisher != nil {
		v.Publisher = p.Publisher()
		v.Logo = v.Publisher.hasLogo()
	}
	return v
}

// offer adds the choice of language: links to the same page, with what of its
// query has been looked at.
func (v *view) offer(kept url.Values) {
	for i, tag := range languages {
		q := maps.Clone(kept)
		q.Set("lang", tag.String())
		v.Choices = append(v.Choices, choice{tag.String(), v.names[i], "?" + q.Encode(), v.Lang == tag.String()})
	}
}

func (p *Pages) say(w http.ResponseWriter, r *http.Request, status int, text words) {
	v := p.view(r, text.Title)
	v.Text, v.Number, v.Again = v.T(text.Text), text.Number, text.Again
	p.write(w, status, "words.html", v)
}

func (p *Pages) write(w http.ResponseWriter, status int, name string, v view) {
	w.Header().Set("Content-Language", v.Lang)
	w.Header().Add("Vary", "Accept-Language, Cookie")
	page.Write(w, status, p.pages, name, v)
}
