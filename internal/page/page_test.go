package page

import (
	"html/template"
	"net/http/httptest"
	"strings"
	"testing"
)

// Of a page that fails in the middle nothing is shown, and the status is that
// of a fault.
func TestAPageIsWholeOrAbsent(t *testing.T) {
	pages := template.Must(template.New("good").Parse("<p>{{.}}</p>"))
	template.Must(pages.New("bad").Parse("half of it {{.None}}"))
	w := httptest.NewRecorder()
	Write(w, 418, pages, "good", "a<b")
	if w.Code != 418 || w.Body.String() != "<p>a&lt;b</p>" || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	Write(w, 200, pages, "bad", "x")
	if w.Code != 500 || strings.Contains(w.Body.String(), "half") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
