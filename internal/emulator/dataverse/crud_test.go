package dataverse_test

import (
	"strings"
	"testing"
)

func TestCreateRetrieveUpdateDelete(t *testing.T) {
	s := newSite(t)
	made := s.api(204, "POST", "accounts", `{"name":"Blue & <Yonder>","numberofemployees":7,"revenue":1234567.8901,"creditonhold":true}`)
	link := made.header.Get("OData-EntityId")
	if link != made.header.Get("Location") || !strings.HasPrefix(link, orgRoot+"accounts(") {
		t.Fatalf("links %q", made.header)
	}
	got := s.api(200, "GET", link+"?$select=name,revenue,numberofemployees,creditonhold", "")
	got.contains(t, `"name":"Blue & <Yonder>"`, `"revenue":1234567.8901`, `"numberofemployees":7`, `"creditonhold":true`,
		`{"@odata.context":"`+orgRoot+`$metadata#accounts(name,revenue,numberofemployees,creditonhold)/$entity","@odata.etag":"W/\"`)
	if got.header.Get("ETag") == "" {
		t.Error("no ETag")
	}
	s.api(204, "PATCH", link, `{"name":"Yonder","revenue":null}`)
	if got := s.get(link + "?$select=name,revenue"); got["name"] != "Yonder" || got["revenue"] != nil {
		t.Errorf("after the update: %v", got)
	}
	s.api(204, "DELETE", link, "")
	if got := s.api(404, "GET", link, ""); got.errorCode(t) != "0x80040217" {
		t.Errorf("after the deletion: %s", got.body)
	}
}

func TestRepresentation(t *testing.T) {
	s := newSite(t)
	made := s.api(201, "POST", "contacts?$select=fullname&$expand=parentcustomerid_account($select=name)",
		`{"firstname":"Ada","lastname":"King","parentcustomerid_account":{"name":"Engines","accountnumber":"E/1"}}`, "Prefer: return=representation")
	made.contains(t, `"fullname":"Ada King"`, `"parentcustomerid_account":{"@odata.etag":`, `"name":"Engines"`)
	if made.header.Get("Preference-Applied") != "return=representation" || made.header.Get("OData-EntityId") == "" {
		t.Errorf("headers %v", made.header)
	}
	s.api(200, "PATCH", made.header.Get("Location"), `{"lastname":"Lovelace"}`, "Prefer: return=representation").contains(t, `"fullname":"Ada Lovelace"`)
}

func TestDeepInsert(t *testing.T) {
	s := newSite(t)
	other := s.make("tasks", `{"subject":"before"}`)
	id := s.make("accounts", `{"name":"Deep","primarycontactid":{"lastname":"First"},
		"contact_customer_accounts":[{"lastname":"One"},{"lastname":"Two","Contact_Tasks":[{"subject":"inner"}]}],
		"Account_Tasks@odata.bind":["tasks(`+other+`)"]}`)
	got := s.get("accounts(" + id + ")?$select=name&$expand=primarycontactid($select=fullname),contact_customer_accounts($select=fullname;$expand=Contact_Tasks($select=subject)),Account_Tasks($select=subject)")
	if len(got["contact_customer_accounts"].([]any)) != 2 || len(got["Account_Tasks"].([]any)) != 1 || got["primarycontactid"].(map[string]any)["fullname"] != "First" {
		t.Errorf("nested records: %v", got)
	}
	s.api(400, "POST", "accounts", `{"name":"Half","contact_customer_accounts":[{"lastname":"Orphan"},{"nope":1}]}`)
	if n := len(rows(t, s.get("contacts?$filter=lastname%20eq%20'Orphan'"))); n != 0 {
		t.Errorf("a create that failed left %d records behind", n)
	}
}

