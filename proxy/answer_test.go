package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"dynproxy/internal/egress"
	"dynproxy/internal/emulator"
	"dynproxy/internal/needs"
	"dynproxy/internal/problem"
	"dynproxy/proxy"
)

// page is a web page in one of its disguises.
type page struct {
	types  []string
	coding string
	begins string
	bytes  int // that come one by one
}

func (p page) write(w http.ResponseWriter) {
	const rest = "<html><head><title>Sign in</title></head><body>Sign in</body></html>"
	w.Header()["Content-Type"] = p.types
	text := []byte(p.begins + rest)
	if p.coding != "" {
		w.Header().Set("Content-Encoding", p.coding)
	}
	if p.coding == "gzip" {
		text = packed(string(text))
	}
	for range p.bytes {
		w.Write(text[:1])
		w.(http.Flusher).Flush()
		text = text[1:]
	}
	w.Write(text)
}

var pages = map[string]page{
	"text/html":             {types: []string{"text/html; charset=utf-8"}},
	"odd case":              {types: []string{"TEXT/HTML"}, begins: "Please "},
	"xhtml":                 {types: []string{"application/xhtml+xml"}, begins: "Please "},
	"packed":                {types: []string{"text/html"}, coding: "gzip"},
	"two types":             {types: []string{"application/json", "text/html"}},
	"two types on a line":   {types: []string{"text/html, application/json"}},
	"no type":               {begins: "\ufeff\r\n<!DOCTYPE html>"},
	"no type, packed":       {begins: "<!DOCTYPE html>", coding: "gzip"},
	"no type, no coding":    {coding: "identity"},
	"no type, byte by byte": {begins: "\ufeff <!-- saved --><!doctype HTML>", bytes: 50},
	"packed, byte by byte":  {coding: "gzip", bytes: 30},
	"as XML":                {begins: `<?xml version="1.0"?><!DOCTYPE html PUBLIC "x">`},
	"a script alone":        {begins: "<script>location='https://login.example'</script>"},
	"called JSON":           {types: []string{"application/json; odata.metadata=minimal"}, begins: "<!DOCTYPE html>"},
	"called JSON, packed":   {types: []string{"application/json"}, coding: "gzip"},
	"called XML":            {types: []string{"text/xml; charset=utf-8"}},
	"called text":           {types: []string{"text/plain"}},
	"called a batch":        {types: []string{"multipart/mixed; boundary=batchresponse_1"}},
}

// A web page with status 200 is success to a program. No method and no
// endpoint lets one through; a page that another token drives away is not seen.
func TestAWebPageIsNoAnswer(t *testing.T) {
	t.Parallel()
	const batch = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET accounts HTTP/1.1\r\n\r\n\r\n--b--\r\n"
	calls := map[string]struct{ method, path, body, kind string }{
		"GET":    {"GET", "/api/data/v9.2/accounts", "", ""},
		"POST":   {"POST", "/api/data/v9.2/accounts", "{}", "application/json"},
		"PATCH":  {"PATCH", "/api/data/v9.2/accounts(1)", "{}", "application/json"},
		"PUT":    {"PUT", "/api/data/v9.2/accounts(1)/name", `{"value":"x"}`, "application/json"},
		"DELETE": {"DELETE", "/api/data/v9.2/accounts(1)", "", ""},
		"search": {"POST", "/api/search/v1.0/query", "{}", "application/json"},
		"batch":  {"POST", "/api/data/v9.2/$batch", batch, "multipart/mixed; boundary=b"},
		"SOAP":   {"POST", "/XRMServices/2011/Organization.svc/web", soapEnvelope("", soapExecute("", "WhoAmI")), "text/xml; charset=utf-8"},
	}
	for variant, page := range pages {
		seen := 0
		c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
			seen++
			io.Copy(io.Discard, r.Body)
			page.write(w)
		}))
		for name, x := range calls {
			seen = 0
			a := c.call(x.method, "/contoso"+x.path, x.body, "Content-Type: "+x.kind)
			if a.StatusCode != 502 && name != "SOAP" || a.Header.Get("Dynproxy-Error") != string(problem.NotAnAnswer) || strings.Contains(a.body, "Sign in<") {
				t.Errorf("%s, %s: %d %s %s", name, variant, a.StatusCode, a.Header.Get("Dynproxy-Error"), a.body)
			}
			if seen != 2 {
				t.Errorf("%s, %s: sent %d times, not once with each token", name, variant, seen)
			}
		}
	}
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.SignInPage, Times: 1})
	if a := c.call("POST", create, `{"name":"page"}`, jsonType); a.StatusCode != 204 {
		t.Errorf("a page that another token drives away: %d %s", a.StatusCode, a.body)
	}
}

