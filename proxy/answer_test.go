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

// A web page with status 200 is success to a program. No method and no
// endpoint lets one through; a page that another token drives away is not seen.
func TestAWebPageIsNoAnswer(t *testing.T) {
	t.Parallel()
	const batch = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET accounts HTTP/1.1\r\n\r\n\r\n--b--\r\n"
	for name, x := range map[string]struct{ method, path, body, kind string }{
		"GET":    {"GET", "/api/data/v9.2/accounts", "", ""},
		"POST":   {"POST", "/api/data/v9.2/accounts", "{}", "application/json"},
		"PATCH":  {"PATCH", "/api/data/v9.2/accounts(1)", "{}", "application/json"},
		"PUT":    {"PUT", "/api/data/v9.2/accounts(1)/name", `{"value":"x"}`, "application/json"},
		"DELETE": {"DELETE", "/api/data/v9.2/accounts(1)", "", ""},
		"search": {"POST", "/api/search/v1.0/query", "{}", "application/json"},
		"batch":  {"POST", "/api/data/v9.2/$batch", batch, "multipart/mixed; boundary=b"},
		"SOAP":   {"POST", "/XRMServices/2011/Organization.svc/web", soapEnvelope("", soapExecute("", "WhoAmI")), "text/xml; charset=utf-8"},
	} {
		for variant, kind := range map[string]string{"text/html": "text/html; charset=utf-8", "odd case": "TEXT/HTML", "xhtml": "application/xhtml+xml", "no type": ""} {
			t.Run(name+", "+variant, func(t *testing.T) {
				seen := 0
				c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) {
					seen++
					io.Copy(io.Discard, r.Body)
					w.Header()["Content-Type"] = nil
					if kind != "" {
						w.Header().Set("Content-Type", kind)
					}
					io.WriteString(w, "\ufeff\r\n<!DOCTYPE html><html><body>Sign in</body></html>")
				}))
				a := c.call(x.method, "/contoso"+x.path, x.body, "Content-Type: "+x.kind)
				if a.StatusCode != 502 && name != "SOAP" || a.Header.Get("Dynproxy-Error") != string(problem.NotAnAnswer) || strings.Contains(a.body, "Sign in<") {
					t.Errorf("%d %s %s", a.StatusCode, a.Header.Get("Dynproxy-Error"), a.body)
				}
				if seen != 2 {
					t.Errorf("sent %d times, not once with each token", seen)
				}
			})
		}
	}
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/portal")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(302)
	}))
	c.call("POST", create, `{"name":"portal"}`, jsonType).refused(t, problem.NotAnAnswer, 502)
	c = newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.SignInPage, Times: 1})
	if a := c.call("POST", create, `{"name":"page"}`, jsonType); a.StatusCode != 204 {
		t.Errorf("a page that another token drives away: %d %s", a.StatusCode, a.body)
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
	for _, path := range []string{"/WebResources/new_page.html", "/api/data/v9.2/accounts(1)/new_file/$value", "/api/data/v9.2/download"} {
		if a := c.get("/contoso" + path); a.StatusCode != 200 || a.body != "<html>mine</html>" {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
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
	c := newTestProxy(t, organization(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPreconditionFailed) }))
	if a := c.call("PATCH", "/contoso/api/data/v9.2/accounts(1)", "{}", jsonType, `If-Match: W/"1"`); a.StatusCode != 412 || a.Header.Get("Dynproxy-Error") != "" {
		t.Errorf("a first try's own 412: %d %s", a.StatusCode, a.body)
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

func TestARootedLocationStaysWithTheTenant(t *testing.T) {
	t.Parallel()
	c := newTestProxy(t)
	c.inject(emulator.Fault{Kind: emulator.RootedLocation})
	a := c.call("POST", create, `{"name":"x"}`, jsonType)
	if got := a.Header.Get("Location"); !strings.Contains(got, "/contoso/api/data/") {
		t.Errorf("Location %q", got)
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
	a := c.get("/contoso/api/data/v9.2/accounts?$top=2", "Range: bytes=0-100000")
	if strings.Contains(a.body, "contoso.crm.dynamics.com/api/data/v9.2/$metadata") || !strings.Contains(a.body, "/contoso/api/data/v9.2/$metadata") {
		t.Errorf("%d %.300s", a.StatusCode, a.body)
	}
}
