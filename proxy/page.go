package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"

	"dynproxy/internal/odata"
)

// isWebPage reports whether a page stands where an answer of the API should:
// what a program would take for success. A page is known by its type, or by
// its beginning, whatever the type says. Files and what lies outside the APIs
// may be pages.
func isWebPage(resp *http.Response) bool {
	path := strings.ToLower(resp.Request.URL.Opaque)
	if !strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, "/xrmservices/") {
		return false
	}
	typed := slices.ContainsFunc(resp.Header["Content-Type"], isHTML)
	reads := resp.Request.Method == http.MethodGet || resp.Request.Method == http.MethodHead
	switch {
	case resp.StatusCode >= 400:
		return false
	case resp.StatusCode >= 300:
		return typed || leadsElsewhere(resp)
	case odata.IsFile(path, "") && reads, resp.Header.Get("Content-Disposition") != "":
		return false
	}
	return typed || beginsAsPage(resp)
}

// leadsElsewhere reports whether resp sends to another place than the
// organization, or to none that can be read. No organization does that to a
// program; a captive portal does.
func leadsElsewhere(resp *http.Response) bool {
	to, err := url.Parse(resp.Header.Get("Location"))
	return err != nil || to.Host != "" && !strings.EqualFold(to.Host, resp.Request.URL.Host)
}

func isHTML(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind, _, _ = strings.Cut(kind, ",")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "text/html" || kind == "application/xhtml+xml"
}

// beginsPage reports whether a body that begins with text is a page, as
// browsers tell it. sure is false where more of it may say otherwise.
func beginsPage(text []byte) (page, sure bool) {
	if len(text) < len(bom) && bytes.HasPrefix(bom, text) {
		return false, false
	}
	text = bytes.TrimPrefix(text, bom)
	for {
		text = bytes.TrimLeft(text, " \t\r\n\f")
		end := "" // of what may come before a page
		switch {
		case len(text) == 0:
			return false, false
		case text[0] != '<':
			return false, true
		case bytes.HasPrefix(text, []byte("<?")):
			end = "?>"
		case bytes.HasPrefix(text, []byte("<!--")):
			end = "-->"
		default:
			tag := bytes.ToLower(text[1:min(len(text), 1+len(longestTag))])
			page = slices.ContainsFunc(pageTags, func(name string) bool { return bytes.HasPrefix(tag, []byte(name)) })
			return page, page || len(tag) == len(longestTag)
		}
		at := bytes.Index(text, []byte(end))
		if at < 0 {
			return false, false
		}
		text = text[at+len(end):]
	}
}

var bom = []byte("\ufeff")

const longestTag = "!doctype html"

var pageTags = []string{longestTag, "html", "head", "body", "script", "title", "meta"}

// beginsAsPage reads as much of resp's body as tells whether it is a page. The
// body will still be read whole, and as it came.
func beginsAsPage(resp *http.Response) bool {
	if resp.Request.Method == http.MethodHead || resp.ContentLength == 0 || resp.Body == nil || resp.Body == http.NoBody {
		return false
	}
	plain := plainStart(resp.Header.Get("Content-Encoding"))
	if plain == nil {
		return false
	}
	b := &begun{ReadCloser: resp.Body}
	resp.Body = b
	for {
		n, err := b.ReadCloser.Read(b.buf[len(b.left):])
		b.left, b.err = b.buf[:len(b.left)+n], err
		page, sure := beginsPage(plain(b.left))
		if sure || err != nil || len(b.left) == len(b.buf) {
			return page
		}
	}
}

// begun is a body of which the beginning was read already.
type begun struct {
	io.ReadCloser
	buf  [256]byte
	left []byte
	err  error // what comes behind it
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.left) > 0 {
		n := copy(p, b.left)
		b.left = b.left[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.ReadCloser.Read(p)
}

// plainStart returns what makes plain the beginning of a body of that coding,
// nil for one that is not understood.
func plainStart(coding string) func([]byte) []byte {
	switch strings.ToLower(coding) {
	case "", "identity":
		return func(start []byte) []byte { return start }
	case "gzip", "x-gzip":
		return unpackedStart
	}
	return nil
}

// unpackedStart unpacks the beginning of a gzip stream as far as it goes.
func unpackedStart(packed []byte) []byte {
	plain, pooled := readers.Get().(*gzip.Reader)
	if !pooled {
		plain = new(gzip.Reader)
	}
	defer readers.Put(plain)
	if plain.Reset(bytes.NewReader(packed)) != nil {
		return nil
	}
	start := make([]byte, 256)
	n, _ := plain.Read(start) // what is missing behind it is to come
	return start[:n]
}