// An organization sends no program elsewhere: a captive portal does, whatever
// was asked for.
func TestAWayElsewhereIsNoAnswer(t *testing.T) {
	t.Parallel()
	var to, kind string
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{kind}
		w.Header().Set("Location", to)
		w.WriteHeader(302)
	}))
	for _, x := range []struct{ to, kind string }{
		{"http://portal.example/", ""}, {"//portal.example/", ""}, {"http://por tal.example/%zz", ""}, {"/portal", "text/html"},
	} {
		to, kind = x.to, x.kind
		c.call("POST", create, `{"name":"portal"}`, jsonType).refused(t, problem.NotAnAnswer, 502)
		c.get("/contoso/api/data/v9.2/accounts(1)/new_file/$value").refused(t, problem.NotAnAnswer, 502)
	}
	to, kind = "/api/data/v9.2/accounts(1)", ""
	if a := c.get("/contoso/api/data/v9.2/accounts"); a.StatusCode != 302 || a.Header.Get("Location") != "/contoso"+to {
		t.Errorf("within the organization: %d %v", a.StatusCode, a.Header)
	}
}

// Files may be pages.
func TestAPageThatWasAskedForPasses(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, tenant("contoso", "PATHS=/"), organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if strings.Contains(r.URL.Path, "download") {
			w.Header().Set("Content-Disposition", "attachment; filename=a.html")
		}
		io.WriteString(w, "<html>mine</html>")
	}))
	for _, path := range []string{"/WebResources/new_page.html", "/api/data/v9.2/accounts(1)/new_file/$value", "/api/data/v9.2/accounts(1)/new_file/%24value", "/api/data/v9.2/download"} {
		if a := c.get("/contoso" + path); a.StatusCode != 200 || a.body != "<html>mine</html>" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	c.call("PUT", "/contoso/api/data/v9.2/accounts(1)/new_file/$value", "mine", "Content-Type: text/plain").refused(t, problem.NotAnAnswer, 502)
}

// A write that its condition lets through once is sent again when its answer
// was lost. What the second try then finds is the first one's doing.
func TestTheSecondTrysRefusalIsNotTheCallers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusPreconditionFailed, http.StatusNotFound} {
		for _, method := range []string{"PATCH", "PUT", "DELETE"} {
			t.Run(fmt.Sprint(method, status), func(t *testing.T) {
				seen := 0
				c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					if seen++; seen == 1 {
						panic(http.ErrAbortHandler) // carried out; the answer is lost
					}
					w.WriteHeader(status)
				}))
				a := c.call(method, "/contoso/api/data/v9.2/accounts(1)", "{}", jsonType, `If-Match: W/"1"`)
				a.refused(t, problem.UpstreamUnreachable, 502)
				if !strings.Contains(a.body, "may have been carried out") || seen != 2 {
					t.Errorf("%d tries: %s", seen, a.body)
				}
			})
		}
	}
	lost := false
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		if lost = !lost; lost {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	if a := c.get("/contoso/api/data/v9.2/accounts(1)"); a.StatusCode != 404 || a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("a second look's own 404: %d %s", a.StatusCode, a.body)
	}
	c = newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPreconditionFailed) }))
	if a := c.call("PATCH", "/contoso/api/data/v9.2/accounts(1)", "{}", jsonType, `If-Match: W/"1"`); a.StatusCode != 412 || a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("a first try's own 412: %d %s", a.StatusCode, a.body)
	}
}

