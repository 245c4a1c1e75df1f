package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator"
	"dynproxy/proxy"
)

// explained asks what would become of q.
func (r *running) explained(t *testing.T, q question) proxy.Explanation {
	t.Helper()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(r.ops+"/api/explain", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var x proxy.Explanation
	if err := json.NewDecoder(resp.Body).Decode(&x); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%+v: %d %v", q, resp.StatusCode, err)
	}
	return x
}

// made makes the call that q asks about.
func (r *running) made(t *testing.T, q question) (status int, code, message string) {
	t.Helper()
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\n", q.Method, q.Target)
	for name, values := range q.Headers {
		for _, value := range values {
			fmt.Fprintf(&head, "%s: %s\r\n", name, value)
		}
	}
	body := ""
	if q.Body != nil {
		body = *q.Body
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	got := r.raw(head.String() + "\r\n" + body)
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), &http.Request{Method: q.Method})
	if err != nil {
		t.Fatalf("%+v: %v in %.200q", q, err, got)
	}
	text, _ := io.ReadAll(resp.Body)
	var told struct{ Error struct{ Message string } }
	json.Unmarshal(text, &told)
	return resp.StatusCode, resp.Header.Get("Dynproxy-Error"), told.Error.Message
}

// house is a proxy with policies of every kind, and who may call.
func startExplained(t *testing.T) (p *localEmulator, r *running, keys []string) {
	t.Helper()
	p = startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam", "northwind")
	delete(settings, prefix+"TENANTS")
	tenants, dir := t.TempDir(), t.TempDir()
	for name, more := range map[string]string{
		"contoso":   "\nIMPERSONATION=false",
		"fabrikam":  "\nHOSTS=fabrikam.lan",
		"northwind": "\nREAD_ONLY=true\nPATHS=/api/data/v9.2/,/XRMServices/2011/Organization.svc",
	} {
		if err := os.WriteFile(filepath.Join(tenants, name+".env"), []byte("ORG_URL="+p.OrgURL(name)+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings[prefix+"TENANTS_DIR"], settings[prefix+"CALLERS_DIR"], settings[prefix+"TENANT_QUEUE_WAIT"] = tenants, dir, "1s"
	for _, c := range []struct {
		name string
		set  map[string]string
	}{
		{"anyone", nil},
		{"reader", map[string]string{"READ_ONLY": "true"}},
		{"webform", map[string]string{"TENANTS": "contoso", "METHODS": "GET,POST"}},
		{"boss", map[string]string{"IMPERSONATION": "true"}},
		{"person", map[string]string{"CALLER_OBJECT_ID": "5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"}},
		{"slow", map[string]string{"RATE": "0.0001", "BURST": "3"}},
		{"elsewhere", map[string]string{"CIDRS": "192.0.2.0/24"}},
	} {
		key := addCaller(t, dir, c.name, c.set)
		keys = append(keys, key)
	}
	return p, start(t, settings), keys
}

// aQuestion makes up a call of the parts that policies look at.
func aQuestion(keys []string) question {
	pick := func(of ...string) string { return of[rand.N(len(of))] }
	odd := func(of ...string) string { // in place of the first, now and then
		if rand.N(4) > 0 {
			return of[0]
		}
		return pick(of...)
	}
	host := odd("localhost", "127.0.0.1:8080", "fabrikam.lan", "evil.example", "a@localhost")
	q := question{
		Method: odd(pick("GET", "POST", "PATCH", "DELETE"), "PUT", "HEAD", "OPTIONS", "TRACE", "GE(T"),
		Target: odd(pick("/contoso", "/northwind", "/fabrikam"), "/Contoso/", "/nosuch", "/", "http://localhost/contoso") +
			odd(pick("/api/data/v9.2/accounts", "/api/data/v9.2/$batch", "/XRMServices/2011/Organization.svc/web"), "/api/data/v9.1/accounts", "/api/search/v1.0/query",
				"/main.aspx", "/api/data/../x", "/api%2fdata/v9.2/x", "//api/data/v9.2/accounts", "/api/data/v9.2/a ccounts", "") +
			odd("", "?$top=1", "?", "?$select=name&$expand=a($select=b;$top=1)", "?tag=x&BypassCustomPluginExecution=true", "?CallerObjectId=1", "?%zz"),
		Headers: map[string]headerValues{"Host": {host}, "Connection": {"close"}},
	}
	for range max(0, rand.N(5)-2) {
		switch rand.N(9) {
		case 0:
			q.Headers["CallerObjectId"] = headerValues{"5f6a1c3e-5c1b-4b0e-9d6f-0c1d2e3f4a5b"}
		case 1:
			q.Headers["MSCRM.BypassCustomPluginExecution"] = headerValues{"true"}
		case 2:
			q.Headers["X-HTTP-Method-Override"] = headerValues{"DELETE"}
		case 3:
			q.Headers["Origin"] = headerValues{pick("http://"+host, "https://evil.example")}
		case 4:
			q.Headers["Cookie"] = headerValues{"a=b"}
		case 5:
			q.Headers["Sec-Fetch-Site"] = headerValues{pick("cross-site", "same-origin")}
		case 6:
			q.Headers["Prefer"] = headerValues{"odata.maxpagesize=3", "return=representation"}
		case 7:
			q.Headers["X-Forwarded-For"] = headerValues{"192.0.2.1"}
		case 8:
			q.Headers["X Bad"] = headerValues{"1"}
		}
	}
	if rand.N(12) > 0 {
		q.Headers["X-Api-Key"] = headerValues{keys[rand.N(len(keys))]}
	}
	switch q.Method {
	case "POST", "PATCH", "PUT":
		kind, body := aBody()
		q.Headers["Content-Type"], q.Body = headerValues{kind}, &body
	}
	return q
}

func aBody() (kind, body string) {
	part := func(request string) string {
		return "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n" + request + "\r\n--b--\r\n"
	}
	const batch = "multipart/mixed; boundary=b"
	envelope := func(operation string) string {
		return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><` + operation + ` xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"/></s:Body></s:Envelope>`
	}
	all := [][2]string{
		{"application/json", `{"name":"x"}`}, {"application/json", `{"primarycontactid@odata.bind":"http://localhost/northwind/api/data/v9.2/contacts(1)"}`},
		{"application/json", ""}, {"text/plain", "x"},
		{batch, part("GET /contoso/api/data/v9.2/accounts?$top=1 HTTP/1.1\r\n\r\n")}, {batch, part("DELETE /api/data/v9.2/accounts(1) HTTP/1.1\r\n\r\n")},
		{batch, part("GET /main.aspx HTTP/1.1\r\n\r\n")}, {batch, "nonsense"}, {"multipart/mixed", part("GET /api/data/v9.2/accounts HTTP/1.1\r\n\r\n")},
		{"text/xml; charset=utf-8", envelope("Delete")}, {"text/xml; charset=utf-8", envelope("Retrieve")}, {"text/xml", "<a"},
	}
	one := all[rand.N(len(all))]
	return one[0], one[1]
}

// What explain says of a call is what becomes of it.
func TestExplainAndTheCallAgree(t *testing.T) {
	t.Parallel()
	p, r, keys := startExplained(t)
	refused, sent := make(map[string]int), 0
	const many = 800
	for range many {
		q := aQuestion(keys)
		before, then := received(p), time.Now()
		x := r.explained(t, q)
		if received(p) != before && called(p, then) {
			t.Fatalf("explaining %+v reached an organization", q)
		}
		status, code, message := r.made(t, q)
		if x.Token != nil && x.Token.State == "to be asked for" && code == "consent_required" {
			continue // that comes out when it is asked for
		}
		if (x.Outcome == "refused") != (code != "") || string(x.Code) != code {
			t.Fatalf("%+v: %d %s (%s), explained as %s %d %s (%s)", q, status, code, message, x.Outcome, x.Status, x.Code, x.Message)
		}
		if code != "" {
			refused[code]++
			if x.Status != status || message != "" && x.Message != message && x.RetryAfter == 0 {
				t.Fatalf("%+v: %d %q, explained as %d %q", q, status, message, x.Status, x.Message)
			}
			continue
		}
		sent++
		arrivedAs(t, p, q, x)
	}
	t.Logf("%d went on, refused were %v", sent, refused)
	for _, code := range []string{"unauthorized", "forbidden", "tenant_unknown", "path_not_allowed", "read_only", "bad_request", "limit_wait_exceeded"} {
		if refused[code] == 0 {
			t.Errorf("none of %d was refused with %s", many, code)
		}
	}
	if sent < many/20 {
		t.Errorf("only %d of %d were let through", sent, many)
	}
}

func received(p *localEmulator) int {
	n := 0
	for _, name := range []string{"contoso", "fabrikam", "northwind"} {
		n += p.Organization(name).Received()
	}
	return n
}

// called reports whether a call has reached an organization since then.
func called(p *localEmulator, then time.Time) bool {
	return slices.ContainsFunc([]string{"contoso", "fabrikam", "northwind"}, func(name string) bool {
		all := callsTo(p, name)
		return len(all) > 0 && all[len(all)-1].At.After(then)
	})
}

// callsTo are the last calls that an organization has got. What the proxy asks
// for itself has no id.
func callsTo(p *localEmulator, name string) []emulator.Request {
	return slices.DeleteFunc(p.Organization(name).Requests(), func(r emulator.Request) bool { return r.Header.Get("X-Ms-Client-Request-Id") == "" })
}

// arrivedAs compares what the organization got with what was explained.
func arrivedAs(t *testing.T, p *localEmulator, q question, x proxy.Explanation) {
	t.Helper()
	all := callsTo(p, x.Tenant)
	if len(all) == 0 {
		t.Fatalf("%+v: nothing arrived at %s", q, x.Tenant)
	}
	got := all[len(all)-1]
	if got.Method != x.Request.Method || p.OrgURL(x.Tenant)+got.Target != x.Request.URL {
		t.Fatalf("%+v arrived as %s %s, explained as %s %s", q, got.Method, got.Target, x.Request.Method, x.Request.URL)
	}
	for name, values := range x.Request.Headers {
		switch canonical := http.CanonicalHeaderKey(name); canonical {
		case "Authorization", "X-Ms-Client-Request-Id", "Content-Length":
		default:
			if !slices.Equal(got.Header[canonical], values) {
				t.Fatalf("%+v: %s arrived as %q, explained as %q", q, name, got.Header[canonical], values)
			}
		}
	}
	for _, name := range x.Request.LeftOut {
		if name != "Authorization" && got.Header[name] != nil {
			t.Fatalf("%+v: %s arrived, explained as left out", q, name)
		}
	}
	if told := x.Request.Headers["Authorization"]; len(told) != 1 || told[0] != "Bearer [redacted]" {
		t.Fatalf("the token is told: %q", told)
	}
}

// A budget that is spent is seen, and looking spends none of it.
func TestExplainLooksAtTheBudget(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso")
	settings[prefix+"TENANT_REQUESTS"], settings[prefix+"TENANT_CONCURRENCY"], settings[prefix+"TENANT_QUEUE_WAIT"] = "3", "1", "20s"
	r := start(t, settings)
	q := question{Method: "GET", Target: r.calls + whoAmIPath}
	for range 10 {
		if x := r.explained(t, q); x.Outcome != "sent" || x.Budget.Limit != 3 || x.Token.State != "to be asked for" {
			t.Fatalf("at first: %+v %+v", x, x.Budget)
		}
	}
	r.get(whoAmIPath)
	if x := r.explained(t, q); x.Outcome != "sent" || x.Budget.Requests != 1 || x.Token.State != "held" || x.Token.Expires.Before(time.Now()) {
		t.Errorf("after one call: %+v %+v %+v", x, x.Budget, x.Token)
	}
	p.Organization("contoso").Inject(emulator.Fault{Kind: emulator.Slow, Delay: time.Minute, Path: "/api/data/v9.2/accounts", Times: 1})
	slow, err := net.Dial("tcp", strings.TrimPrefix(r.calls, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close() // which ends the call
	io.WriteString(slow, "GET /contoso/api/data/v9.2/accounts HTTP/1.1\r\nHost: localhost\r\n\r\n")
	deadline := time.Now().Add(10 * time.Second)
	for x := r.explained(t, q); x.Outcome != "waits" || x.Budget.For != "concurrency" || x.Budget.InFlight != 1; x = r.explained(t, q) {
		if time.Now().After(deadline) {
			t.Fatalf("behind a slow call: %+v %+v", x, x.Budget)
		}
	}
}

// The command says what the running proxy does.
func TestExplainFromTheCommandLine(t *testing.T) {
	t.Parallel()
	_, r, keys := startExplained(t)
	for _, c := range []struct {
		args   []string
		status int
		says   []string
	}{
		{[]string{"-H", "X-Api-Key: " + keys[0], r.calls + whoAmIPath + "?a=(b;c)"}, 0, []string{"outcome   sent", "anyone, known by key", "WhoAmI?a=(b;c)", "left out: X-Api-Key", "PATHS=/api/data/", "0 of 6000 requests", "to be asked for", "Bearer [redacted]"}},
		{[]string{"--caller", "Reader", "-X", "DELETE", "/contoso/api/data/v9.2/accounts(1)"}, 1, []string{"refused: 403 forbidden", "reader, taken for granted", "READ_ONLY=true"}},
		{[]string{"--caller", "elsewhere", "--remote", "192.0.2.7", whoAmIPath}, 0, []string{"from 192.0.2.7", "CIDRS=192.0.2.0/24"}},
		{[]string{"--caller", "elsewhere", whoAmIPath}, 1, []string{"forbidden", "CIDRS"}},
		{[]string{"--caller", "anyone", "-H", "Content-Type: application/json", "-d", `{"a@odata.bind":"` + r.calls + `/northwind/x"}`, "/contoso/api/data/v9.2/accounts"}, 1, []string{"bad_request", "judged"}},
		{[]string{"--caller", "anyone", "-X", "POST", "/contoso/api/data/v9.2/accounts"}, 0, []string{"not judged: none was given"}},
		{[]string{whoAmIPath}, 1, []string{"unauthorized", "nobody that is known by name"}},
		{[]string{"--caller", "nosuch", whoAmIPath}, 2, []string{"caller list"}},
		{[]string{"--remote", "x", whoAmIPath}, 2, []string{"192.0.2.1"}},
		{[]string{"-d", "@" + filepath.Join(t.TempDir(), "missing"), whoAmIPath}, 2, []string{"missing cannot be read"}},
		{[]string{""}, 2, []string{"target is missing"}},
		{[]string{"-H", "nonsense", whoAmIPath}, 2, []string{"Name: value"}},
		{nil, 2, []string{"write it as dynproxy explain"}},
	} {
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"explain"}, c.args...), []string{prefix + "OPS_LISTEN=" + strings.TrimPrefix(r.ops, "http://")}, &out, &out)
		if status := exitStatus(err, &out); status != c.status {
			t.Errorf("%q: exit status %d, want %d\n%s", c.args, status, c.status, &out)
		}
		for _, want := range c.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q does not say %q:\n%s", c.args, want, &out)
			}
		}
	}
}

// What cannot be understood is told with the cure.
func TestExplainWantsAQuestion(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	r := start(t, p.settings("contoso"))
	for body, cure := range map[string]string{
		`{}`:                                 "target is missing",
		`nonsense`:                           `send {\"method\"`,
		`{"target":"/x","url":"/y"}`:         `unknown field`,
		`{"target":"/x","remote":"here"}`:    "192.0.2.1",
		`{"target":"/x","caller":"webform"}`: "CALLERS_DIR",
	} {
		resp, err := http.Post(r.ops+"/api/explain", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(text), cure) {
			t.Errorf("%.60s: %d %s", body, resp.StatusCode, text)
		}
	}
}
