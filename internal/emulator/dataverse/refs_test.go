package dataverse_test

import (
	"testing"
)

func TestAssociate(t *testing.T) {
	s := newSite(t)
	account, contact := s.make("accounts", `{"name":"a"}`), s.make("contacts", `{"lastname":"c"}`)
	path, link := "accounts("+account+")/contact_customer_accounts", orgRoot+"contacts("+contact+")"
	linked := func() int { return len(rows(t, s.get(path))) }
	for _, form := range []string{link, "contacts(" + contact + ")", "/contacts(" + contact + ")"} {
		for _, drop := range []string{path + "/$ref?$id=" + link, path + "/$ref?$id=" + escape(link), path + "/$ref?$id=contacts(" + contact + ")", path + "(" + contact + ")/$ref"} {
			s.api(204, "POST", path+"/$ref", `{"@odata.id":"`+form+`"}`)
			if linked() != 1 {
				t.Errorf("%s: not linked", form)
			}
			s.api(204, "DELETE", drop, "")
			if linked() != 0 {
				t.Errorf("%s: still linked", drop)
			}
		}
	}
	s.api(404, "DELETE", path+"("+contact+")/$ref", "")
	s.api(400, "DELETE", path+"/$ref", "")
	s.api(400, "POST", path+"/$ref", `{}`)
	s.api(400, "POST", path+"/$ref", `{"@odata.id":"accounts(`+account+`)"}`)
	s.api(404, "POST", path+"/$ref", `{"@odata.id":"contacts(00000000-0000-4000-8000-000000000000)"}`)
}

func TestSingleValuedReference(t *testing.T) {
	s := newSite(t)
	account, contact := s.make("accounts", `{"name":"a"}`), s.make("contacts", `{"lastname":"c"}`)
	path := "accounts(" + account + ")/primarycontactid"
	s.api(204, "GET", path, "")
	s.api(204, "PUT", path+"/$ref", `{"@odata.id":"contacts(`+contact+`)"}`)
	s.api(200, "GET", path+"/$ref", "").contains(t, `{"@odata.context":"`+orgRoot+`$metadata#$ref","@odata.id":"`+orgRoot+`contacts(`+contact+`)"}`)
	if got := s.get(path + "?$select=fullname"); got["fullname"] != "c" {
		t.Errorf("through the lookup: %v", got)
	}
	if got := s.get(path + "/lastname"); got["value"] != "c" {
		t.Errorf("a column through the lookup: %v", got)
	}
	s.api(405, "POST", path+"/$ref", `{"@odata.id":"contacts(`+contact+`)"}`)
	s.api(204, "DELETE", path+"/$ref", "")
	s.api(204, "GET", path+"/$ref", "")
	s.api(204, "PATCH", "accounts("+account+")", `{"primarycontactid@odata.bind":"`+orgRoot+`contacts(`+contact+`)"}`)
	s.api(204, "PATCH", "accounts("+account+")", `{"primarycontactid":null}`)
	s.api(204, "GET", path, "")
}

func TestReferenceList(t *testing.T) {
	s := newSite(t)
	account := rows(t, s.get("accounts?$select=name&$top=1"))[0]["accountid"].(string)
	path := "accounts(" + account + ")/Account_Tasks/$ref"
	got := s.api(200, "GET", path, "")
	task := rows(t, s.get("accounts("+account+")/Account_Tasks?$select=subject"))[0]["activityid"].(string)
	got.contains(t, `{"@odata.context":"`+orgRoot+`$metadata#Collection($ref)","value":[{"@odata.id":"`+orgRoot+`tasks(`+task+`)"}`)
	all, links := s.follow(path, "Prefer: odata.maxpagesize=2")
	if len(all) != 5 || len(links) != 2 {
		t.Errorf("%d links over %d pages", len(all), len(links)+1)
	}
	if got := s.api(200, "GET", "accounts("+account+")/Account_Tasks/$count", ""); got.body != "\ufeff5" {
		t.Errorf("count %q", got.body)
	}
}

func TestManyToMany(t *testing.T) {
	s := newSite(t)
	unit := rows(t, s.get("businessunits"))[0]["businessunitid"].(string)
	user := s.make("systemusers", `{"applicationid":"bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee","businessunitid@odata.bind":"/businessunits(`+unit+`)"}`)
	if id, disabled, ok := s.org.ApplicationUser("BBBBBBBB-bbbb-4ccc-8ddd-eeeeeeeeeeee"); id != user || disabled || !ok {
		t.Errorf("the application user is not found: %q %t %t", id, disabled, ok)
	}
	role := rows(t, s.get("roles?$filter=name%20eq%20'Delegate'"))[0]["roleid"].(string)
	s.api(204, "POST", "systemusers("+user+")/systemuserroles_association/$ref", `{"@odata.id":"`+orgRoot+`roles(`+role+`)"}`)
	if got := rows(t, s.get("systemusers("+user+")/systemuserroles_association?$select=name")); len(got) != 1 || got[0]["name"] != "Delegate" {
		t.Errorf("roles of the user: %v", got)
	}
	if got := rows(t, s.get("roles("+role+")/systemuserroles_association?$select=fullname")); len(got) != 1 || got[0]["systemuserid"] != user {
		t.Errorf("users of the role: %v", got)
	}
	s.api(204, "DELETE", "systemusers("+user+")/systemuserroles_association("+role+")/$ref", "")
	if got := rows(t, s.get("systemusers("+user+")/systemuserroles_association")); len(got) != 0 {
		t.Errorf("roles afterwards: %v", got)
	}
	s.api(204, "PATCH", "systemusers("+user+")", `{"isdisabled":true}`)
	if _, disabled, _ := s.org.ApplicationUser("bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee"); !disabled {
		t.Error("the application user is not disabled")
	}
	s.org.RemoveApplicationUser("bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee")
	if _, _, ok := s.org.ApplicationUser("bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee"); ok {
		t.Error("the application user is still there")
	}
}

// An absolute link must begin with the service root of the request itself.
func TestForeignLinksAreRefused(t *testing.T) {
	s := newSite(t)
	account, contact := s.make("accounts", `{"name":"a"}`), s.make("contacts", `{"lastname":"c"}`)
	record := "contacts(" + contact + ")"
	for _, link := range []string{
		"http://proxy:8080/contoso/api/data/v9.2/" + record, "https://fabrikam.crm.dynamics.com/api/data/v9.2/" + record,
		"http://contoso.crm.dynamics.com/api/data/v9.2/" + record, "https://contoso.crm.dynamics.com/api/data/v9.1/" + record,
		"https://contoso.api.crm.dynamics.com/api/data/v9.2/" + record, "https://contoso.crm.dynamics.com:443/api/data/v9.2/" + record,
		"https://Contoso.crm.dynamics.com/api/data/v9.2/" + record,
	} {
		for _, call := range []struct{ method, path, body string }{
			{"POST", "accounts(" + account + ")/contact_customer_accounts/$ref", `{"@odata.id":"` + link + `"}`},
			{"PUT", "accounts(" + account + ")/primarycontactid/$ref", `{"@odata.id":"` + link + `"}`},
			{"POST", "accounts", `{"primarycontactid@odata.bind":"` + link + `"}`},
			{"DELETE", "accounts(" + account + ")/contact_customer_accounts/$ref?$id=" + link, ""},
			{"GET", "systemusers(" + s.get("WhoAmI")["UserId"].(string) + ")/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={'@odata.id':'" + link + "'}", ""},
		} {
			s.api(400, call.method, call.path, call.body).contains(t, "AbsoluteUri should contain ServiceRouteUri")
		}
	}
}