func TestPayloadRefused(t *testing.T) {
	s := newSite(t)
	id := s.make("accounts", `{"name":"a"}`)
	for _, body := range []string{
		``, `[]`, `null`, `{"name":`, `{"name":"a"} {}`, `{"nope":1}`, `{"name":5}`, `{"numberofemployees":"5"}`, `{"numberofemployees":1.5}`,
		`{"numberofemployees":99999999999}`, `{"revenue":1.00001}`, `{"industrycode":999}`, `{"creditonhold":"true"}`, `{"name":"` + strings.Repeat("x", 161) + `"}`,
		`{"_primarycontactid_value":"` + id + `"}`, `{"primarycontactid@odata.bind":5}`, `{"primarycontactid@odata.bind":"accounts(` + id + `)"}`,
		`{"nope@odata.bind":"accounts(` + id + `)"}`, `{"@odata.type":"Microsoft.Dynamics.CRM.contact"}`, `{"sample_filecolumn":"x"}`,
	} {
		for _, call := range []struct{ method, path string }{{"POST", "accounts"}, {"PATCH", "accounts(" + id + ")"}} {
			got := s.api(400, call.method, call.path, body)
			if got.errorCode(t) == "" {
				t.Errorf("%s %s: no error code", call.method, body)
			}
		}
	}
	if got := s.api(412, "POST", "accounts", `{"name":"b","accountnumber":"A/1"}`); got.errorCode(t) != "0x80060892" {
		t.Errorf("a second record with the same key: %s", got.body)
	}
	s.api(412, "POST", "accounts", `{"accountid":"`+id+`"}`)
	s.api(400, "POST", "systemusers", `{"applicationid":"`+applicationID+`"}`)
}

func TestConditionalRequests(t *testing.T) {
	s := newSite(t)
	path := "accounts(" + s.make("accounts", `{"name":"a"}`) + ")"
	tag := s.api(200, "GET", path, "").header.Get("ETag")
	if got := s.api(304, "GET", path, "", "If-None-Match: "+tag); got.body != "" || got.header.Get("ETag") != tag {
		t.Errorf("304 with %q and %v", got.body, got.header)
	}
	s.api(200, "GET", path, "", "If-None-Match: null")
	s.api(200, "GET", path+"?$expand=primarycontactid", "", "If-None-Match: "+tag)
	s.api(204, "PATCH", path, `{"name":"b"}`, "If-Match: "+tag)
	if got := s.api(412, "PATCH", path, `{"name":"c"}`, "If-Match: "+tag); got.errorCode(t) != "0x80060882" {
		t.Errorf("stale write: %s", got.body)
	}
	s.api(412, "DELETE", path, "", "If-Match: "+tag)
	s.api(412, "PATCH", path, `{"name":"c"}`, "If-None-Match: *")
	s.api(204, "PATCH", path, `{"name":"c"}`, "If-None-Match: null")
	missing := "accounts(00000000-0000-4000-8000-00000000000a)"
	s.api(404, "PATCH", missing, `{"name":"d"}`, "If-Match: *")
	s.api(404, "GET", missing, "")
	s.api(204, "PATCH", missing, `{"name":"d"}`, "If-None-Match: *")
	if got := s.get(missing); got["name"] != "d" {
		t.Errorf("after the upsert: %v", got)
	}
}

func TestAlternateKeys(t *testing.T) {
	s := newSite(t)
	got := s.get("accounts(accountnumber='A%2F1')?$select=name,accountnumber")
	if got["accountnumber"] != "A/1" {
		t.Errorf("by key: %v", got)
	}
	for _, path := range []string{"accounts(accountnumber='A/1')", "accounts(accountnumber=%27a%2f1%27)", "accounts(accountnumber=@k)?@k='A/1'", "accounts(accountid=" + got["accountid"].(string) + ")"} {
		if again := s.get(path); again["accountid"] != got["accountid"] {
			t.Errorf("%s: %v", path, again)
		}
	}
	role := rows(t, s.get("roles?$filter=name%20eq%20'Delegate'"))[0]
	if again := s.get("roles(name='Delegate',_businessunitid_value=" + role["_businessunitid_value"].(string) + ")"); again["roleid"] != role["roleid"] {
		t.Errorf("by two columns: %v", again)
	}
	made := s.api(201, "PATCH", "accounts(accountnumber='Q%2F''1')", `{"name":"q"}`, "Prefer: return=representation")
	made.contains(t, `"accountnumber":"Q/'1"`)
	s.api(404, "GET", "accounts(accountnumber='none')", "")
	s.api(400, "GET", "accounts(name='Contoso Retail')", "")
	s.api(400, "GET", "accounts(accountnumber=5)", "")
	s.api(404, "GET", "Accounts", "")
}

