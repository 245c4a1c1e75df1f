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
