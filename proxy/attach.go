package proxy

import (
	"net/http"
	"time"

	"dynproxy/internal/problem"
)

// attach is the stage that puts the token on a request. It can refuse, which
// is why the token is not put on in outbound.
type attach struct {
	tokens TokenSource
	next   http.RoundTripper
}

func (a *attach) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callFrom(r.Context())
	began := time.Now()
	token, err := a.tokens.Token(r.Context(), c.tenant)
	c.minted += time.Since(began)
	if err != nil {
		return nil, err
	}
	c.token = token
	// A token goes to the organization it was minted for, and nowhere else.
	if r.URL.Scheme != "https" || r.URL.Host != c.tenant.OrgHost() {
		return nil, problem.New(problem.TenantMisconfigured, "The call would have left the organization %s.", c.tenant.OrgHost())
	}
	out := r.Clone(r.Context())
	out.Header["Authorization"] = []string{token}
	if c.body != nil {
		out.Body, out.ContentLength = c.body.open(), c.body.length
	} else {
		out.Body, out.ContentLength = nil, 0
	}
	began = time.Now()
	resp, err := a.next.RoundTrip(out)
	c.sent = time.Since(began)
	c.upstream += c.sent
	return resp, err
}
