package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// A refusal leads to what there is to read about it, which no password keeps
// from whoever calls; an organization's own answer does not.
func TestARefusalLeadsToItsEntry(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	settings := p.settings("contoso", "fabrikam", "northwind")
	settings[prefix+"OPS_PASSWORD"] = "operators-only"
	r := start(t, settings)
	for path, code := range map[string]string{
		"/fabrikam/api/data/v9.2/WhoAmI": "consent_required",
		"/nobody/api/data/v9.2/WhoAmI":   "tenant_unknown",
		"/contoso/elsewhere":             "path_not_allowed",
	} {
		resp, _ := r.get(path)
		link := resp.Header.Get("Dynproxy-Help")
		page, text := fetch(t, strings.Replace(link, "localhost", "127.0.0.1", 1))
		if page.StatusCode != http.StatusOK || !strings.Contains(text, "<h1>"+code+"</h1>") || !strings.Contains(text, "If you run the proxy") {
			t.Errorf("%s: %q leads to %d %s", code, link, page.StatusCode, text)
		}
	}
	resp, _ := r.get("/northwind/api/data/v9.2/WhoAmI")
	if hint, link := resp.Header.Get("Dynproxy-Hint"), resp.Header.Get("Dynproxy-Help"); hint == "" || link != "" {
		t.Errorf("the organization's own answer has hint %q and help %q", hint, link)
	}
	if page, _ := fetch(t, r.ops+"/help/nonsense"); page.StatusCode != http.StatusNotFound {
		t.Errorf("a code that is none: %d", page.StatusCode)
	}
}

func TestHelpExplainsCommandsAndCodes(t *testing.T) {
	for words, want := range map[string]string{
		"application_user_missing": "application_user_missing: 0x80072560",
		"caller add":               "dynproxy caller add",
		"":                         "Available Commands:",
		"nonsense":                 "neither a command nor a code",
		"caller nonsense":          "dynproxy caller has no command",
	} {
		var out, errs bytes.Buffer
		status := exitStatus(run(t.Context(), append([]string{"help"}, strings.Fields(words)...), nil, &out, &errs), &errs)
		if text := out.String() + errs.String(); !strings.Contains(text, want) || (status == 2) != strings.Contains(words, "nonsense") {
			t.Errorf("help %s: %d %s", words, status, text)
		}
	}
}