func TestSingleProperty(t *testing.T) {
	s := newSite(t)
	path := "accounts(" + s.make("accounts", `{"name":"a\"b","revenue":1.5}`) + ")"
	s.api(200, "GET", path+"/name", "").contains(t, `{"@odata.context":"`+orgRoot+`$metadata#`+path+`/name","value":"a\"b"}`)
	if got := s.api(200, "GET", path+"/name/$value", ""); got.body != `a"b` || got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("raw value %q", got.body)
	}
	if got := s.api(200, "GET", path+"/revenue/$value", ""); got.body != "1.5000" {
		t.Errorf("raw value %q", got.body)
	}
	s.api(204, "PUT", path+"/name", `{"value":"c"}`)
	s.api(204, "DELETE", path+"/revenue", "")
	s.api(204, "GET", path+"/revenue", "")
	if got := s.get(path); got["name"] != "c" || got["revenue"] != nil {
		t.Errorf("afterwards: %v", got)
	}
	s.api(400, "PUT", path+"/createdon", `{"value":"2020-01-01T00:00:00Z"}`)
	s.api(404, "GET", path+"/nope", "")
}

func TestDeletionFreesLookups(t *testing.T) {
	s := newSite(t)
	contact := s.make("contacts", `{"lastname":"c"}`)
	account := s.make("accounts", `{"name":"a","primarycontactid@odata.bind":"/contacts(`+contact+`)"}`)
	s.api(204, "DELETE", "contacts("+contact+")", "")
	if got := s.get("accounts(" + account + ")?$expand=primarycontactid"); got["_primarycontactid_value"] != nil || got["primarycontactid"] != nil {
		t.Errorf("a lookup leads to a record that is gone: %v", got)
	}
}

func TestVersionPath(t *testing.T) {
	s := newSite(t)
	for _, version := range []string{"v8.0", "v8.2", "v9.0", "v9.1", "v9.2"} {
		got := s.send("GET", "/api/data/"+version+"/WhoAmI", "")
		if got.status != 200 || !strings.Contains(got.body, "https://"+orgHost+"/api/data/"+version+"/$metadata#") {
			t.Errorf("%s: %d %s", version, got.status, got.body)
		}
	}
	for _, path := range []string{"/api/data/data/v9.2/accounts", "/api/data/v7.1/accounts", "/api/data//v9.2/accounts"} {
		if got := s.send("GET", path, ""); got.status != 400 || got.errorCode(t) != "0x80060888" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestDeterministic(t *testing.T) {
	one, two := newSite(t), newSite(t)
	for _, call := range []struct{ method, path, body string }{
		{"POST", "accounts", `{"name":"x"}`}, {"GET", "accounts?$expand=primarycontactid,Account_Tasks", ""}, {"GET", "systemusers", ""}, {"GET", "$metadata", ""},
	} {
		a, b := one.send(call.method, "/api/data/v9.2/"+call.path, call.body), two.send(call.method, "/api/data/v9.2/"+call.path, call.body)
		if a.status >= 400 || a.body != b.body || a.header.Get("OData-EntityId") != b.header.Get("OData-EntityId") {
			t.Errorf("%s %s: two organizations made alike answer differently (%d)", call.method, call.path, a.status)
		}
	}
}
