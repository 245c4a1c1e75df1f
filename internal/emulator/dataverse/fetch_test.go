package dataverse_test

import (
	"encoding/xml"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func (s *site) fetch(status int, set, query string, headers ...string) reply {
	s.t.Helper()
	return s.api(status, "GET", set+"?fetchXml="+escape(query), "", headers...)
}

func TestFetchConditions(t *testing.T) {
	s := newSite(t)
	for condition, want := range map[string]int{
		`<condition attribute="name" operator="eq" value="contoso retail"/>`:                                         1,
		`<condition attribute="name" operator="neq" value="Contoso Retail"/>`:                                        35,
		`<condition attribute="name" operator="like" value="%retail"/>`:                                              12,
		`<condition attribute="name" operator="not-like" value="%retail"/>`:                                          24,
		`<condition attribute="name" operator="begins-with" value="Contoso"/>`:                                       3,
		`<condition attribute="name" operator="ends-with" value="Retail"/>`:                                          12,
		`<condition attribute="numberofemployees" operator="ge" value="350"/>`:                                       2,
		`<condition attribute="numberofemployees" operator="between"><value>10</value><value>30</value></condition>`: 3,
		`<condition attribute="accountnumber" operator="in"><value>A/1</value><value>A/2</value></condition>`:        2,
		`<condition attribute="accountnumber" operator="not-in"><value>A/1</value></condition>`:                      35,
		`<condition attribute="description" operator="null"/>`:                                                       12,
		`<condition attribute="description" operator="not-null"/>`:                                                   24,
		`<condition attribute="creditonhold" operator="eq" value="1"/>`:                                              7,
		`<condition attribute="statecode" operator="eq" value="0"/>`:                                                 36,
		`<condition attribute="createdon" operator="ge" value="2026-01-05"/>`:                                        36,
	} {
		got := rows(t, s.fetch(200, "accounts", `<fetch><entity name="account"><attribute name="name"/><filter>`+condition+`</filter></entity></fetch>`).json(t))
		if len(got) != want {
			t.Errorf("%s: %d rows, want %d", condition, len(got), want)
		}
	}
	either := `<fetch top="50"><entity name="account"><filter type="or"><condition attribute="accountnumber" operator="eq" value="A/1"/><filter><condition attribute="accountnumber" operator="eq" value="A/2"/><condition attribute="statecode" operator="eq" value="0"/></filter></filter></entity></fetch>`
	if got := rows(t, s.fetch(200, "accounts", either).json(t)); len(got) != 2 {
		t.Errorf("or: %d rows", len(got))
	}
}

var pagingCookie = regexp.MustCompile(`^<cookie pagenumber="(\d+)" pagingcookie="(%253ccookie%2520page[^"]*)" istracking="False" />$`)

func TestFetchPaging(t *testing.T) {
	s := newSite(t)
	var seen []string
	attributes := ` page="1"`
	for page := 1; ; page++ {
		got := s.fetch(200, "accounts", `<fetch count="10"`+attributes+` returntotalrecordcount="true"><entity name="account"><attribute name="name"/><order attribute="name" descending="true"/></entity></fetch>`,
			`Prefer: odata.include-annotations="*"`).json(t)
		seen = append(seen, names(t, got, "name")...)
		if got["@Microsoft.Dynamics.CRM.totalrecordcount"] != 36.0 {
			t.Fatalf("total %v", got["@Microsoft.Dynamics.CRM.totalrecordcount"])
		}
		cookie, more := got["@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"].(string)
		if more != got["@Microsoft.Dynamics.CRM.morerecords"].(bool) {
			t.Fatalf("page %d: cookie %q, more records %v", page, cookie, got["@Microsoft.Dynamics.CRM.morerecords"])
		}
		if !more {
			break
		}
		m := pagingCookie.FindStringSubmatch(cookie)
		if m == nil {
			t.Fatalf("cookie %s", cookie)
		}
		once, _ := url.PathUnescape(m[2])
		twice, _ := url.PathUnescape(once)
		var text strings.Builder
		xml.EscapeText(&text, []byte(twice))
		attributes = ` page="` + m[1] + `" paging-cookie="` + text.String() + `"`
	}
	if len(seen) != 36 {
		t.Errorf("%d rows over the pages", len(seen))
	}
	for i := 1; i < len(seen); i++ {
		if strings.ToLower(seen[i]) > strings.ToLower(seen[i-1]) {
			t.Errorf("%q after %q", seen[i], seen[i-1])
		}
	}
}

func TestFetchLinks(t *testing.T) {
	s := newSite(t)
	lone := s.make("accounts", `{"name":"Lone"}`)
	query := func(kind string) string {
		return `<fetch><entity name="account"><attribute name="name"/><link-entity name="contact" from="contactid" to="primarycontactid" alias="pc" link-type="` + kind +
			`"><attribute name="fullname"/><attribute name="parentcustomerid"/></link-entity></entity></fetch>`
	}
	inner := rows(t, s.fetch(200, "accounts", query("inner")).json(t))
	if len(inner) != 36 || inner[0]["pc.fullname"] != "Nancy Anderson" || inner[0]["pc.parentcustomerid"] != inner[0]["accountid"] {
		t.Errorf("inner join: %d rows, first %v", len(inner), inner[0])
	}
	outer := rows(t, s.fetch(200, "accounts", query("outer")).json(t))
	if last := outer[len(outer)-1]; len(outer) != 37 || last["accountid"] != lone || last["pc.fullname"] != nil {
		t.Errorf("outer join: %d rows, last %v", len(outer), last)
	}
	down := `<fetch><entity name="account"><attribute name="name"/><link-entity name="contact" from="parentcustomerid" to="accountid" alias="c"><filter><condition attribute="jobtitle" operator="eq" value="Owner"/></filter>` +
		`<link-entity name="account" from="accountid" to="parentcustomerid" alias="up"><attribute name="name"/></link-entity></link-entity></entity></fetch>`
	for _, r := range rows(t, s.fetch(200, "accounts", down).json(t)) {
		if r["up.name"] != r["name"] {
			t.Errorf("nested link: %v", r)
		}
	}
}

func TestFetchRefused(t *testing.T) {
	s := newSite(t)
	for query, status := range map[string]int{
		`<fetch`:   400,
		`<other/>`: 400,
		`<fetch><entity name="contact"/></fetch>`:                                                                                                400,
		`<fetch aggregate="true"><entity name="account"/></fetch>`:                                                                               501,
		`<fetch distinct="true"><entity name="account"/></fetch>`:                                                                                501,
		`<fetch datasource="retained"><entity name="account"/></fetch>`:                                                                          501,
		`<fetch count="0"><entity name="account"/></fetch>`:                                                                                      400,
		`<fetch paging-cookie="x"><entity name="account"/></fetch>`:                                                                              400,
		`<fetch><entity name="account"><attribute name="nope"/></entity></fetch>`:                                                                400,
		`<fetch><entity name="account"><attribute name="name" alias="n"/></entity></fetch>`:                                                      501,
		`<fetch><entity name="account"><nope/></entity></fetch>`:                                                                                 400,
		`<fetch><entity name="account"><filter type="xor"/></entity></fetch>`:                                                                    400,
		`<fetch><entity name="account"><filter><condition attribute="name" operator="eq-userid"/></filter></entity></fetch>`:                     400,
		`<fetch><entity name="account"><filter><condition attribute="createdon" operator="last-x-days" value="3"/></filter></entity></fetch>`:    501,
		`<fetch><entity name="account"><filter><condition attribute="statecode" operator="eq" value="null"/></filter></entity></fetch>`:          400,
		`<fetch><entity name="account"><link-entity name="contact" from="contactid" to="primarycontactid" link-type="exists"/></entity></fetch>`: 501,
		`<fetch><entity name="account"><link-entity name="contact" from="contactid" to="primarycontactid" alias="a"/><link-entity name="account" from="accountid" to="parentaccountid" alias="a"/></entity></fetch>`: 400,
		`<fetch><entity name="account"><link-entity name="nope" from="a" to="b"/></entity></fetch>`:                                                                                                                  400,
	} {
		if got := s.fetch(status, "accounts", query); got.errorCode(t) == "" {
			t.Errorf("%s: no error code", query)
		}
	}
}
