package dataverse_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"dynproxy/internal/emulator/dataverse"
)

func TestFunctions(t *testing.T) {
	s := newSite(t)
	user, _, _ := s.org.ApplicationUser(applicationID)
	who := s.api(200, "GET", "WhoAmI", "")
	who.contains(t, `{"@odata.context":"`+orgRoot+`$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse","BusinessUnitId":"`, `"UserId":"`+user+`","OrganizationId":"`+organizationID+`"}`)
	if again := s.api(200, "GET", "WhoAmI()", ""); again.body != who.body {
		t.Error("WhoAmI and WhoAmI() differ")
	}
	s.api(200, "GET", "RetrieveVersion()", "").contains(t, `"Version":"9.2.`)
	for _, path := range []string{
		"RetrieveCurrentOrganization(AccessType=Microsoft.Dynamics.CRM.EndpointAccessType'Default')",
		"RetrieveCurrentOrganization(AccessType=@p)?@p=Microsoft.Dynamics.CRM.EndpointAccessType'Default'",
	} {
		s.api(200, "GET", path, "").contains(t, `"Values":["https://`+orgHost+`/","https://`+orgHost+`/XRMServices/2011/Organization.svc","https://`+orgHost+`/XRMServices/2011/OrganizationData.svc"]`,
			`"TenantId":"`+tenantID+`"`, `"OrganizationId":"`+organizationID+`"`)
	}
	s.api(400, "GET", "RetrieveCurrentOrganization()", "")
	s.api(200, "GET", "RetrieveTotalRecordCount(EntityNames=['account','task'])", "").contains(t, `"Keys":["account","task"],"Values":[36,48]`)
	s.api(400, "GET", "RetrieveTotalRecordCount(EntityNames=['nope'])", "")
	s.api(405, "POST", "WhoAmI", "")
	s.api(404, "GET", "NoSuchFunction()", "")
}

func TestBoundFunctionTakesALink(t *testing.T) {
	s := newSite(t)
	user, _, _ := s.org.ApplicationUser(applicationID)
	account := rows(t, s.get("accounts?$select=name&$top=1"))[0]["accountid"].(string)
	path := "systemusers(" + user + ")/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@tid)?@tid="
	for _, value := range []string{"{'@odata.id':'accounts(" + account + ")'}", `{"@odata.id":"` + orgRoot + "accounts(" + account + `)"}`, "{%27@odata.id%27:%27accounts(" + account + ")%27}"} {
		s.api(200, "GET", path+value, "").contains(t, `"AccessRights":"ReadAccess, `)
	}
	s.api(400, "GET", path+"{'id':'x'}", "")
	s.api(400, "GET", strings.TrimSuffix(path, "?@tid="), "")
}

func TestBulk(t *testing.T) {
	s := newSite(t)
	made := s.api(200, "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.account","name":"m1"},{"@odata.type":"#Microsoft.Dynamics.CRM.account","name":"m2"}]}`).json(t)
	ids := made["Ids"].([]any)
	if len(ids) != 2 || made["@odata.context"] != orgRoot+"$metadata#Microsoft.Dynamics.CRM.CreateMultipleResponse" {
		t.Fatalf("CreateMultiple: %v", made)
	}
	target := func(id any, name string) string {
		return `{"@odata.type":"Microsoft.Dynamics.CRM.account","accountid":"` + id.(string) + `","name":"` + name + `"}`
	}
	s.api(204, "POST", "accounts/Microsoft.Dynamics.CRM.UpdateMultiple", `{"Targets":[`+target(ids[0], "u1")+`,`+target(ids[1], "u2")+`]}`)
	s.api(404, "POST", "accounts/Microsoft.Dynamics.CRM.UpdateMultiple", `{"Targets":[`+target(ids[0], "x1")+`,`+target("00000000-0000-4000-8000-000000000000", "x")+`]}`)
	if got := s.get("accounts(" + ids[0].(string) + ")"); got["name"] != "u1" {
		t.Errorf("a failed UpdateMultiple left %v", got["name"])
	}
	s.api(204, "POST", "accounts/Microsoft.Dynamics.CRM.UpsertMultiple", `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.account","@odata.id":"accounts(accountnumber='A/1')","name":"by key"},`+
		`{"@odata.type":"Microsoft.Dynamics.CRM.account","@odata.id":"accounts(accountnumber='new')","name":"made"},`+target(ids[1], "by id")+`]}`)
	if got := rows(t, s.get("accounts?$select=accountnumber&$filter=name%20eq%20'by%20key'%20or%20name%20eq%20'made'%20or%20name%20eq%20'by%20id'")); len(got) != 3 || got[0]["accountnumber"] != "A/1" || got[2]["accountnumber"] != "new" {
		t.Errorf("after UpsertMultiple: %v", got)
	}
	s.api(400, "POST", "accounts/Microsoft.Dynamics.CRM.UpsertMultiple", `{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.account","@odata.id":"https://fabrikam.crm.dynamics.com/api/data/v9.2/accounts(accountnumber='A/1')"}]}`)
	s.api(404, "POST", "accounts/Microsoft.Dynamics.CRM.DeleteMultiple", `{"Targets":[]}`)
	s.api(400, "POST", "accounts/Microsoft.Dynamics.CRM.CreateMultiple", `{"Targets":[{"name":"untyped"}]}`)
}