// Nor does any other end of the second try hide what became of the first: a
// refusal that says that nothing was done would have it sent a third time.
func TestNoLaterRefusalHidesALostAnswer(t *testing.T) {
	t.Parallel()
	tooMany := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "77")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	for name, x := range map[string]struct {
		settings string
		second   func(w http.ResponseWriter, s *tokens)
	}{
		"401":         {"", func(w http.ResponseWriter, _ *tokens) { w.WriteHeader(http.StatusUnauthorized) }},
		"a page":      {"", func(w http.ResponseWriter, _ *tokens) { pages["text/html"].write(w) }},
		"429, waited": {"QUEUE_WAIT=1s", func(w http.ResponseWriter, _ *tokens) { tooMany(w) }},
		"429, passed": {"LIMITS=report", func(w http.ResponseWriter, _ *tokens) { tooMany(w) }},
		"no token": {"", func(w http.ResponseWriter, s *tokens) {
			s.mu.Lock()
			s.fail = problem.New(problem.TokenUnavailable, "no token")
			s.mu.Unlock()
			w.WriteHeader(http.StatusUnauthorized)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := 0
			var c *testProxy
			c = newTestProxy(t, tenant("contoso", x.settings), organization(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if seen++; seen == 1 {
					panic(http.ErrAbortHandler)
				}
				x.second(w, c.tokens)
			}))
			a := c.call("PATCH", "/contoso/api/data/v9.2/accounts(1)", "{}", jsonType, `If-Match: W/"1"`)
			a.refused(t, problem.UpstreamUnreachable, 502)
			if !strings.Contains(a.body, "may have been carried out") || a.Header.Get("Retry-After") != "" || seen < 2 {
				t.Errorf("%d tries: %v %s", seen, a.Header, a.body)
			}
		})
	}
}

// A refusal after sending says whether the write may have been carried out.
func TestA502SaysWhetherItMayHaveBeenCarriedOut(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	if a := c.call("POST", create, "{}", jsonType); !strings.Contains(a.body, "may have been carried out") {
		t.Errorf("%s", a.body)
	}
	if a := c.get("/contoso/api/data/v9.2/accounts"); !strings.Contains(a.body, "changes nothing") {
		t.Errorf("%s", a.body)
	}
	c = newTestProxy(t, func(_ map[string]string, p *proxy.Parts) {
		p.Wire = egress.New(egress.Config{ByTransport: needs.ByTransport(), Patience: egress.Patience{AnswerWithin: 10 * time.Second}, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}})
	})
	a := c.call("POST", create, "{}", jsonType)
	if !strings.Contains(a.body, "Nothing of the request was sent") {
		t.Errorf("%s", a.body)
	}
}

func TestInterimAnswersAreTheProxysToo(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.Informational})
	got := c.raw("GET /contoso/api/data/v9.2/WhoAmI HTTP/1.1\r\nHost: proxy:8080\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 103") {
		t.Fatalf("no interim answer: %.300s", got)
	}
	for _, gone := range []string{"Set-Cookie", "WWW-Authenticate", "Www-Authenticate", "contoso.crm.dynamics.com"} {
		if strings.Contains(got, gone) {
			t.Errorf("%s is in\n%s", gone, got)
		}
	}
	if !strings.Contains(got, "<http://proxy:8080/contoso/") {
		t.Errorf("the link leads nowhere:\n%s", got)
	}
}

// By what its own proof is answered with a caller knows that it talks to the
// proxy: it stands in whatever is the answer, a refusal too, and in no interim
// one.
func TestAProofIsAnsweredInEveryAnswer(t *testing.T) {
	t.Parallel()
	const proof = "WWW-Authenticate: Negotiate oRQ="
	c := newTestProxy(t, onlyCaller(t, "PRINCIPALS=ann@CORP.EXAMPLE"), func(_ map[string]string, p *proxy.Parts) {
		p.Callers.Negotiate = func(string) (string, string, error) { return "ann@CORP.EXAMPLE", "Negotiate oRQ=", nil }
	})
	for path, status := range map[string]string{"api/data/v9.2/WhoAmI": "200", "api/data/v9.2/nothing": "404", "main.aspx": "403"} {
		for _, interim := range []bool{false, true} {
			if c.contoso.Heal(); interim {
				c.inject(emulator.Fault{Kind: emulator.Informational})
			}
			got := c.raw("GET /contoso/" + path + " HTTP/1.1\r\nHost: proxy:8080\r\nConnection: close\r\nAuthorization: Negotiate YII=\r\n\r\n")
			_, last, _ := strings.Cut(got, "HTTP/1.1 "+status)
			if strings.Count(got, proof) != 1 || strings.Count(last, proof) != 1 {
				t.Errorf("%s, an interim answer %v:\n%s", path, interim, got)
			}
		}
	}
}

// HTTP/1.0 has no interim answers: its clients would take one for the answer.
func TestHTTP10GetsNoInterimAnswer(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.Informational})
	if got := c.raw("GET /contoso/api/data/v9.2/WhoAmI HTTP/1.0\r\nHost: proxy:8080\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 200") {
		t.Errorf("%.300s", got)
	}
}

