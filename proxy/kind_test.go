package proxy_test

import (
	"strings"
	"testing"

	"dynproxy/internal/emulator"
)

// A body is read for links by what it is, in requests and answers, and a file
// is left alone whatever is in it.
func TestBodiesAreReadByWhatTheyAre(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	const link = `{"name":"x","primarycontactid@odata.bind":"http://proxy:8080/contoso/api/data/v9.2/contacts(22222222-2222-2222-2222-222222222222)"}`
	home := strings.ReplaceAll(link, proxyBase, orgBase)
	for _, kind := range []string{
		"", "text/json", "Application/JSON", "application/json ; charset=utf-8", "application/json; charset=utf-8; Charset=UTF-8",
		"application/json;;", "application/vnd.x+json", "\tapplication/json\t",
	} {
		for _, mark := range []string{"", "\xef\xbb\xbf", " \r\n"} {
			headers := []string{"Host: proxy:8080"}
			if kind != "" {
				headers = append(headers, "Content-Type: "+kind)
			}
			c.call("POST", create, mark+link, headers...)
			if got := c.last(); string(got.Body) != mark+home {
				t.Errorf("as %q behind %q reached %q", kind, mark, got.Body)
			}
		}
	}
	for _, headers := range [][]string{
		{"Content-Type: application/octet-stream"}, {"Content-Type: text/plain"}, {"X-Ms-File-Name: a.json"}, {"Content-Type: application/json", "X-Ms-File-Name: a.json"},
	} {
		c.call("PATCH", create, link, append(headers, "Host: proxy:8080")...)
		if got := c.last(); string(got.Body) != link {
			t.Errorf("a file (%s) reached %q", headers, got.Body)
		}
	}
	const column = "/contoso/api/data/v9.2/accounts(1)/new_file"
	for _, x := range [][]string{
		{"PATCH", column + "?x-ms-file-name=%C3%A9.json"}, {"PATCH", column + "?x-ms-file-name=a.json", jsonType},
		{"PUT", column + "/$value"}, {"PUT", column + "/$value", jsonType}, {"PATCH", column, jsonType, "x-ms-transfer-mode: chunked"},
	} {
		c.call(x[0], x[1], link, append(x[2:], "Host: proxy:8080")...)
		if got := c.last(); string(got.Body) != link {
			t.Errorf("a file (%s) reached %q", x, got.Body)
		}
	}
	c.inject(emulator.Fault{Kind: emulator.NoContentType})
	a := c.get("/contoso/api/data/v9.2/accounts?$select=name", "Host: proxy:8080", "Prefer: odata.maxpagesize=2")
	if !strings.Contains(a.body, `"@odata.nextLink":"`+proxyBase+"/api/data") {
		t.Errorf("an answer without a type leads to %s", a.body)
	}
}
