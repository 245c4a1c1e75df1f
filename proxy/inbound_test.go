package proxy

import (
	"net/http"
	"testing"
)

// What WCF gives in pieces leads from the description to its schemas, and from
// one schema to the next.
func TestSchemasOfADescriptionLeadToTheProxy(t *testing.T) {
	for query, want := range map[string]bool{"wsdl=wsdl0": true, "xsd=xsd0": true, "XSD=xsd2": true, "$filter=xsd": false, "": false} {
		if got := rewriterOf(&call{query: query}, http.Header{"Content-Type": {"text/xml; charset=utf-8"}}, []byte("<xs:schema")) != nil; got != want {
			t.Errorf("%q: mapped %t", query, got)
		}
	}
}
