package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pattern is that of a handler, as http.ServeMux takes it.
var pattern = regexp.MustCompile(`"(GET|POST|PUT|PATCH|DELETE) (/[^"]*)"`)

// apiPatterns are the patterns of all handlers of the tree that serve programs;
// pages are for people.
func apiPatterns(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{".", "../../portal", "../../consent", "../../internal/changes", "../../internal/openapi"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
				if strings.HasPrefix(m[2], "/api/") || slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, m[2]) {
					found = append(found, m[1]+" "+m[2])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// apiText is the API's own description.
type apiText struct {
	OpenAPI    string
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]any }
}

type operation struct {
	OperationID string `json:"operationId"`
	Responses   map[string]struct {
		Content map[string]struct{ Schema any }
	}
}

// judge returns what of value is not as schema says, at place.
func (d *apiText) judge(schema, value any, place string) []string {
	s, _ := schema.(map[string]any)
	if name, is := s["$ref"].(string); is {
		target, known := d.Components.Schemas[strings.TrimPrefix(name, "#/components/schemas/")]
		if !known {
			return []string{place + ": there is no " + name}
		}
		return d.judge(target, value, place)
	}
	var wrong []string
	if one, is := s["oneOf"].([]any); is {
		for _, choice := range one {
			if len(d.judge(choice, value, place)) == 0 {
				return nil
			}
		}
		return []string{place + ": is none of those that may be"}
	}
	if !ofType(s["type"], value) {
		return []string{fmt.Sprintf("%s: %T is no %v", place, value, s["type"])}
	}
	if values, is := s["enum"].([]any); is && !slices.Contains(values, value) {
		wrong = append(wrong, fmt.Sprintf("%s: %v is none of %v", place, value, values))
	}
	if s["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339, value.(string)); err != nil {
			wrong = append(wrong, place+": is no time")
		}
	}
	switch v := value.(type) {
	case []any:
		for i, one := range v {
			wrong = append(wrong, d.judge(s["items"], one, fmt.Sprintf("%s[%d]", place, i))...)
		}
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for name, one := range v {
			switch known := properties[name]; {
			case known != nil:
				wrong = append(wrong, d.judge(known, one, place+"."+name)...)
			case s["additionalProperties"] == false:
				wrong = append(wrong, place+"."+name+": is not described")
			default:
				if of, is := s["additionalProperties"].(map[string]any); is {
					wrong = append(wrong, d.judge(of, one, place+"."+name)...)
				}
			}
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, there := v[name.(string)]; !there {
				wrong = append(wrong, place+"."+name.(string)+": is missing")
			}
		}
	}
	return wrong
}

