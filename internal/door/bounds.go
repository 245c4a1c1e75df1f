package door

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"dynproxy/internal/httpguard"
	"dynproxy/internal/problem"
)

// Bounds are those of what operators and administrators send, who have small
// forms and questions.
type Bounds struct {
	// Known says under which Host names the listener may be reached: a web page
	// anywhere can point its own name here and read the answers. It may return
	// nil, for any.
	Known  func() func(host string) bool
	Body   int64         // bytes
	Within time.Duration // all of a body must be here; what is done with it may take longer
}

// Before lets through to next what is well formed and within b.
func (b Bounds) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wrong := b.judge(r); wrong != nil {
			wrong.Answer(w)
			return
		}
		if r.Body != http.NoBody {
			control := http.NewResponseController(w)
			control.SetReadDeadline(time.Now().Add(b.Within))
			r.Body = &timelyBody{http.MaxBytesReader(w, r.Body, b.Body), control}
		}
		next.ServeHTTP(w, r)
	})
}

func (b Bounds) judge(r *http.Request) *problem.Error {
	if wrong := httpguard.Rejected(r); wrong != nil {
		return &problem.Error{Code: problem.BadRequest, HTTPStatus: wrong.Status, Message: wrong.Message}
	}
	if known := b.Known(); known != nil && !known(httpguard.HostName(httpguard.Authority(r))) {
		return problem.New(problem.BadRequest, "This side of the proxy does not go by the name in the Host header; an operator can add it to DYNPROXY_ALLOWED_HOSTS, or set DYNPROXY_OPS_PUBLIC_URL.")
	}
	if r.ContentLength > b.Body {
		return &problem.Error{
			Code: problem.BadRequest, HTTPStatus: http.StatusRequestEntityTooLarge,
			Message: fmt.Sprintf("The body is larger than the %d bytes that an operator may send.", b.Body),
		}
	}
	return nil
}

// timelyBody ends the deadline of the connection with the body.
type timelyBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timelyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