func TestDocuments(t *testing.T) {
	s := newSite(t)
	s.api(200, "GET", "", "").contains(t, `{"@odata.context":"`+orgRoot+`$metadata","value":[{"name":"accounts","kind":"EntitySet","url":"accounts"}`)
	got := s.api(200, "GET", "$metadata?annotations=true", "")
	decoder := xml.NewDecoder(strings.NewReader(got.body))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	got.contains(t, `<EntityType Name="account" `, `<NavigationProperty Name="contact_customer_accounts" Type="Collection(mscrm.contact)" />`, `<Property Name="_primarycontactid_value" Type="Edm.Guid" />`)
	if strings.Contains(got.body, orgHost) || got.header.Get("Content-Type") != "application/xml" {
		t.Errorf("metadata names the organization, or is %s", got.header.Get("Content-Type"))
	}
}

// Header names go out as Dataverse spells them, whatever Go would make of them.
func TestHeaderSpelling(t *testing.T) {
	org := dataverse.New("contoso", organizationID, tenantID)
	who := dataverse.Caller{UserID: org.AddApplicationUser(applicationID)}
	w := httptest.NewRecorder()
	org.Serve(w, httptest.NewRequest("POST", orgRoot+"accounts", strings.NewReader(`{"name":"a"}`)), who)
	for _, name := range []string{"OData-EntityId", "OData-Version", "Location"} {
		if len(w.Header()[name]) != 1 {
			t.Errorf("no header %s in %v", name, w.Header())
		}
	}
}

// Impersonation shows in who made a record, so that a proxy that lets the
// header through is found out.
func TestImpersonation(t *testing.T) {
	s := newSite(t)
	user, _, _ := s.org.ApplicationUser(applicationID)
	person := rows(t, s.get("systemusers?$filter=firstname%20eq%20'Nina'"))[0]
	for _, header := range []string{"CallerObjectId: " + person["azureactivedirectoryobjectid"].(string), "MSCRMCallerID: " + person["systemuserid"].(string)} {
		made := s.api(201, "POST", "accounts", `{"name":"a"}`, header, "Prefer: return=representation").json(t)
		if made["_createdby_value"] != person["systemuserid"] || made["_createdonbehalfby_value"] != user || made["_ownerid_value"] != person["systemuserid"] {
			t.Errorf("%s: made by %v for %v", header, made["_createdby_value"], made["_createdonbehalfby_value"])
		}
	}
	plain := s.api(201, "POST", "accounts", `{"name":"a"}`, "Prefer: return=representation").json(t)
	if plain["_createdby_value"] != user || plain["_createdonbehalfby_value"] != nil {
		t.Errorf("made by %v for %v", plain["_createdby_value"], plain["_createdonbehalfby_value"])
	}
	inner := multipart("batch_1", changeSet(item("POST accounts HTTP/1.1\nCallerObjectId: "+person["azureactivedirectoryobjectid"].(string)+"\nPrefer: return=representation\n\n{\"name\":\"b\"}", "1")))
	s.api(200, "POST", "$batch", inner, batchType).contains(t, `"_createdby_value":"`+person["systemuserid"].(string)+`"`)
	s.api(400, "GET", "WhoAmI", "", "CallerObjectId: 00000000-0000-4000-8000-000000000000")
}

