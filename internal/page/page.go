// Package page writes pages for people.
package page

import (
	"bytes"
	"html/template"
	"net/http"
)

// Write answers with the page called name, whole or not at all.
func Write(w http.ResponseWriter, status int, pages *template.Template, name string, data any) {
	var text bytes.Buffer
	if err := pages.ExecuteTemplate(&text, name, data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(text.Bytes()) // a reader who has left needs no error
}
