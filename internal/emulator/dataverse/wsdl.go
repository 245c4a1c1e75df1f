package dataverse

import (
	_ "embed"
	"io"
	"net/http"
	"strings"
)

// description is the WSDL of the service, in one piece, with LOCATION where its
// address belongs.
//
//go:embed wsdl.xml
var description string

// serveWSDL describes the service, with the address at which the caller reached
// it. Both forms of it are whole.
func serveWSDL(w http.ResponseWriter, r *http.Request) {
	query := strings.ToLower(r.URL.RawQuery)
	if !strings.HasPrefix(query, "wsdl") && !strings.HasPrefix(query, "singlewsdl") {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.Header()["Content-Type"] = []string{"text/xml; charset=UTF-8"}
	location := "https://" + r.Host + soapPath
	if strings.HasSuffix(strings.ToLower(r.URL.Path), "/web") {
		location += "/web"
	}
	// The client may be gone; there is nobody left to tell.
	_, _ = io.WriteString(w, strings.ReplaceAll(description, "LOCATION", escapeXML(location)))
}
