package odata

import (
	"net/http"
	"strings"
)

// linkHeaders are the headers of an answer whose values are links, in canonical form.
var linkHeaders = [...]string{"Location", "Content-Location", "Odata-Entityid", "Link"}

// HeaderToPublic lets the link headers of an answer, at its head or at that of a 1xx answer, lead to the proxy: whole
// addresses of the organization, those without a scheme, and paths, which come back below the proxy's own prefix.
func (r *Rewriter) HeaderToPublic(header http.Header) {
	for _, name := range linkHeaders {
		for i, value := range header[name] {
			header[name][i] = r.valueToPublic(name, value)
		}
	}
}

// valueToPublic gives the value of a link header in the proxy's form.
func (r *Rewriter) valueToPublic(name, value string) string {
	if name != "Link" {
		return r.referenceToPublic(value)
	}
	var b strings.Builder
	for {
		from := strings.IndexByte(value, '<') + 1
		to := strings.IndexByte(value[from:], '>') + from
		if from == 0 || to < from {
			return b.String() + value
		}
		b.WriteString(value[:from])
		b.WriteString(r.referenceToPublic(value[from:to]))
		b.WriteByte('>')
		value = value[to+1:]
	}
}

// referenceToPublic gives a link that may leave out the scheme, or scheme and host, in the proxy's form.
func (r *Rewriter) referenceToPublic(link string) string {
	switch {
	case strings.HasPrefix(link, "//"):
		scheme, _, _ := strings.Cut(r.Org, "//")
		if public := r.linkToPublic(scheme + link); public != scheme+link {
			_, rest, _ := strings.Cut(public, ":")
			return rest
		}
		return link
	case strings.HasPrefix(link, "/"):
		return newBase(r.Public).path + link
	}
	return r.linkToPublic(link)
}