// ofType reports whether value is of the JSON type want, or one of several.
func ofType(want, value any) bool {
	if several, is := want.([]any); is {
		return slices.ContainsFunc(several, func(one any) bool { return ofType(one, value) })
	}
	switch v := value.(type) {
	case nil:
		return want == "null"
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && v == math.Trunc(v)
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return false
}

// Every handler for programs is described, everything described answers, and
// answers are as their schemas say, nothing more and nothing less.
func TestTheAPIIsWhatItsDescriptionSays(t *testing.T) {
	p := startEmulator(t, demoSeed())
	both := p.settings("contoso", "fabrikam")
	d, _ := startDesk(t, p, "TENANTS="+both[prefix+"TENANTS"], "ALLOWED_ORG_HOSTS="+both[prefix+"ALLOWED_ORG_HOSTS"], "CALLERS_DIR=")
	status, text := d.ask("GET", "/api/openapi.json", "")
	var api apiText
	if err := json.Unmarshal([]byte(text), &api); err != nil || status != 200 || api.OpenAPI != "3.1.0" {
		t.Fatal(status, err)
	}
	var said []string
	ids := make(map[string]bool)
	for path, operations := range api.Paths {
		for method, o := range operations {
			said = append(said, strings.ToUpper(method)+" "+path)
			if o.OperationID == "" || ids[o.OperationID] {
				t.Errorf("%s %s has no operationId of its own", method, path)
			}
			ids[o.OperationID] = true
		}
	}
	slices.Sort(said)
	handled := apiPatterns(t)
	for _, p := range handled {
		if !slices.Contains(said, p) {
			t.Errorf("%s is not described: put it into internal/openapi/openapi.json", p)
		}
	}
	for _, p := range said {
		if !slices.Contains(handled, p) {
			t.Errorf("%s is described, and nobody handles it", p)
		}
	}

	var last string // a request id
	for _, path := range []string{"/contoso/api/data/v9.2/WhoAmI", "/fabrikam/api/data/v9.2/WhoAmI", "/nobody/api/data/v9.2/WhoAmI"} {
		resp, _ := d.get(path)
		last = resp.Header.Get("Dynproxy-Request-Id")
		d.await("a line", func(line string) bool { return strings.Contains(line, `"message":"call"`) })
	}
	d.ask("POST", "/tenants/fabrikam/check", "")
	d.ask("POST", "/tenants/contoso/check", "")
	seen := make(map[string]bool)
	for _, c := range []struct{ method, path, as, body string }{
		{"GET", "/healthz", "", ""}, {"GET", "/readyz", "", ""}, {"GET", "/api/openapi.json", "", ""}, {"GET", "/metrics", "", ""},
		{"GET", "/api/tenants?limit=1000", "", ""}, {"GET", "/api/tenants/fabrikam", "/api/tenants/{name}", ""}, {"GET", "/api/tenants/nobody", "/api/tenants/{name}", ""},
		{"GET", "/api/newcomers", "", ""}, {"GET", "/api/cluster", "", ""},
		{"PUT", "/api/tenants/north", "/api/tenants/{name}", `{"ORG_URL":"` + p.OrgURL("contoso") + `"}`},
		{"PUT", "/api/tenants/north", "/api/tenants/{name}", `{"ORG_URL":"` + p.OrgURL("contoso") + `","RATE":5}`},
		{"PATCH", "/api/tenants/north", "/api/tenants/{name}", `{"RATE":null}`}, {"PATCH", "/api/tenants/north", "/api/tenants/{name}", `{"RATE":"fast"}`},
		{"PATCH", "/api/tenants/north", "/api/tenants/{name}", `nonsense`}, {"PATCH", "/api/tenants/contoso", "/api/tenants/{name}", `{"RATE":1}`},
		{"DELETE", "/api/tenants/north", "/api/tenants/{name}", ""}, {"DELETE", "/api/tenants/north", "/api/tenants/{name}", ""},
		{"GET", "/api/callers", "", ""}, {"PUT", "/api/callers/x", "/api/callers/{name}", `{}`},
		{"GET", "/api/audit", "", ""}, {"GET", "/api/audit?limit=x", "", ""},
		{"GET", "/api/calls", "", ""}, {"GET", "/api/calls/" + last, "/api/calls/{id}", ""}, {"GET", "/api/calls/nosuch", "/api/calls/{id}", ""},
		{"POST", "/api/explain", "", `{"target":"/contoso/api/data/v9.2/accounts"}`}, {"POST", "/api/explain", "", `nonsense`},
		{"GET", "/api/usage", "", ""}, {"GET", "/api/usage?since=x", "", ""},
	} {
		api.check(t, d, c.method, c.path, c.as, c.body, seen)
	}
	d2, _ := startDesk(t, p)
	for _, c := range []struct{ method, path, as, body string }{
		{"PUT", "/api/callers/webform", "/api/callers/{name}", `{"TENANTS":["contoso"]}`}, {"PATCH", "/api/callers/webform", "/api/callers/{name}", `{"RATE":3}`},
		{"GET", "/api/callers", "", ""}, {"GET", "/api/callers/webform", "/api/callers/{name}", ""}, {"GET", "/api/callers/nobody", "/api/callers/{name}", ""},
		{"POST", "/api/callers/webform/rotate", "/api/callers/{name}/rotate", ""}, {"POST", "/api/callers/webform/rotate", "/api/callers/{name}/rotate", ""},
		{"DELETE", "/api/callers/webform", "/api/callers/{name}", ""}, {"GET", "/api/audit", "", ""},
	} {
		api.check(t, d2, c.method, c.path, c.as, c.body, seen)
	}
	seen["GET /api/calls/stream"] = true // it does not end; that it answers
	req, _ := http.NewRequestWithContext(t.Context(), "GET", d.ops+"/api/calls/stream", nil)
	req.SetBasicAuth("x", opsWord)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("the stream: %v %v", resp, err)
	}
	resp.Body.Close()
	for _, p := range said {
		if !seen[p] {
			t.Errorf("no answer of %s was looked at", p)
		}
	}
}

// check asks, and holds the answer against the description.
func (api *apiText) check(t *testing.T, d *desk, method, path, as, body string, seen map[string]bool) {
	t.Helper()
	if as == "" {
		as, _, _ = strings.Cut(path, "?")
	}
	seen[method+" "+as] = true
	status, text := d.ask(method, path, body)
	answer, known := api.Paths[as][strings.ToLower(method)].Responses[fmt.Sprint(status)]
	if !known {
		t.Errorf("%s %s: %d is not described: %.200s", method, path, status, text)
		return
	}
	form, is := answer.Content["application/json"]
	if !is {
		if (len(answer.Content) == 0) != (text == "") {
			t.Errorf("%s %s: %d has a body that is not described: %.200s", method, path, status, text)
		}
		return
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	for _, wrong := range api.judge(form.Schema, value, "answer") {
		t.Errorf("%s %s %d: %s", method, path, status, wrong)
	}
}
