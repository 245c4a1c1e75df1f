package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// schema is as much of JSON Schema as the API's description uses.
type schema struct {
	Ref         string `json:"$ref"`
	Type        any
	Format      string
	Description string
	Enum        []any
	Items       *schema
	OneOf       []schema
	Required    []string
	Properties  map[string]*schema
}

// addressed is one request that the API's description has.
type addressed struct {
	Summary, Description string
	Parameters           []struct {
		Name, In, Description string
		Schema                schema
	}
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema schema }
	}
}

// apiReference is the description that programs read, for people.
func apiReference(t *testing.T) string {
	text, err := os.ReadFile("../../internal/openapi/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]*schema }
	}
	if err := json.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("### Requests\n\n| request | what it does | asked with | answered with |\n|---|---|---|---|\n")
	for _, path := range slices.Sorted(maps.Keys(api.Paths)) {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if api.Paths[path][method] == nil {
				continue
			}
			var a addressed
			if err := json.Unmarshal(api.Paths[path][method], &a); err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			fmt.Fprintf(&out, "| `%s %s` | %s | %s | %s |\n", strings.ToUpper(method), path, cell(cmp.Or(a.Summary, a.Description)), cell(a.asked()), cell(a.answered()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(api.Components.Schemas)) {
		s := api.Components.Schemas[name]
		fmt.Fprintf(&out, "\n### %s\n\n", name)
		if s.Description != "" {
			fmt.Fprintf(&out, "%s\n\n", s.Description)
		}
		if len(s.Properties) == 0 {
			fmt.Fprintf(&out, "%s\n", s.kind())
			continue
		}
		out.WriteString("| field | is | meaning |\n|---|---|---|\n")
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			p, always := s.Properties[field], ""
			if !slices.Contains(s.Required, field) {
				always = ", where known"
			}
			fmt.Fprintf(&out, "| `%s` | %s%s | %s |\n", field, p.kind(), always, cell(p.Description))
		}
	}
	return out.String()
}

func (a *addressed) asked() string {
	var all []string
	for _, p := range a.Parameters {
		if p.In == "query" {
			all = append(all, "`"+p.Name+"`: "+p.Description)
		}
	}
	for kind, body := range a.RequestBody.Content {
		all = append(all, kind+", "+body.Schema.kind())
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func (a *addressed) answered() string {
	var all []string
	for _, status := range slices.Sorted(maps.Keys(a.Responses)) {
		r := a.Responses[status]
		said := status
		for _, content := range r.Content {
			if ref := content.Schema.kind(); strings.HasPrefix(ref, "[") && status < "300" {
				said += " " + ref
			}
		}
		all = append(all, said)
	}
	return strings.Join(all, ", ")
}

// kind is what a schema says in a few words, with links to others.
func (s *schema) kind() string {
	if s == nil {
		return "anything"
	}
	switch name, is := strings.CutPrefix(s.Ref, "#/components/schemas/"); {
	case is:
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	case len(s.OneOf) > 0:
		var all []string
		for _, one := range s.OneOf {
			all = append(all, one.kind())
		}
		return strings.Join(all, " or ")
	case s.Type == "array":
		return "list of " + s.Items.kind()
	case len(s.Enum) > 0:
		var all []string
		for _, one := range s.Enum {
			all = append(all, fmt.Sprintf("`%v`", one))
		}
		return strings.Join(all, ", ")
	case s.Format == "date-time":
		return "time"
	}
	if several, is := s.Type.([]any); is {
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(several), " ", " or "), "[]")
	}
	return cmp.Or(fmt.Sprint(s.Type), "anything")
}