// What may not stand in the header of an answer may not stand in an interim
// one, nor behind its end; links there are the proxy's.
func TestEveryHeaderOfAnAnswerIsTheProxys(t *testing.T) {
	t.Parallel()
	const record = "https://contoso.crm.dynamics.com/api/data/v9.2/accounts(1)"
	for _, announced := range []bool{true, false} {
		c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h["Content-Type"] = []string{"application/json"}
			h.Set("OData-EntityId", record)
			w.WriteHeader(http.StatusEarlyHints)
			h.Del("OData-EntityId")
			behind := http.TrailerPrefix
			if announced {
				h.Set("Trailer", "Set-Cookie, Location, OData-Error")
				behind = ""
			}
			io.WriteString(w, "{}")
			w.(http.Flusher).Flush()
			h.Set(behind+"Set-Cookie", "ARRAffinity=1")
			h.Set(behind+"Location", record)
			h.Set(behind+"OData-Error", "late")
		}))
		got := c.raw("GET /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: proxy:8080\r\nConnection: close\r\n\r\n")
		if strings.Contains(got, "Cookie") || strings.Contains(got, "contoso.crm") {
			t.Errorf("%s", got)
		}
		for _, kept := range []string{"OData-EntityId: http://proxy:8080/contoso/api/data/v9.2/accounts(1)\r\n", "Location: http://proxy:8080/contoso/", "Odata-Error: late"} {
			if !strings.Contains(got, kept) {
				t.Errorf("no %q in\n%s", kept, got)
			}
		}
	}
}

// A server that cuts a collection into parts all the same gives no link away.
func TestAPartOfACollectionHasTheProxysLinks(t *testing.T) {
	t.Parallel()
	const all = `{"@odata.context":"https://contoso.crm.dynamics.com/api/data/v9.2/$metadata#accounts","value":[{"name":"a"}]}`
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(all))
	}))
	for _, cut := range []struct{ from, to int }{{0, len(all) - 1}, {0, 90}, {60, len(all) - 1}} {
		a := c.get("/contoso/api/data/v9.2/accounts", fmt.Sprintf("Range: bytes=%d-%d", cut.from, cut.to))
		want := strings.Replace(all[cut.from:cut.to+1], "https://contoso.crm.dynamics.com", c.server.URL+"/contoso", 1)
		if a.StatusCode != 206 || a.body != want {
			t.Errorf("%v: %d %s\nwant %s", cut, a.StatusCode, a.body, want)
		}
	}
}

// An answer that leaves HTTP ends the call at once.
func TestAnUnaskedSwitchOfProtocolIsNoAnswer(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			io.Copy(io.Discard, conn) // stays until the proxy leaves
		}
	}))
	a := c.call("POST", create, "{}", jsonType)
	if a.StatusCode != 502 || a.Header.Get("Dynproxy-Error") != string(problem.UpstreamUnreachable) || !strings.Contains(a.body, "another protocol") || !strings.Contains(a.body, "may have been carried out") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A collection has no ranges, and its links are the proxy's all the same.
func TestARangeSwitchesNoRewritingOff(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	a := c.get("/contoso/api/data/v9.2/accounts?$select=name", "Host: proxy:8080", "Range: bytes=0-99", "Prefer: odata.maxpagesize=2")
	if !strings.Contains(a.body, `"@odata.nextLink":"http://proxy:8080/contoso/api/`) || strings.Contains(a.body, "crm.dynamics.com") {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
	// A range counts in a file's own bytes, and not in those that it is packed into.
	if got := c.last().Header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("asked for in %q", got)
	}
}

// The name of no coding is none.
func TestNoCodingKeepsLinksFromBeingRead(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "identity")
		io.WriteString(w, `{"@odata.context":"https://contoso.crm.dynamics.com/api/data/v9.2/$metadata#accounts"}`)
	}))
	if a := c.get("/contoso/api/data/v9.2/accounts"); a.body != `{"@odata.context":"`+c.server.URL+`/contoso/api/data/v9.2/$metadata#accounts"}` {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}

// What has not changed has its type all the same.
func TestA304HasTheOrganizationsType(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 304 Not Modified\r\nContent-Type: application/json\r\nETag: W/\"1\"\r\n\r\n")
		}
	}))
	a := c.get("/contoso/api/data/v9.2/accounts(1)", `If-None-Match: W/"1"`)
	if a.StatusCode != 304 || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("ETag") != `W/"1"` || a.body != "" {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}
