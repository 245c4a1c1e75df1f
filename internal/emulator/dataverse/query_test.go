package dataverse_test

import (
	"net/url"
	"strings"
	"testing"
)

// escape makes a query option's value fit for a URL.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// names lists the values of a column.
func names(t *testing.T, list map[string]any, column string) []string {
	var out []string
	for _, r := range rows(t, list) {
		out = append(out, r[column].(string))
	}
	return out
}

func TestFilter(t *testing.T) {
	s := newSite(t)
	first := s.get("contacts?$select=fullname&$top=1")
	contact := rows(t, first)[0]["contactid"].(string)
	s.make("contacts", `{"lastname":"unrelated","creditlimit":0.1}`)
	tests := []struct {
		filter string
		want   int
	}{
		{"name eq 'Contoso Retail'", 1},
		{"name eq 'CONTOSO retail'", 1},
		{"name ne 'Contoso Retail'", 35},
		{"startswith(name,'Contoso') and not endswith(name,'Retail')", 2},
		{"contains(name,'logistics') or contains(name,'\"East\"')", 24},
		{"(name eq 'x' or name eq 'Litware Retail') and statecode eq 0", 1},
		{"name eq 'x' or name eq 'Litware Retail' and statecode eq 1", 0},
		{"numberofemployees gt 350", 1},
		{"numberofemployees ge 350", 2},
		{"numberofemployees lt 20", 1},
		{"numberofemployees le 20.0", 2},
		{"revenue eq 12500.0000", 1},
		{"revenue gt 449999.9999", 1},
		{"address1_latitude eq 3.25", 1},
		{"creditonhold eq true", 7},
		{"creditonhold ne true", 29},
		{"description eq null", 12},
		{"description ne null and numberofemployees lt 40", 2},
		{"not (description ne null)", 12},
		{"_primarycontactid_value eq " + contact, 1},
		{"primarycontactid/fullname eq 'Nancy Anderson'", 1},
		{"primarycontactid/parentcustomerid_account/name eq 'Contoso Retail'", 1},
		{"address1_city eq 'O''Fallon'", 6},
		{"address1_city eq 'são paulo'", 6},
		{"createdon ge 2026-01-05T08:00:00Z", 36},
		{"createdon lt 2026-01-05", 0},
		{"accountid eq 00000000-0000-0000-0000-000000000000", 0},
		{"name eq @n&@n='Contoso Retail'", 1},
		{"startswith(name,'C%retail')", 2},
	}
	for _, tt := range tests {
		filter, params, _ := strings.Cut(tt.filter, "&@n=")
		if params != "" {
			params = "&@n=" + escape(params)
		}
		got := rows(t, s.get("accounts?$select=name&$filter="+escape(filter)+params))
		if len(got) != tt.want {
			t.Errorf("%s: %d rows, want %d", tt.filter, len(got), tt.want)
		}
	}
}

// What is not understood must never be answered as if it were.
func TestQueryRefused(t *testing.T) {
	s := newSite(t)
	tests := []struct {
		query  string
		status int
		code   string
	}{
		{"$select=nope", 400, "0x80060888"},
		{"$select=primarycontactid", 400, "0x80060888"},
		{"$filter=nope eq 1", 400, "0x80060888"},
		{"$filter=name eq", 400, "0x80060888"},
		{"$filter=name eq 5", 400, "0x80060888"},
		{"$filter=name", 400, "0x80060888"},
		{"$filter=(name eq 'a'", 400, "0x80060888"},
		{"$filter=name eq 'a", 400, "0x80060888"},
		{"$filter=name eq 'a' name eq 'b'", 400, "0x80060888"},
		{"$filter=creditonhold gt true", 400, "0x80060888"},
		{"$filter=name gt null", 400, "0x80060888"},
		{"$filter=numberofemployees eq 'a'", 400, "0x80060888"},
		{"$filter=numberofemployees eq 1e999999999", 400, "0x80060888"},
		{"$filter=contains(numberofemployees,'a')", 400, "0x80060888"},
		{"$filter=name eq @p", 400, "0x80060888"},
		{"$filter=" + strings.Repeat("(", 2000), 400, "0x80060888"},
		{"$filter=tolower(name) eq 'a'", 501, "0x80060888"},
		{"$filter=name in ('a')", 501, "0x80060888"},
		{"$filter=Microsoft.Dynamics.CRM.Today(PropertyName='createdon')", 501, "0x80060888"},
		{"$filter=contact_customer_accounts/any(c:c/firstname eq 'a')", 501, "0x80060888"},
		{"$orderby=name up", 400, "0x80060888"},
		{"$orderby=length(name)", 501, "0x80060888"},
		{"$top=-1", 400, "0x80060888"},
		{"$count=yes", 400, "0x80060888"},
		{"$skip=1", 501, "0x80060888"},
		{"$apply=aggregate($count as n)", 501, "0x80060888"},
		{"$search=x", 501, "0x80060888"},
		{"$foo=1", 400, "0x80060888"},
		{"api-version=1", 400, "0x80060888"},
		{"$select=name&$select=name", 400, "0x80060888"},
		{"$expand=primarycontactid,primarycontactid", 400, "0x80060888"},
		{"$expand=nope", 400, "0x80060888"},
		{"$expand=primarycontactid($select=nope)", 400, "0x80060888"},
		{"$expand=primarycontactid($top=1)", 400, "0x80060888"},
		{"$expand=primarycontactid($levels=2)", 501, "0x80060888"},
		{"$expand=primarycontactid($select=fullname", 400, "0x80060888"},
	}
	for _, tt := range tests {
		name, value, _ := strings.Cut(tt.query, "=")
		query := name + "=" + escape(value)
		if strings.Contains(value, "&") {
			query = tt.query
		}
		got := s.send("GET", "/api/data/v9.2/accounts?"+query, "")
		if got.status != tt.status || got.errorCode(t) != tt.code {
			t.Errorf("%.60s: %d %s, want %d %s", tt.query, got.status, got.body, tt.status, tt.code)
		}
	}
}

