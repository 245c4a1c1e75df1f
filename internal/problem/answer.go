package problem

import (
	"encoding/json"
	"net/http"
)

// Answer answers an operator or an administrator with e. Callers get theirs in
// the shapes of Dataverse instead.
func (e *Error) Answer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Dynproxy-Error", string(e.Code))
	w.WriteHeader(e.Status())
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": string(e.Code), "message": e.Message}})
}
