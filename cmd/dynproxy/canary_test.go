package main

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
)

// hiding are the forms in which something that must not be seen may show.
func hiding(text string) []string {
	return []string{
		text, url.QueryEscape(text), url.PathEscape(text), hex.EncodeToString([]byte(text)),
		strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(text)), "="),
		strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(text)), "="),
	}
}

// Through everything that may happen, at the most talkative level, nothing of
// a secret, a key, a token, a cookie, a query or a body is in the log, the
// metrics, the proxy's own answers or a file; and nothing by which a caller
// proves itself reaches an organization.
func TestNothingThatIsSecretShows(t *testing.T) {
	p := startEmulator(t, demoSeed())
	contoso := p.Organization("contoso")
	settings := p.settings("contoso", "fabrikam", "northwind")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := t.TempDir()
	key := addCaller(t, dir, "webform", nil)
	settings[prefix+"CALLERS_DIR"], settings[prefix+"LOG_LEVEL"] = dir, "trace"
	settings[prefix+"OPS_PASSWORD"] = "0ps-canary-word"
	settings[prefix+"TENANT_QUEUE_WAIT"] = "1s"
	settings[prefix+"BODY_IDLE_TIMEOUT"] = "2s"
	r := start(t, settings)

	secrets := map[string]string{
		"the app's secret": demoSecret, "a caller's key": key, "the operators' password": "0ps-canary-word",
		"a wrong key": "wr0ng-canary-key", "a cookie": "c00kie-canary", "a query": "qu3ry canary'&", "a body": "b0dy-canary<>",
		"a caller's password": "passw0rd-canary", "a header": "h34der-canary", "a malformed head": "m4lformed-canary", "a referrer": "r3ferrer-canary",
	}
	var own strings.Builder // what the proxy itself answers
	ask := func(method, path string, change func(*http.Request)) {
		t.Helper()
		body := strings.NewReader(`{"name":"` + secrets["a body"] + `"}`)
		req, err := http.NewRequest(method, r.calls+path+"?$filter=name%20eq%20"+url.QueryEscape(secrets["a query"]), body)
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodGet {
			req.Body, req.ContentLength = nil, 0
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Api-Key", key)
		req.Header.Set("Cookie", "session="+secrets["a cookie"])
		req.Header.Set("Referer", "https://intranet.example/"+secrets["a referrer"])
		req.Header.Set("X-Custom", secrets["a header"])
		if change != nil {
			change(req)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return // torn on purpose
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("Dynproxy-Error") != "" {
			own.Write(text)
			resp.Header.Write(&own)
		}
	}
	round := func() {
		for _, method := range []string{"GET", "POST", "PATCH"} {
			ask(method, "/contoso/api/data/v9.2/accounts", nil)
		}
		ask("POST", "/contoso/XRMServices/2011/Organization.svc/web", nil)
	}
	const marked = "/contoso/api/data/v9.2/p4th-that-may-be-seen"
	ask("GET", marked, nil)
	round()
	for _, fault := range []emulator.Fault{
		{Kind: emulator.Status, Status: 500}, {Kind: emulator.Status, Status: 503}, {Kind: emulator.Status, Status: 401},
		{Kind: emulator.SignInPage}, {Kind: emulator.SignInRedirect}, {Kind: emulator.Firewall},
		{Kind: emulator.Throttle, Code: "0x80072322", RetryAfter: 9 * time.Second},
		{Kind: emulator.ResetBefore}, {Kind: emulator.ResetAfter}, {Kind: emulator.ResetMiddle}, {Kind: emulator.Down},
	} {
		if err := contoso.Inject(fault); err != nil {
			t.Fatal(err)
		}
		round()
		contoso.Heal()
	}
	for _, kind := range []emulator.FaultKind{emulator.HTML, emulator.Truncated, emulator.Down} {
		if err := p.Entra().Inject(emulator.Fault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
		contoso.RevokeTokens()
		round()
		p.Entra().Heal()
	}
	ask("GET", "/fabrikam/api/data/v9.2/WhoAmI", nil)
	ask("GET", "/northwind/api/data/v9.2/WhoAmI", nil)
	ask("GET", "/nosuch/api/data/v9.2/WhoAmI", nil)
	ask("GET", whoAmIPath, func(r *http.Request) { r.Header.Set("X-Api-Key", secrets["a wrong key"]) })
	ask("GET", whoAmIPath, func(r *http.Request) {
		r.Header.Del("X-Api-Key")
		r.SetBasicAuth("webform", secrets["a caller's password"])
	})
	ask("GET", whoAmIPath, func(r *http.Request) {
		r.Header.Del("X-Api-Key")
		r.Header.Set("Authorization", "Negotiate "+base64.StdEncoding.EncodeToString([]byte(secrets["a caller's password"])))
	})
	ask("GET", whoAmIPath, func(r *http.Request) { r.Header.Set("Origin", "https://"+secrets["a referrer"]) })
	for _, raw := range []string{
		"GET " + whoAmIPath + " HTTP/1.1\r\nHost: localhost\r\nX " + secrets["a malformed head"] + "\r\n\r\n",
		secrets["a malformed head"] + "\r\n\r\n",
		postHead + "X-Api-Key: " + key + "\r\nContent-Length: 500\r\n\r\n" + secrets["a body"],
	} {
		own.WriteString(r.raw(raw))
	}
	figures, _ := http.NewRequest("GET", r.ops+"/metrics", nil)
	figures.SetBasicAuth("x", "0ps-canary-word")
	resp, err := http.DefaultClient.Do(figures)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	metrics, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	asOperator := strings.Replace(r.ops, "http://", "http://x:0ps-canary-word@", 1)
	var known strings.Builder // what is remembered of the calls
	_, list := fetch(t, asOperator+"/api/calls?limit=1000")
	known.WriteString(list)
	for _, id := range regexp.MustCompile(`"id": "([^"]+)"`).FindAllStringSubmatch(list, -1) {
		_, detail := fetch(t, asOperator+"/api/calls/"+id[1])
		_, page := fetch(t, asOperator+"/calls/"+id[1])
		known.WriteString(detail + page)
	}
	_, ready := fetch(t, r.ops+"/readyz")
	_, denied := fetch(t, r.ops+"/metrics")

	sent := map[string]bool{}
	for _, request := range contoso.Requests() {
		if token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer "); token != "" && !sent[token] {
			sent[token] = true
			secrets["a token ("+token[len(token)-8:]+")"] = token
		}
		for _, name := range []string{"Cookie", "X-Api-Key"} {
			if request.Header.Get(name) != "" {
				t.Errorf("%s went on to the organization", name)
			}
		}
		for _, values := range request.Header {
			for _, value := range values {
				if strings.Contains(value, key) || strings.Contains(value, secrets["a caller's password"]) {
					t.Error("what a caller proved itself with went on to the organization")
				}
			}
		}
	}
	if len(sent) < 2 {
		t.Fatalf("%d tokens were seen: the test looks for too little", len(sent))
	}
	r.end()
	log := r.log.String()
	if !strings.Contains(log, "p4th-that-may-be-seen") || strings.Count(known.String(), "p4th-that-may-be-seen") < 3 || !strings.Contains(own.String(), "consent_required") {
		t.Fatal("what may be seen is not there: the test looks in the wrong place")
	}
	for name, secret := range secrets {
		for place, text := range map[string]string{"the log": log, "what is remembered of calls": known.String(), "the metrics": string(metrics), "an answer of the proxy's own": own.String(), "/readyz": ready, "the refusal of operators": denied} {
			for _, form := range hiding(secret) {
				if strings.Contains(text, form) {
					t.Errorf("%s is in %s as %q", name, place, form)
				}
			}
		}
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