func TestPrivileges(t *testing.T) {
	s := newSite(t)
	user, _, _ := s.org.ApplicationUser(applicationID)
	role := rows(t, s.get("systemusers("+user+")/systemuserroles_association"))[0]["roleid"].(string)
	s.api(204, "DELETE", "systemusers("+user+")/systemuserroles_association("+role+")/$ref", "")
	if got := s.api(403, "GET", "accounts", ""); got.errorCode(t) != "0x80040220" {
		t.Errorf("without a role: %s", got.body)
	}
	s.api(200, "GET", "WhoAmI", "")
	s.api(403, "PATCH", "systemusers("+user+")", `{"isdisabled":true}`)
	s.org.RemoveApplicationUser(applicationID)
	if got := s.api(403, "GET", "WhoAmI", ""); got.errorCode(t) != "0x80072560" {
		t.Errorf("without a user: %s", got.body)
	}
}

func TestDisabledUser(t *testing.T) {
	s := newSite(t)
	user, _, _ := s.org.ApplicationUser(applicationID)
	s.api(204, "PATCH", "systemusers("+user+")", `{"isdisabled":true}`)
	if got := s.api(403, "GET", "WhoAmI", ""); got.errorCode(t) != "0x80040225" {
		t.Errorf("a disabled user: %s", got.body)
	}
}

const soapEnvelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/><s:Body><Execute xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services">` +
	`<request xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts"><a:Parameters/><a:RequestName>NAME</a:RequestName></request></Execute></s:Body></s:Envelope>`

func TestSOAP(t *testing.T) {
	s := newSite(t)
	const path = "/XRMServices/2011/Organization.svc"
	user, _, _ := s.org.ApplicationUser(applicationID)
	got := s.send("POST", path+"/web?SDKClientVersion=9.2.49.1", strings.Replace(soapEnvelope, "NAME", "WhoAmI", 1), "Content-Type: text/xml; charset=utf-8")
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/xml") {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got.contains(t, "<a:ResponseName>WhoAmI</a:ResponseName>", "<b:key>UserId</b:key>", ">"+user+"<", ">"+organizationID+"<")
	for _, body := range []string{strings.Replace(soapEnvelope, "NAME", "Assign", 1), "not xml", strings.Replace(soapEnvelope, "Execute", "Retrieve", 2)} {
		refused := s.send("POST", path+"/web", body)
		if refused.status != 500 || !strings.Contains(refused.body, "<OrganizationServiceFault ") {
			t.Errorf("%d %s", refused.status, refused.body)
		}
	}
	s.send("GET", path+"?wsdl", "").contains(t, `<soap:address location="https://`+orgHost+path+`"/>`)
	if got := s.send("GET", "/XRMServices/2011/OrganizationData.svc", ""); got.status != 404 {
		t.Errorf("the retired endpoint answers %d", got.status)
	}
}

