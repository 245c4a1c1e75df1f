// Package openapi describes the operators' API for programs. The description is
// kept by hand; a test holds it against the handlers and their answers.
package openapi

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var description []byte

// Handler serves the description.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(description)
	})
}