func TestFilterOnNumbers(t *testing.T) {
	s := newSite(t)
	s.make("accounts", `{"name":"tenth","address1_latitude":0.1,"revenue":0.1}`)
	for _, filter := range []string{"address1_latitude eq 0.1", "address1_latitude lt 0.2", "revenue eq 0.1", "revenue eq 0.1000", "revenue lt 0.10001", "revenue eq 1e-1"} {
		if got := names(t, s.get("accounts?$select=name&$filter="+escape(filter)), "name"); len(got) != 1 || got[0] != "tenth" {
			t.Errorf("%s: %q", filter, got)
		}
	}
	for _, filter := range []string{"address1_latitude eq NaN", "address1_latitude lt INF", "revenue eq 0x10", "revenue eq 1_0", "address1_latitude eq 1_0", "address1_latitude eq 0x1p1"} {
		s.api(400, "GET", "accounts?$filter="+escape(filter), "")
	}
}

func TestOrder(t *testing.T) {
	s := newSite(t)
	byName := names(t, s.get("accounts?$select=name&$orderby=name%20desc&$top=2"), "name")
	if byName[0] != "Wide World Importers Retail" || byName[1] != `Wide World Importers Partners "East"` {
		t.Errorf("by name: %q", byName)
	}
	two := names(t, s.get("accounts?$select=name&$orderby=address1_city,numberofemployees%20desc&$top=2"), "name")
	if len(two) != 2 || two[0] != `Coho Winery Partners "East"` {
		t.Errorf("by city and size: %q", two)
	}
	// Lookups are ordered by the name that people see, nulls first.
	s.make("accounts", `{"name":"No contact"}`)
	list := rows(t, s.get("accounts?$select=name&$expand=primarycontactid($select=fullname)&$orderby=_primarycontactid_value"))
	if list[0]["name"] != "No contact" {
		t.Errorf("null is not first: %v", list[0])
	}
	last := ""
	for _, r := range list[1:] {
		name := strings.ToLower(r["primarycontactid"].(map[string]any)["fullname"].(string))
		if name < last {
			t.Errorf("%q after %q", name, last)
		}
		last = name
	}
}

func TestExpand(t *testing.T) {
	s := newSite(t)
	got := s.get("accounts?$select=name&$top=1&$expand=primarycontactid($select=fullname;$expand=parentcustomerid_account($select=name)),Account_Tasks($select=subject;$filter=percentcomplete%20gt%2020;$orderby=subject%20desc;$top=2)")
	if want := orgRoot + "$metadata#accounts(name,primarycontactid(fullname,parentcustomerid_account(name)),Account_Tasks(subject))"; got["@odata.context"] != want {
		t.Errorf("context %v, want %s", got["@odata.context"], want)
	}
	first := rows(t, got)[0]
	contact := first["primarycontactid"].(map[string]any)
	if contact["fullname"] != "Nancy Anderson" || contact["parentcustomerid_account"].(map[string]any)["name"] != first["name"] {
		t.Errorf("expanded contact: %v", contact)
	}
	tasks := first["Account_Tasks"].([]any)
	if len(tasks) != 2 || tasks[0].(map[string]any)["subject"].(string) < tasks[1].(map[string]any)["subject"].(string) {
		t.Errorf("expanded tasks: %v", tasks)
	}
	refs := s.get("accounts?$select=name&$top=1&$expand=primarycontactid/$ref,Account_Tasks/$ref")
	ref := rows(t, refs)[0]["primarycontactid"].(map[string]any)
	if link, _ := ref["@odata.id"].(string); len(ref) != 1 || !strings.HasPrefix(link, orgRoot+"contacts(") {
		t.Errorf("expanded reference: %v", ref)
	}
}

