package main

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

// serveOrganization is an organization and its login service, over TLS, in a
// process of its own, so that its work is not counted. It ends with the
// process that started it.
func serveOrganization(dir string) error {
	server := httptest.NewUnstartedServer(nil)
	base := "https://" + server.Listener.Addr().String()
	pages := map[string][]byte{"large": page(base, 5000, 900), "small": page(base, 60, 900)}
	packed := pack(pages["large"])
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch {
		case name == "token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3599,"access_token":"bench"}`)
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", "Bearer authorization_uri="+base+"/11111111-1111-4111-8111-111111111111/oauth2/authorize, resource_id="+base+"/")
			w.WriteHeader(http.StatusUnauthorized)
		case name == "large-gzip":
			w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed)
		default:
			w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
			w.Write(pages[name])
		}
	})
	server.StartTLS()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(server.Listener.Addr().String()), 0o600); err != nil {
		return err
	}
	select {}
}

// page is a JSON page of rows with one link each, near size bytes a row.
func page(base string, rows, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"@odata.context":"%s/api/data/v9.2/$metadata#accounts","value":[`, base)
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"@odata.etag":"W/\"%d\"","x@odata.nextLink":"%s/api/data/v9.2/accounts(%d)/x","name":"Account %d","description":"%s"}`,
			1000000+i, base, i, i, strings.Repeat("text that a customer wrote. ", size/28))
	}
	b.WriteString("]}")
	return b.Bytes()
}

func pack(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(text)
	w.Close()
	return b.Bytes()
}
