package portal

import (
	"html/template"
	"net/http"
	"slices"

	"dynproxy/internal/help"
	"dynproxy/internal/page"
)

// Help serves what there is to read about a code, /help/<code>. It says nothing
// of this proxy, so everybody may read it.
func Help() http.Handler {
	pages := template.Must(template.ParseFS(files, "pages/help.html"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry, known := help.Lookup(r.PathValue("code"))
		if !known {
			page.Write(w, http.StatusNotFound, pages, "nohelp", slices.Concat(help.Problems(), help.Hints()))
			return
		}
		page.Write(w, http.StatusOK, pages, "help.html", entry)
	})
}
