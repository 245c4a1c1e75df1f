package proxy

import (
	"bytes"
	"io"
	"net/http"

	"dynproxy/internal/limits"
	"dynproxy/internal/refusal"
	"dynproxy/internal/retryafter"
)

// isFault reports whether an answer may be a SOAP fault, which is how the
// Organization Service says what the Web API says with 429. Its status depends
// on the version of SOAP and on whom the fault blames; what counts is its code.
func isFault(resp *http.Response) bool {
	return resp.StatusCode >= http.StatusBadRequest && refusal.IsXML(resp.Header.Get("Content-Type"))
}

// mostOfRefusal bounds what of a refusal is looked at.
const mostOfRefusal = 64 << 10

// refusalIn reads why the organization refused a request. It leaves the body
// to be read again. What the body says of a wait, if that can be read,
// outranks the header.
func refusalIn(resp *http.Response) refusal.Refusal {
	decode(resp, true)
	var first bytes.Buffer
	rest := &errorKeeper{Reader: resp.Body}
	said := refusal.Read(resp.Header.Get("Content-Type"), io.TeeReader(io.LimitReader(rest, mostOfRefusal), &first))
	resp.Body = readCloser{io.MultiReader(&first, rest), resp.Body}
	said.Status = resp.StatusCode
	if _, told := retryafter.Parse(said.RetryAfter, retryafter.Clock(resp.Header)); !told {
		said.RetryAfter = resp.Header.Get("Retry-After")
	}
	return said
}

// hint adds the next step to a refusal whose cause is known.
func hint(resp *http.Response, c *call) {
	if resp.StatusCode < http.StatusBadRequest {
		return
	}
	c.said = refusalIn(resp)
	if c.hint = c.said.Hint(); c.hint != "" {
		c.next = c.said.Next(c.tenant.Org, c.clientID)
		resp.Header["Dynproxy-Hint"] = []string{string(c.hint)}
		resp.Header["Dynproxy-Next"] = []string{c.next}
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// feedbackOf reads what an answer says about the budget.
func feedbackOf(resp *http.Response, c *call) limits.Feedback {
	var feedback limits.Feedback
	if resp.StatusCode == http.StatusTooManyRequests || isFault(resp) {
		c.said = refusalIn(resp)
		feedback = limits.ReadRefusal(c.said.Code, c.said.Message, c.said.RetryAfter, retryafter.Clock(resp.Header))
		if resp.StatusCode == http.StatusTooManyRequests && feedback.Refused == limits.None {
			feedback.Refused = limits.Requests // a 429 is a 429, whatever its body
		}
	}
	return feedback.WithHeaders(
		resp.Header.Get("X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests"),
		resp.Header.Get("X-Ms-Ratelimit-Time-Remaining-Xrm-Requests"),
		resp.Header.Get("X-Ms-Dop-Hint"))
}
