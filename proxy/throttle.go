package proxy

import (
	"bytes"
	"cmp"
	"io"
	"net/http"

	"dynproxy/internal/refusal"
)

// isFault reports whether an answer may be a SOAP fault, which is how the
// Organization Service says what the Web API says with 429.
func isFault(resp *http.Response) bool {
	return resp.StatusCode == http.StatusInternalServerError && refusal.IsXML(resp.Header.Get("Content-Type"))
}

// refusalIn reads why the organization refused a request. It leaves the body
// to be read again. What the body says of a wait outranks the header.
func refusalIn(resp *http.Response) refusal.Refusal {
	said := refusal.Refusal{}
	if decode(resp, true) == nil {
		said = refusal.Read(resp.Header.Get("Content-Type"), peek(resp))
	}
	said.RetryAfter = cmp.Or(said.RetryAfter, resp.Header.Get("Retry-After"))
	return said
}

// hint adds the next step to a refusal whose cause is known.
func hint(resp *http.Response, c *call) {
	if resp.StatusCode < http.StatusBadRequest {
		return
	}
	said := refusalIn(resp)
	if known := refusal.HintFor(said.Code); known != "" {
		resp.Header["Dynproxy-Hint"] = []string{string(known)}
		resp.Header["Dynproxy-Next"] = []string{said.Next(c.tenant.Org, c.clientID)}
	}
}

// peekSize bounds what of a refusal is looked at.
const peekSize = 16 << 10

// peek returns the beginning of resp's body, which still will be read whole.
func peek(resp *http.Response) []byte {
	text := make([]byte, peekSize)
	n, err := io.ReadFull(resp.Body, text)
	text = text[:n]
	rest := io.Reader(resp.Body)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		rest = failed{err}
	}
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(text), rest), resp.Body}
	return text
}

// failed is the end of a body that broke off.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

type readCloser struct {
	io.Reader
	io.Closer
}
