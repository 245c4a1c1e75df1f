package dataverse_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"dynproxy/internal/emulator/dataverse"
)

// Whatever is asked, the answer is one that Dataverse could give: never a
// panic, never an internal error, and JSON that parses.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, query, body string }{
		{"GET", "accounts", "$select=name&$filter=name eq 'a' and not (revenue gt 5 or startswith(name,'b'))&$orderby=name desc,primarycontactid/fullname&$top=3", ""},
		{"GET", "accounts(accountnumber='A%2F1')", "$expand=contact_customer_accounts($select=fullname;$filter=firstname eq 'x';$top=1),primarycontactid/$ref", ""},
		{"GET", "accounts(accountnumber=@k)/primarycontactid/fullname/$value", "@k='A/1'", ""},
		{"GET", "accounts", "fetchXml=<fetch count='2' page='2'><entity name='account'><all-attributes/><filter type='or'><condition attribute='name' operator='in'><value>x</value></condition></filter><link-entity name='contact' from='contactid' to='primarycontactid' link-type='outer'/></entity></fetch>", ""},
		{"GET", "accounts", "$skiptoken=<cookie pagenumber=\"2\" pagingcookie=\"%3ccookie%20page%3d%221%22%3e\" istracking=\"False\" />", ""},
		{"GET", "accounts", "$deltatoken=1000001!01/05/2026 08:00:01", ""},
		{"POST", "accounts", "", `{"name":"a","revenue":1e3,"primarycontactid@odata.bind":"/contacts(1)","Account_Tasks":[{"subject":"s"}],"contact_customer_accounts@odata.bind":["$1"]}`},
		{"PATCH", "roles(name='Delegate',_businessunitid_value=00000000-0000-4000-8000-000000000000)", "", `{"name":null}`},
		{"PUT", "accounts(accountnumber='A/1')/primarycontactid/$ref", "", `{"@odata.id":"https://contoso.crm.dynamics.com/api/data/v9.2/contacts(1)"}`},
		{"DELETE", "accounts(accountnumber='A/1')/Account_Tasks/$ref", "$id=tasks(1)", ""},
		{"POST", "$batch", "", "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\nContent-ID: 1\n\nPOST accounts HTTP/1.1\nContent-Length: 2\n\n{}\n--c\nContent-Type: application/http\n\nPATCH $1 HTTP/1.1\n\n{}\n--c--\n--b\nContent-Type: application/http\n\nGET accounts?$top=1 HTTP/1.1\n\n--b--"},
		{"POST", "$batch", "", "words--b\rContent-Type: multipart/mixed; boundary=c\r\rx--c\rContent-Type: application/http\r\rPOST accounts HTTP/1.1\r\r{}--c\rContent-Type: application/http\r\rDELETE accounts HTTP/1.1\r\r--b --"},
		{"GET", "RetrieveTotalRecordCount(EntityNames=['account'])", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.body)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		for _, c := range []byte(method) {
			if c < 'A' || c > 'Z' {
				return
			}
		}
		org := dataverse.New("contoso", organizationID, tenantID)
		who := dataverse.Caller{UserID: org.AddApplicationUser(applicationID)}
		r := &http.Request{Method: method, Host: orgHost, Body: http.NoBody, Header: http.Header{"Content-Type": {"multipart/mixed; boundary=b"}, "Prefer": {"odata.maxpagesize=3"}}}
		r.URL = &url.URL{Path: "/api/data/v9.2/" + path, RawQuery: query}
		if plain, err := url.PathUnescape(r.URL.Path); err == nil {
			r.URL.Path, r.URL.RawPath = plain, r.URL.Path
		}
		r.Body = httptest.NewRequest("POST", "/", strings.NewReader(body)).Body
		w := httptest.NewRecorder()
		org.Serve(w, r, who)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%s %s?%s: %s", method, path, query, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Code != http.StatusNotModified && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s?%s: not JSON: %s", method, path, query, w.Body)
		}
	})
}
