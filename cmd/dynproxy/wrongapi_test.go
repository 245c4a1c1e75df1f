package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// wrongBodies are what programs send in the place of a JSON object.
var wrongBodies = map[string]string{
	"nothing": "", "half": `{"READ_ONLY":`, "a list": "[]", "null": "null", "a text": `"x"`, "a number": "1", "two": "{}{}", "behind": `{} x`, "a form": "READ_ONLY=true", "no UTF-8": "{\"A\xff\":\"\xff\"}",
	"a name that is none": `{"NOSUCH":1}`, "a name twice": `{"RATE":1,"rate":2}`, "an object in it": `{"RATE":{"a":1}}`, "deep": strings.Repeat("[", 20_000), "deep objects": strings.Repeat(`{"a":`, 20_000), "a large number": `{"RATE":1e309}`, "a long number": `{"RATE":` + strings.Repeat("9", 1000) + `}`,
	"line breaks": `{"ORG_URL":"https://a.crm.dynamics.com\nREAD_ONLY=false"}`, "control": `{"ORG_URL":"https://a.crm.dynamics.com","PATHS":"/api/\u0001"}`, "half a pair": `{"ORG_URL":"https://a.crm.dynamics.com","PATHS":"/\ud800"}`, "long": `{"ORG_URL":"https://a.crm.dynamics.com","PATHS":"/` + strings.Repeat("x", 100<<10) + `"}`,
	"too long": `{"PATHS":"` + strings.Repeat("x", 2<<20) + `"}`, "wrong types": `{"method":1,"target":[],"headers":"x","remote":{}}`, "headers": `{"target":"/contoso/x","headers":{"a b":"c","x":["\r\n",null]}}`, "another address": `{"target":"http://\u0000/","remote":"x"}`,
}

var wrongQueries = []string{
	"limit=-1", "limit=0", "limit=99999999999999999999", "limit=x", "limit=1e309", "limit=", "limit=1&limit=2", "since=-1h", "since=x", "since=9999999h", "since=1", "before=x", "after=-1", "offset=-1", "failed=maybe", "tenant=%00", "tenant=%zz", "caller=%ff", "state=x", "by=x", "replace=maybe", "key=%zz", "from=x", "to=x", "a;b", "%",
}

// judged is what an answer of the operators' API must be, whatever was asked.
func judged(status int, kind, text string) string {
	switch {
	case status >= 500:
		return "a fault of the proxy"
	case strings.Contains(text, "goroutine ") || strings.Contains(text, ".go:"):
		return "a stack"
	case status >= 400:
		var said struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(text), &said); err != nil || said.Error.Message == "" || !strings.HasPrefix(kind, "application/json") {
			return "no error in JSON"
		}
	}
	return ""
}

// Whatever is asked of the operators' API, by any method: an answer, or an
// error in JSON that is the asker's; and what it served before it serves after.
func TestWrongQuestionsToTheOperatorsAPI(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	d, _ := startDesk(t, p)
	asked := 0
	ask := func(method, path, kind, body string) {
		asked++
		r, err := http.NewRequest(method, d.ops, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = path // as it is written
		r.SetBasicAuth("alice", opsWord)
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Errorf("%s %.80s: %v", method, path, err)
			return
		}
		defer resp.Body.Close()
		var text []byte
		if path != "/api/calls/stream" || resp.StatusCode != 200 { // which has no end
			text, _ = io.ReadAll(resp.Body)
		}
		if wrong := judged(resp.StatusCode, resp.Header.Get("Content-Type"), string(text)); wrong != "" && method != "HEAD" {
			t.Errorf("%s %.80s %s %.60q: %s: %d %.300s", method, path, kind, body, wrong, resp.StatusCode, text)
		}
	}
	paths := apiPaths(t, d)
	for _, template := range paths {
		path := strings.NewReplacer("{name}", "contoso", "{id}", "nosuch", "{code}", "x").Replace(template)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NOSUCH"} {
			ask(method, path, "", "")
			if method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" {
				continue
			}
			for _, body := range wrongBodies {
				ask(method, path, "application/json", body)
			}
			for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16", ";;", "application/json; boundary"} {
				ask(method, path, kind, "{}")
			}
		}
		for _, query := range wrongQueries {
			if template != "/api/calls/stream" {
				ask("GET", path+"?"+query, "", "")
			}
		}
		if template == path {
			continue
		}
		for _, name := range []string{"%00", "%zz", "%2e%2e", "..", "a%2Fb", "a%20b", "%ff", strings.Repeat("a", 5000), "con", "-x", "%E2%80%AE", "{name}", "contoso%0d%0ax", "a;b"} {
			odd := strings.NewReplacer("{name}", name, "{id}", name, "{code}", name).Replace(template)
			for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "POST"} {
				ask(method, odd, "application/json", `{"ORG_URL":"https://a.crm.dynamics.com"}`)
			}
		}
	}
	if asked < 1000 || len(paths) < 10 {
		t.Errorf("only %d questions to %v", asked, paths)
	}
	if status, text := d.ask("GET", "/api/tenants/contoso", ""); status != 200 {
		t.Errorf("contoso is not what it was: %d %s", status, text)
	}
	if d.log.String() != "" && strings.Contains(d.log.String(), "goroutine") {
		t.Errorf("the log tells of a fault:\n%s", d.log)
	}
	t.Logf("%d questions to %d addresses", asked, len(paths))
}