func TestColumnsAreShownOnce(t *testing.T) {
	s := newSite(t)
	got := s.api(200, "GET", "accounts?$select=name,name,accountid&$top=1", "")
	if strings.Count(got.body, `"name"`) != 1 || strings.Count(got.body, `"accountid"`) != 1 {
		t.Errorf("a column stands twice: %s", got.body)
	}
	fetched := s.fetch(200, "accounts", `<fetch top="1"><entity name="account"><attribute name="name"/><attribute name="name"/><attribute name="accountid"/></entity></fetch>`)
	if strings.Count(fetched.body, `"name"`) != 1 || strings.Count(fetched.body, `"accountid"`) != 1 {
		t.Errorf("a column stands twice: %s", fetched.body)
	}
}

func TestExpandedListIsPaged(t *testing.T) {
	s := newSite(t)
	first := rows(t, s.get("accounts?$select=name&$expand=Account_Tasks($select=subject,description;$orderby=subject%20asc;$filter=subject%20ne%20'a%2526b')", "Prefer: odata.maxpagesize=2"))[0]
	seen := names(t, map[string]any{"value": first["Account_Tasks"]}, "subject")
	next, _ := first["Account_Tasks@odata.nextLink"].(string)
	for next != "" {
		page := s.get(next, "Prefer: odata.maxpagesize=2")
		seen = append(seen, names(t, page, "subject")...)
		next, _ = page["@odata.nextLink"].(string)
	}
	if len(seen) != 5 {
		t.Errorf("%d tasks over the pages, want 5: %q", len(seen), seen)
	}
}

func TestAnnotations(t *testing.T) {
	s := newSite(t)
	path := "contacts?$select=fullname,_parentcustomerid_value,creditlimit,statecode,birthdate,donotemail&$top=1"
	all := s.api(200, "GET", path, "", `Prefer: odata.include-annotations="*"`)
	all.contains(t,
		`"_parentcustomerid_value@OData.Community.Display.V1.FormattedValue":"Contoso Retail","_parentcustomerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty":"parentcustomerid_account","_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname":"account","_parentcustomerid_value":"`,
		`"creditlimit@OData.Community.Display.V1.FormattedValue":"$1,000.00","creditlimit":1000.0000`,
		`"statecode@OData.Community.Display.V1.FormattedValue":"Active"`,
		`"birthdate@OData.Community.Display.V1.FormattedValue":"2/15/1951","birthdate":"1951-02-15"`,
		`"donotemail@OData.Community.Display.V1.FormattedValue":"No"`,
		`"@Microsoft.Dynamics.CRM.totalrecordcount":-1,"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded":false`)
	if all.header.Get("Preference-Applied") != `odata.include-annotations="*"` {
		t.Errorf("Preference-Applied %q", all.header.Get("Preference-Applied"))
	}
	some := s.api(200, "GET", path, "", `Prefer: odata.include-annotations="Microsoft.Dynamics.CRM.*,-Microsoft.Dynamics.CRM.associatednavigationproperty"`)
	some.contains(t, "lookuplogicalname")
	for _, absent := range []string{"FormattedValue", "associatednavigationproperty"} {
		if strings.Contains(some.body, absent) {
			t.Errorf("%s was not asked for", absent)
		}
	}
	if none := s.api(200, "GET", path, ""); strings.Contains(none.body, "@Microsoft") || strings.Contains(none.body, "@OData") {
		t.Errorf("annotations that nobody asked for: %s", none.body)
	}
}

func TestFullAndNoMetadata(t *testing.T) {
	s := newSite(t)
	full := s.api(200, "GET", "accounts?$select=name,revenue&$top=1", "", "Accept: application/json; odata.metadata=full")
	id := rows(t, full.json(t))[0]["accountid"].(string)
	record := orgRoot + "accounts(" + id + ")"
	full.contains(t, `"@odata.type":"#Microsoft.Dynamics.CRM.account"`, `"@odata.id":"`+record+`"`, `"@odata.editLink":"`+record+`"`,
		`"@odata.readLink":"`+record+`"`, `"primarycontactid@odata.navigationLink":"`+record+`/primarycontactid"`,
		`"Account_Tasks@odata.associationLink":"`+record+`/Account_Tasks/$ref"`, `"revenue@odata.type":"#Decimal"`)
	if full.header.Get("Content-Type") != "application/json; odata.metadata=full" {
		t.Errorf("content type %q", full.header.Get("Content-Type"))
	}
	none := s.api(200, "GET", "accounts?$select=name", "", "Accept: application/json;odata.metadata=none", "Prefer: odata.maxpagesize=1")
	if strings.Contains(none.body, "@odata.context") || strings.Contains(none.body, "@odata.etag") || !strings.Contains(none.body, "@odata.nextLink") {
		t.Errorf("without metadata: %s", none.body)
	}
}
