package dataverse_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// follow reads a list page by page and returns its rows and the nextLinks.
func (s *site) follow(path string, headers ...string) (all []map[string]any, links []string) {
	s.t.Helper()
	for path != "" {
		page := s.get(path, headers...)
		all = append(all, rows(s.t, page)...)
		path, _ = page["@odata.nextLink"].(string)
		if path != "" {
			links = append(links, path)
		}
	}
	return all, links
}

func TestPaging(t *testing.T) {
	s := newSite(t)
	s.org.AddAccounts(64)
	for _, query := range []string{"$select=name", "$select=name&$orderby=name%20desc", "$select=name&$filter=contains(name,'o')&$orderby=address1_city", "$count=true&$select=name"} {
		whole, none := s.follow("accounts?" + query)
		paged, links := s.follow("accounts?"+query, "Prefer: odata.maxpagesize=7")
		if len(none) != 0 || len(links) != (len(whole)-1)/7 {
			t.Errorf("%s: %d and %d links for %d rows", query, len(none), len(links), len(whole))
		}
		if fmt.Sprint(whole) != fmt.Sprint(paged) {
			t.Errorf("%s: the pages are not the whole", query)
		}
	}
}

var documentedLink = regexp.MustCompile(`^https://contoso\.crm\.dynamics\.com/api/data/v9\.2/accounts\?\$select=name&\$expand=Account_Tasks\(\$select=subject;\$top=1\)&` +
	`\$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%2520page%253d%25221%2522[%\w.-]*%253e%22%20istracking=%22False%22%20/%3E$`)

func TestNextLinkHasDocumentedForm(t *testing.T) {
	s := newSite(t)
	got := s.api(200, "GET", "accounts?$select=name&$expand=Account_Tasks($select=subject;$top=1)", "", "Prefer: odata.maxpagesize=5")
	next, _ := got.json(t)["@odata.nextLink"].(string)
	if !documentedLink.MatchString(next) {
		t.Errorf("nextLink %s", next)
	}
	if got.header.Get("Preference-Applied") != "odata.maxpagesize=5" {
		t.Errorf("Preference-Applied %q", got.header.Get("Preference-Applied"))
	}
	if again := s.api(200, "GET", "accounts?$select=name&$expand=Account_Tasks($select=subject;$top=1)", "", "Prefer: odata.maxpagesize=5"); again.body != got.body {
		t.Error("the same question, another answer")
	}
}

func TestAlteredNextLinkIsRefused(t *testing.T) {
	s := newSite(t)
	next := s.get("accounts?$select=name&$filter=statecode%20eq%200", "Prefer: odata.maxpagesize=5")["@odata.nextLink"].(string)
	s.api(200, "GET", next, "")
	for what, altered := range map[string]string{
		"another table":     strings.Replace(next, "/accounts?", "/contacts?", 1),
		"another version":   strings.Replace(next, "v9.2", "v9.1", 1),
		"another column":    strings.Replace(next, "$select=name", "$select=telephone1", 1),
		"another filter":    strings.Replace(next, "eq%200", "eq%201", 1),
		"without a filter":  strings.Replace(next, "&$filter=statecode%20eq%200", "", 1),
		"something more":    next + "&$top=3",
		"another page":      strings.Replace(next, "pagenumber=%222%22", "pagenumber=%223%22", 1),
		"a decoded token":   strings.ReplaceAll(next, "%25", "%"),
		"an encoded token":  strings.ReplaceAll(next, "%25", "%2525"),
		"half of the token": next[:len(next)-40],
	} {
		got := s.send("GET", altered, "")
		if got.status != 400 {
			t.Errorf("%s: status %d", what, got.status)
		}
	}
}

func TestPageAfterItsLastRowIsDeleted(t *testing.T) {
	s := newSite(t)
	page := s.get("accounts?$select=name", "Prefer: odata.maxpagesize=5")
	last := rows(t, page)[4]["accountid"].(string)
	s.api(204, "DELETE", "accounts("+last+")", "")
	rest, _ := s.follow(page["@odata.nextLink"].(string), "Prefer: odata.maxpagesize=5")
	if len(rest) != 31 {
		t.Errorf("%d rows after the first page", len(rest))
	}
}

func TestCount(t *testing.T) {
	s := newSite(t)
	got := s.api(200, "GET", "accounts/$count", "")
	if got.body != "\ufeff36" || got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("count %q, %s", got.body, got.header)
	}
	if got := s.api(200, "GET", "accounts/$count?$filter=numberofemployees%20gt%20350", ""); got.body != "\ufeff1" {
		t.Errorf("filtered count %q", got.body)
	}
	list := s.api(200, "GET", "accounts?$select=name&$count=true&$top=2", "")
	list.contains(t, `"@odata.context":"`+orgRoot+`$metadata#accounts(name)","@odata.count":36,"value":[`)
	s.org.AddAccounts(5100)
	limit := s.api(200, "GET", "accounts?$select=name&$count=true&$top=1", "", `Prefer: odata.include-annotations="*"`)
	limit.contains(t, `"@odata.count":5000`, `"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded":true`)
	all, links := s.follow("accounts?$select=name")
	if len(all) != 5136 || len(links) != 1 {
		t.Errorf("%d rows, %d links", len(all), len(links))
	}
}

func TestDelta(t *testing.T) {
	s := newSite(t)
	all, links := s.follow("accounts?$select=name", "Prefer: odata.track-changes, odata.maxpagesize=20")
	if len(all) != 36 || len(links) != 1 || !strings.Contains(links[0], "istracking=%22True%22") {
		t.Fatalf("%d rows, links %q", len(all), links)
	}
	last := s.get(links[0], "Prefer: odata.track-changes,odata.maxpagesize=20")
	delta, _ := last["@odata.deltaLink"].(string)
	if !regexp.MustCompile(`^https://contoso\.crm\.dynamics\.com/api/data/v9\.2/accounts\?\$select=name&\$deltatoken=\d+%2101%2f05%2f2026%20\d\d%3a\d\d%3a\d\d$`).MatchString(delta) {
		t.Fatalf("deltaLink %q", delta)
	}
	if got := rows(t, s.get(delta)); len(got) != 0 {
		t.Errorf("changes without a change: %v", got)
	}
	made := s.make("accounts", `{"name":"New"}`)
	gone := all[10]["accountid"].(string)
	s.api(204, "PATCH", "accounts("+all[0]["accountid"].(string)+")", `{"name":"Changed"}`)
	s.api(204, "DELETE", "accounts("+gone+")", "")
	got := s.api(200, "GET", delta, "")
	got.contains(t, `{"@odata.context":"`+orgRoot+`$metadata#accounts(name)/$delta","@odata.deltaLink":"`, `"name":"Changed"`, `"accountid":"`+made+`"`,
		`{"@odata.context":"`+orgRoot+`$metadata#accounts/$deletedEntity","id":"`+gone+`","reason":"deleted"}`)
	if n := len(rows(t, got.json(t))); n != 3 {
		t.Errorf("%d changes, want 3", n)
	}
	s.api(400, "GET", strings.Replace(delta, "%3a", "%3b", 1), "")
	s.api(400, "GET", "accounts?$filter=statecode%20eq%200", "", "Prefer: odata.track-changes")
}
