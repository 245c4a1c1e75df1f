package proxy

import (
	"net/http/httputil"
	"net/url"

	"dynproxy/internal/odata"
)

// outbound turns the caller's request into the organization's: its address,
// with path and query as they were sent, and without the headers that are not
// for it. ReverseProxy would drop what it cannot parse of the query, and OData
// nests ';' in $expand; so the raw request target is put back, as Opaque, which
// is written as it stands. The header is the caller's own map: nobody else
// needs it any more.
func outbound(pr *httputil.ProxyRequest) {
	c := callFrom(pr.In.Context())
	*pr.Out.URL = url.URL{
		Scheme: "https", Host: c.tenant.OrgHost(), Opaque: c.path,
		RawQuery: c.query, ForceQuery: c.asked,
	}
	pr.Out.Host = c.tenant.OrgHost()
	pr.Out.Header = c.header
	dropListed(pr.Out.Header)
	stripRequest(pr.Out.Header)
	spell(pr.Out.Header)
	if c.person != "" {
		pr.Out.Header["CallerObjectId"] = []string{c.person}
	}
	pr.Out.Header["x-ms-client-request-id"] = []string{c.id}
	delete(pr.Out.Header, requestIDHeader)
	switch {
	case odata.IsFile(c.path, ""):
	case pr.Out.Header.Get("Range") != "":
		// A range of a file column counts in the file's own bytes; a collection,
		// which has none, is answered whole and is rewritten.
		pr.Out.Header["Accept-Encoding"] = []string{"identity"}
	default:
		// Answers that are rewritten must come in a coding that is understood here.
		pr.Out.Header["Accept-Encoding"] = []string{"gzip"}
	}
}