func TestSearch(t *testing.T) {
	s := newSite(t)
	got := s.send("POST", "/api/search/v1.0/query", `{"search":"contoso","entities":["account"],"count":true,"top":2}`)
	if got.status != 200 || len(rows(t, got.json(t))) != 2 || got.json(t)["totalrecordcount"] != 3.0 {
		t.Errorf("v1: %d %s", got.status, got.body)
	}
	second := s.send("POST", "/api/search/v2.0/query", `{"search":"Contoso Retail","entities":"[{\"name\":\"account\"}]","count":true}`)
	var inner struct {
		Value []struct{ EntityName string }
		Count int
	}
	if err := json.Unmarshal([]byte(second.json(t)["response"].(string)), &inner); err != nil || inner.Count != 1 || inner.Value[0].EntityName != "account" {
		t.Errorf("v2: %v %s", err, second.body)
	}
	for body, status := range map[string]int{`{"search":""}`: 400, `{"search":"a","filter":"x"}`: 400, `{"search":"a*"}`: 501, `{"search":"a","entities":["nope"]}`: 400, `nope`: 400} {
		if got := s.send("POST", "/api/search/v1.0/query", body); got.status != status {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	for target, want := range map[string]string{
		"/api/search/v1.0/suggest":          `"text":"Contoso Retail"`,
		"/api/search/v1.0/autocomplete":     `"value":"Contoso Retail"`,
		"/API/Search/V2.0/Suggest":          `\"Text\":\"Contoso Retail\"`,
		"/api/data/v9.2/searchquery":        `#Microsoft.Dynamics.CRM.searchqueryResponse","response":"{`,
		"/api/data/v9.2/searchsuggest":      `\"Text\":\"Contoso Retail\"`,
		"/API/Data/V9.2/searchautocomplete": `\"Value\":\"Contoso Retail\"`,
	} {
		got := s.send("POST", target, "\ufeff"+`{"search":"contoso retail"}`, "Content-Type: application/json")
		if got.status != 200 {
			t.Errorf("%s: %d", target, got.status)
		}
		got.contains(t, want)
	}
	for method, target := range map[string]string{"GET": "/api/data/v9.2/searchquery", "PUT": "/api/search/v1.0/query"} {
		if got := s.send(method, target, `{"search":"a"}`); got.status < 400 {
			t.Errorf("%s %s: %d", method, target, got.status)
		}
	}
}

// TestSpellingsThatServersTake holds what Windows servers do not mind.
func TestSpellingsThatServersTake(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/API/Data/V9.2/WhoAmI", "/Api/data/v9.2/accounts?$top=1&MSCRM.BypassCustomPluginExecution=true", "/api/DATA/v9.2"} {
		if got := s.send("GET", path, ""); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	s.send("GET", "/API/DATA/V9.2/accounts?$top=1", "").contains(t, orgRoot+"$metadata#accounts")
	id := s.make("accounts", `{"name":"by another method"}`)
	s.api(204, "POST", "accounts("+id+")", `{"name":"changed"}`, "X-HTTP-Method-Override: PATCH")
	part := item("POST accounts(" + id + ") HTTP/1.1\nX-HTTP-Method:\nX-HTTP-Method-Override: DELETE\n\n")
	if got := s.api(200, "POST", "$batch", multipart("batch_1", part), batchType); statuses(got) != "204" {
		t.Errorf("a method that a part names: %s", got.body)
	}
	s.api(404, "POST", "accounts("+id+")", "", "X-HTTP-Method: ", "X-HTTP-Method: GET")
	s.api(204, "POST", "accounts?SuppressDuplicateDetection=true", "\ufeff"+`{"name":"with a byte order mark"}`)
}

func TestConcurrentUse(t *testing.T) {
	s := newSite(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				for _, call := range []struct{ method, path, body string }{
					{"POST", "accounts", `{"name":"c"}`}, {"GET", "accounts?$expand=Account_Tasks&$orderby=name", ""},
					{"GET", "contacts?fetchXml=" + escape(`<fetch><entity name="contact"/></fetch>`), ""}, {"POST", "$batch", multipart("batch_1", changeSet(item("POST contacts HTTP/1.1\n\n{\"lastname\":\"c\"}", "1")))},
				} {
					req, err := http.NewRequest(call.method, s.server.URL+"/api/data/v9.2/"+call.path, strings.NewReader(call.body))
					if err != nil {
						t.Error(err)
						return
					}
					req.Header.Set("Content-Type", "multipart/mixed; boundary=batch_1")
					res, err := s.server.Client().Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode >= 400 {
						t.Errorf("%s %s: %s", call.method, call.path, res.Status)
					}
				}
			}
		})
	}
	all.Wait()
	if got := s.api(200, "GET", "accounts/$count", ""); got.body != "\ufeff68" {
		t.Errorf("%s accounts, want 68", got.body)
	}
}
