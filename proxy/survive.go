package proxy

import (
	"net/http"

	"dynproxy/internal/panics"
	"dynproxy/internal/problem"
)

// survive tells of a panic and answers in its place; an answer that was begun is
// broken off. http.ErrAbortHandler passes, which breaks off on purpose.
func (h *Handler) survive(o *observer, r *http.Request) {
	recovered := recover()
	switch {
	case recovered == nil:
		return
	case recovered == http.ErrAbortHandler:
		panic(recovered)
	}
	panics.Log(h.Log.With().Str("id", o.c.id).Logger(), "call", recovered)
	if o.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h.writeError(o, r, problem.New(problem.Internal, "A fault of the proxy itself; its log says where, under the id of this call. If it was a write, it may have been carried out."))
}