// apiPaths are the addresses that the API's own description names.
func apiPaths(t *testing.T, d *desk) (paths []string) {
	t.Helper()
	_, text := d.ask("GET", "/api/openapi.json", "")
	var described struct{ Paths map[string]any }
	if err := json.Unmarshal([]byte(text), &described); err != nil {
		t.Fatal(err)
	}
	for path := range described.Paths {
		if strings.HasPrefix(path, "/api/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// What is asked of the API and cannot be understood is refused at each address
// alike, with what may stand there; what can be is not.
func TestQueriesThatCannotBeUnderstoodAreRefused(t *testing.T) {
	t.Parallel()
	d, _ := startDesk(t, startEmulator(t, demoSeed()))
	var api struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   struct {
					Type    string
					Enum    []string
					Maximum int
				}
			}
		}
	}
	_, text := d.ask("GET", "/api/openapi.json", "")
	if err := json.Unmarshal([]byte(text), &api); err != nil {
		t.Fatal(err)
	}
	asked := 0
	refused := func(method, path, query, cure string) {
		t.Helper()
		asked++
		status, text := d.ask(method, path+"?"+query, "")
		if wrong := judged(status, "application/json", text); wrong != "" || status != http.StatusBadRequest || !strings.Contains(text, cure) {
			t.Errorf("%s %s?%s: %d %.300s; want 400 and %q", method, path, query, status, text, cure)
		}
	}
	for template, operations := range api.Paths {
		if !strings.HasPrefix(template, "/api/") {
			continue
		}
		path := strings.NewReplacer("{name}", "contoso", "{id}", "nosuch").Replace(template)
		for method, o := range operations {
			method = strings.ToUpper(method)
			refused(method, path, "nosuch=1", `there is no parameter \"nosuch\" here`)
			refused(method, path, "a=%zz", "percent-encode")
			refused(method, path, "a;b", "percent-encode")
			for _, p := range o.Parameters {
				if p.In != "query" {
					continue
				}
				refused(method, path, p.Name+"=1&"+p.Name+"=1", p.Name+" is given 2 times")
				refused(method, path, strings.ToUpper(p.Name)+"=1", p.Name)
				if p.Schema.Enum != nil {
					refused(method, path, p.Name+"=maybe", p.Name+" must be one of "+strings.Join(p.Schema.Enum, ", "))
				}
				if p.Schema.Type == "integer" {
					for _, value := range []string{"x", "0", "-1", "1.5", "1e3", "99999999999999999999", "%C2%B2", "1%00"} {
						refused(method, path, p.Name+"="+value, p.Name+" must be a whole number from 1")
					}
				}
				if p.Schema.Maximum > 0 {
					refused(method, path, fmt.Sprint(p.Name, "=", p.Schema.Maximum+1), fmt.Sprint("from 1 to ", p.Schema.Maximum))
				}
			}
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if _, has := operations[strings.ToLower(method)]; has {
				continue
			}
			if status, text := d.ask(method, path, ""); status != http.StatusMethodNotAllowed || judged(status, "application/json", text) != "" {
				t.Errorf("%s %s: %d %.300s", method, path, status, text)
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d questions", asked)
	}
	for _, query := range []string{"calls?limit=1000&failed=true&tenant=&caller=", "calls?limit=", "tenants?q=&state=&page=1&limit=1", "audit?limit=", "usage?by=&since=&tenant=x"} {
		if status, text := d.ask("GET", "/api/"+query, ""); status != http.StatusOK {
			t.Errorf("%s: %d %.300s", query, status, text)
		}
	}
	for query, want := range map[string]string{"page=3&limit=2": `"page": 3`, "page=9223372036854775807&limit=1000": `"tenants": []`} {
		if status, text := d.ask("GET", "/api/tenants?"+query, ""); status != http.StatusOK || !strings.Contains(text, `"tenants": []`) || !strings.Contains(text, want) {
			t.Errorf("%s: %d %.300s", query, status, text)
		}
	}
}

// A refusal at the door is in the shape of all others, and names the cure.
func TestTheDoorRefusesAsTheAPIDoes(t *testing.T) {
	t.Parallel()
	d, _ := startDesk(t, startEmulator(t, demoSeed()))
	for _, password := range []string{"", "wrong"} {
		for _, path := range []string{"/api/tenants", "/metrics", "/"} {
			r, err := http.NewRequest("GET", d.ops+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if password != "" {
				r.SetBasicAuth("alice", password)
			}
			resp, text := send(t, r)
			if wrong := judged(resp.StatusCode, resp.Header.Get("Content-Type"), text); wrong != "" || resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" || !strings.Contains(text, "DYNPROXY_OPS_PASSWORD") {
				t.Errorf("%s with the password %q: %d %s", path, password, resp.StatusCode, text)
			}
		}
	}
}
