package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dynproxy/internal/problem"
	"dynproxy/internal/retryafter"
)

const maxTries = 3 // of a call that may be sent again because its fate harms nobody

// again is the one stage that decides whether a call is sent a second time. It
// stands outside pace and attach, so that each attempt waits for its own place
// and takes its own token: one can expire while the other is waited for.
type again struct {
	next   http.RoundTripper
	tokens TokenSource
}

func (a *again) RoundTrip(r *http.Request) (*http.Response, error) {
	c := callFrom(r.Context())
	t := tries{call: c, request: r, tokens: a.tokens}
	for {
		c.attempts++
		resp, err := a.next.RoundTrip(r)
		pause, once := t.judge(resp, err)
		if !once {
			return t.answer(resp, err)
		}
		if resp != nil {
			discard(resp.Body)
		}
		if err := sleep(r.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// tries is what is known of the attempts of one call.
type tries struct {
	call    *call
	request *http.Request
	tokens  TokenSource

	renewed bool
	faults  int
}

// judge reports whether the call may be sent once more, and after what pause.
func (t *tries) judge(resp *http.Response, err error) (time.Duration, bool) {
	c := t.call
	switch {
	case !c.body.replayable() || t.request.Context().Err() != nil:
		return 0, false
	case err != nil:
		return t.afterFault(err)
	case refusesToken(resp):
		if t.renewed {
			return 0, false
		}
		t.renewed = true
		return 0, t.tokens.Refused(c.tenant, c.token, claimsOf(resp))
	case c.throttled:
		// Refused before it was executed: any method may go again. The budget has
		// learnt of it, and the next attempt waits there.
		return 0, c.tenant.Limits == "enforce"
	case resp.StatusCode == http.StatusBadGateway, resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusGatewayTimeout:
		return t.afterStatus(resp)
	}
	return 0, false
}

func (t *tries) afterFault(err error) (time.Duration, bool) {
	if _, ours := errors.AsType[*problem.Error](err); ours {
		return 0, false
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return 0, false
	}
	op, _ := errors.AsType[*net.OpError](err)
	neverLeft := op != nil && op.Op == "dial"
	if t.faults++; t.faults >= maxTries || !neverLeft && !(broken(err) && harmless(t.request)) {
		return 0, false
	}
	return t.backOff(), true
}

// broken reports whether err is a connection that broke, in contrast to a name
// or a certificate that will be wrong the next time too.
func broken(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "read" || op.Op == "write") || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (t *tries) afterStatus(resp *http.Response) (time.Duration, bool) {
	if t.faults++; t.faults >= maxTries || !harmless(t.request) {
		return 0, false
	}
	pause := t.backOff()
	told, _ := retryafter.Parse(resp.Header.Get("Retry-After"), time.Now())
	pause = max(pause, told)
	return pause, pause <= t.call.tenant.QueueWait
}

func (t *tries) backOff() time.Duration {
	base := 200 * time.Millisecond << t.faults
	return base/2 + rand.N(base/2)
}

// harmless reports whether sending the request twice is the same as once:
// reads are, and writes that If-Match lets through only once.
func harmless(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPatch, http.MethodPut, http.MethodDelete:
		tag := r.Header.Get("If-Match")
		return tag != "" && tag != "*"
	}
	return false
}

// answer is what the caller gets after the last attempt: a 401 never, since it
// would start a password prompt.
func (t *tries) answer(resp *http.Response, err error) (*http.Response, error) {
	if err != nil || !refusesToken(resp) {
		return resp, err
	}
	discard(resp.Body)
	c := t.call
	if !t.renewed {
		t.tokens.Refused(c.tenant, c.token, claimsOf(resp))
		return nil, problem.New(problem.TokenRefused, "The organization %s refused the token, and the request's body was too large to be kept; a new token is on its way, so send the request again.", c.tenant.OrgHost())
	}
	return nil, problem.New(problem.TokenRefused, "The organization %s refuses a fresh token. Check that ORG_URL and TENANT_ID belong together: dynproxy check %s", c.tenant.OrgHost(), c.tenant.Name)
}

// refusesToken reports whether resp says that the token is no good: 401, or a
// sign-in page in place of an answer.
func refusesToken(resp *http.Response) bool {
	if resp.StatusCode == http.StatusUnauthorized {
		return true
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		to, err := url.Parse(resp.Header.Get("Location"))
		return err == nil && to.Host != "" && (strings.HasPrefix(to.Host, "login.") || strings.Contains(to.Path, "/oauth2/"))
	}
	// Only SOAP gets the page itself, and SOAP never answers HTML.
	return resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") &&
		strings.HasPrefix(strings.ToLower(resp.Request.URL.Opaque), "/xrmservices/")
}

// claimsOf returns the claims challenge in a 401, decoded, or "".
func claimsOf(resp *http.Response) string {
	for _, challenge := range resp.Header["Www-Authenticate"] {
		if !strings.Contains(challenge, "insufficient_claims") {
			continue
		}
		_, rest, _ := strings.Cut(challenge, `claims="`)
		encoded, _, _ := strings.Cut(rest, `"`)
		if claims, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "=")); err == nil {
			return string(claims)
		}
	}
	return ""
}

// discard reads what little may be left, so that the connection can serve
// again, and closes.
func discard(body io.ReadCloser) {
	io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
