package egress

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// openEnd is a JSON body whose end only the connection's tells. Many an honest
// server ends that without a word of TLS; but what so leaves open what it has
// opened was torn off.
type openEnd struct {
	io.ReadCloser
	meter       *meter
	first, last byte // that are no blanks
}

// openEnded returns resp's body, which comes through m.
func openEnded(resp *http.Response, m *meter) io.ReadCloser {
	if resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || resp.StatusCode == http.StatusPartialContent {
		return resp.Body
	}
	coding, kind := resp.Header.Get("Content-Encoding"), resp.Header.Get("Content-Type")
	if coding != "" && !foldEqual(coding, "identity") || !strings.HasPrefix(strings.ToLower(kind), "application/json") {
		return resp.Body
	}
	return &openEnd{ReadCloser: resp.Body, meter: m}
}

func (o *openEnd) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if text := bytes.TrimSpace(p[:n]); len(text) > 0 {
		if o.first == 0 {
			o.first = text[0]
		}
		o.last = text[len(text)-1]
	}
	if err == io.EOF && o.meter.ended.Load() && (o.first == '{' || o.first == '[') && o.last != '}' && o.last != ']' {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
