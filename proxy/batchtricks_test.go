package proxy_test

import (
	"strings"
	"testing"

	"dynproxy/internal/problem"
)

// What a server finds behind a delimiter that does not begin a line never
// reaches it, and a batch without its end is judged to its last part.
func TestNoPartOfABatchGoesUnjudged(t *testing.T) {
	t.Parallel()
	const part = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	const hidden = part + "DELETE /api/data/v9.2/accounts(1) HTTP/1.1\r\n\r\n\r\n"
	const read = "--b\r\n" + part + "GET accounts?$top=1 HTTP/1.1\r\n\r\n\r\n"
	const post = "--b\r\n" + part + "GET accounts?$top=1 HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
	c := newTestProxy(t, tenant("contoso", "READ_ONLY=true"))
	batch := func(body string, headers ...string) *answer {
		return c.call("POST", "/contoso/api/data/v9.2/$batch", body, append(headers, "Content-Type: multipart/mixed; boundary=b")...)
	}
	before := c.contoso.Received()
	for name, body := range map[string]string{
		"text":              "x--b\r\n" + hidden + "--b--\r\n",
		"a byte order mark": "\xef\xbb\xbf--b\r\n" + hidden + "--b--\r\n",
		"JSON":              post + "{\"name\":\"a\"}--b\r\n" + hidden + "--b--\r\n",
		"a lone CR":         post + "{}\r--b\r\n" + hidden + "--b--\r\n",
		"a change set's":    "--b\r\nContent-Type: multipart/mixed; boundary=cs\r\n\r\nx--cs\r\n" + hidden + "--cs--\r\n--b--\r\n",
		"a long line":       post + strings.Repeat("x", 65526) + "--b\r\n" + hidden + "--b--\r\n",
	} {
		a := batch(body)
		if a.StatusCode != 400 || a.Header.Get("Dynproxy-Error") != string(problem.BadRequest) || !strings.Contains(a.body, "delimiter --") {
			t.Errorf("behind %s: %d %s", name, a.StatusCode, a.body)
		}
	}
	for name, body := range map[string]string{
		"no end": read + "--b\r\n" + hidden, "no end of the head": read + "--b\r\n" + part + "DELETE accounts(1) HTTP/1.1",
	} {
		if a := batch(body); a.Header.Get("Dynproxy-Error") != string(problem.ReadOnly) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	if c.contoso.Received() != before {
		t.Error("a refused batch reached the organization")
	}
	for name, body := range map[string]string{
		"no end": read, "a preamble": "This is a batch.\r\n" + read + "--b--", "an address of 65,500 bytes": strings.Replace(read, "$top=1", "$top=1&$filter=name%20eq%20'"+strings.Repeat("x", 65500)+"'", 1) + "--b--\r\n",
	} {
		if a := batch(body); a.StatusCode != 200 || !strings.Contains(a.body, "HTTP/1.1 200") {
			t.Errorf("%s: %d %.600s", name, a.StatusCode, a.body)
		}
	}
}

// What carries batches out asks neither for the method nor for one spelling of
// the path, so a batch is none the less one.
func TestABatchIsOneHoweverItIsAsked(t *testing.T) {
	t.Parallel()
	readOnly, open := newTestProxy(t, tenant("contoso", "READ_ONLY=true")), newTestProxy(t)
	id := strings.Trim(firstID(t, open), `"`)
	hidden := batchWith("DELETE /api/data/v9.2/accounts(" + id + ") HTTP/1.1\r\nCallerObjectId: 7\r\n\r\n")
	for _, c := range []*testProxy{readOnly, open} {
		before := c.contoso.Received()
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "MERGE", "DELETE", "post", "Post"} {
			for _, override := range []string{"X-Custom: 1", "X-HTTP-Method: POST"} {
				a := c.call(method, "/contoso/api/data/v9.2/$batch", hidden, batchKind, override)
				if a.StatusCode != 400 || a.Header.Get("Dynproxy-Error") != string(problem.BadRequest) {
					t.Errorf("%s, %s: %d %s", method, override, a.StatusCode, a.body)
				}
			}
		}
		for _, end := range []string{"$batch/", "$batch%2F", "$batch%5c", "%24batch%2f/", "$BATCH%20", "$batch.", "$batch%2E", "$batch()", "x%2F$batch"} {
			c.call("POST", "/contoso/api/data/v9.2/"+end, hidden, batchKind).refused(t, problem.Forbidden, 403)
		}
		if n := c.contoso.Received() - before; n != 0 {
			t.Errorf("%d refused batches reached the organization", n)
		}
	}
	if a := open.get("/contoso/api/data/v9.2/accounts(name='$batch')"); a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("a key is taken for a batch: %s", a.body)
	}
}
