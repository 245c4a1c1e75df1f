package dataverse_test

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"dynproxy/internal/emulator/dataverse"
)

const soapService = "/XRMServices/2011/Organization.svc"

// envelope is an operation in SOAP 1.1, with what stands in its header.
func envelope(header, operation string) string {
	return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:b="http://schemas.datacontract.org/2004/07/System.Collections.Generic" ` +
		`xmlns:c="http://www.w3.org/2001/XMLSchema" xmlns:d="http://schemas.microsoft.com/2003/10/Serialization/" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><s:Header>` + header + `</s:Header><s:Body>` +
		regexp.MustCompile(`^<(\w+)`).ReplaceAllString(operation, `<$1 xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"`) + `</s:Body></s:Envelope>`
}

// soap sends an operation and checks the status.
func (s *site) soap(status int, operation string) reply {
	s.t.Helper()
	got := s.send("POST", soapService+"/web", envelope("", operation), "Content-Type: text/xml; charset=utf-8", `SOAPAction: "x"`)
	if got.status != status {
		s.t.Fatalf("%d, want %d: %s", got.status, status, got.body)
	}
	return got
}

func attribute(name, kind, value string) string {
	return `<a:KeyValuePairOfstringanyType><b:key>` + name + `</b:key><b:value i:type="` + kind + `">` + value + `</b:value></a:KeyValuePairOfstringanyType>`
}

func soapEntity(name, id string, attributes ...string) string {
	if id != "" {
		id = "<a:Id>" + id + "</a:Id>"
	}
	return "<a:Attributes>" + strings.Join(attributes, "") + "</a:Attributes>" + id + "<a:LogicalName>" + name + "</a:LogicalName>"
}

func request(name, parameters string) string {
	return "<request><a:Parameters>" + parameters + "</a:Parameters><a:RequestName>" + name + "</a:RequestName></request>"
}

func parameter(name, kind, value string) string { return attribute(name, kind, value) }

var guidForm = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

func TestSOAPOperations(t *testing.T) {
	s := newSite(t)
	contact := s.make("contacts", `{"lastname":"Sample"}`)
	made := s.soap(200, "<Create><entity>"+soapEntity("account", "", attribute("name", "c:string", "From SOAP &amp; more"),
		attribute("revenue", "a:Money", "<a:Value>12.5</a:Value>"), attribute("industrycode", "a:OptionSetValue", "<a:Value>7</a:Value>"),
		attribute("creditonhold", "c:boolean", "true"), attribute("numberofemployees", "c:int", "3"), attribute("address1_latitude", "c:double", "1.5"),
		attribute("primarycontactid", "a:EntityReference", "<a:Id>"+contact+"</a:Id><a:LogicalName>contact</a:LogicalName>"))+"</entity></Create>")
	id := guidForm.FindString(made.body[strings.Index(made.body, "<CreateResult>"):])
	held := s.get("accounts(" + id + ")")
	if held["name"] != "From SOAP & more" || held["revenue"] != 12.5 || held["industrycode"] != 7.0 || held["_primarycontactid_value"] != contact || held["creditonhold"] != true {
		t.Errorf("created: %v", held)
	}
	got := s.soap(200, "<Retrieve><entityName>account</entityName><id>"+id+"</id><columnSet><a:AllColumns>true</a:AllColumns></columnSet></Retrieve>")
	got.contains(t, `<b:key>name</b:key><b:value i:type="c:string">From SOAP &amp; more</b:value>`, `<b:value i:type="a:Money"><a:Value>12.5000</a:Value>`,
		`<b:value i:type="a:EntityReference"><a:Id>`+contact, `<a:LogicalName>account</a:LogicalName>`, `<b:key>creditonhold</b:key><b:value>Yes</b:value>`)
	s.soap(200, "<Update><entity>"+soapEntity("account", id, attribute("name", "c:string", "Changed"))+"</entity></Update>")
	narrow := s.soap(200, `<Retrieve><entityName>account</entityName><id>`+id+`</id><columnSet><a:AllColumns>false</a:AllColumns><a:Columns xmlns:f="http://schemas.microsoft.com/2003/10/Serialization/Arrays"><f:string>name</f:string></a:Columns></columnSet></Retrieve>`)
	narrow.contains(t, ">Changed<")
	if strings.Contains(narrow.body, "revenue") {
		t.Errorf("columns that were not asked for: %s", narrow.body)
	}
	s.soap(200, "<Delete><entityName>account</entityName><id>"+id+"</id></Delete>")
	if gone := s.send("GET", "/api/data/v9.2/accounts("+id+")", ""); gone.status != 404 {
		t.Errorf("after Delete: %d", gone.status)
	}
	s.soap(500, "<Delete><entityName>account</entityName><id>"+id+"</id></Delete>").contains(t, "<ErrorCode>-2147220969</ErrorCode>", "Does Not Exist")
}

func TestSOAPQueries(t *testing.T) {
	s := newSite(t)
	fetch := `<a:Query>&lt;fetch count="2"&gt;&lt;entity name="account"&gt;&lt;attribute name="name"/&gt;&lt;/entity&gt;&lt;/fetch&gt;</a:Query>`
	first := s.soap(200, `<RetrieveMultiple><query i:type="a:FetchExpression">`+fetch+`</query></RetrieveMultiple>`)
	first.contains(t, "<a:EntityName>account</a:EntityName>", "<a:MoreRecords>true</a:MoreRecords>", "<a:PagingCookie>&lt;cookie page=")
	if n := strings.Count(first.body, "<a:Entity>"); n != 2 {
		t.Errorf("%d records", n)
	}
	cookie := regexp.MustCompile(`<a:PagingCookie>(.*)</a:PagingCookie>`).FindStringSubmatch(first.body)[1]
	second := s.soap(200, `<Execute>`+request("RetrieveMultiple", parameter("Query", "a:QueryExpression", `<a:ColumnSet><a:AllColumns>false</a:AllColumns><a:Columns><f xmlns="x">name</f></a:Columns></a:ColumnSet>`+
		`<a:Criteria><a:Conditions><a:ConditionExpression><a:AttributeName>name</a:AttributeName><a:Operator>Like</a:Operator><a:Values><x i:type="c:string">Contoso%</x></a:Values></a:ConditionExpression></a:Conditions><a:FilterOperator>And</a:FilterOperator></a:Criteria>`+
		`<a:EntityName>account</a:EntityName><a:Orders><a:OrderExpression><a:AttributeName>name</a:AttributeName><a:OrderType>Descending</a:OrderType></a:OrderExpression></a:Orders>`+
		`<a:PageInfo><a:Count>2</a:Count><a:PageNumber>1</a:PageNumber></a:PageInfo>`))+`</Execute>`)
	second.contains(t, "<a:ResponseName>RetrieveMultiple</a:ResponseName>", ">Contoso Retail<", "<a:MoreRecords>true</a:MoreRecords>")
	next := s.soap(200, `<RetrieveMultiple><query i:type="a:QueryExpression"><a:ColumnSet><a:AllColumns>true</a:AllColumns></a:ColumnSet><a:EntityName>account</a:EntityName><a:PageInfo><a:Count>50</a:Count><a:PageNumber>2</a:PageNumber><a:PagingCookie>`+cookie+`</a:PagingCookie></a:PageInfo></query></RetrieveMultiple>`)
	if n := strings.Count(next.body, "<a:Entity>"); n != 34 {
		t.Errorf("%d records on the second page", n)
	}
	for _, bad := range []string{`<RetrieveMultiple/>`, `<RetrieveMultiple><query i:type="a:QueryByAttribute"/></RetrieveMultiple>`, `<RetrieveMultiple><query i:type="a:FetchExpression"><a:Query>no</a:Query></query></RetrieveMultiple>`} {
		s.soap(500, bad).contains(t, "<OrganizationServiceFault ")
	}
}

func TestSOAPSeveralRequests(t *testing.T) {
	s := newSite(t)
	user, _, _ := s.org.ApplicationUser(applicationID)
	list := func(name string) string {
		create := func(n, kind string) string {
			return "<a:OrganizationRequest>" + strings.TrimSuffix(strings.TrimPrefix(request("Create", parameter("Target", "a:Entity", soapEntity("account", "", attribute("name", kind, n)))), "<request>"), "</request>") + "</a:OrganizationRequest>"
		}
		return `<Execute>` + request(name, parameter("Requests", "a:OrganizationRequestCollection", create("several 1", "c:string")+create("several 2", "c:int")+create("several 3", "c:string"))+
			parameter("Settings", "a:ExecuteMultipleSettings", "<a:ContinueOnError>true</a:ContinueOnError><a:ReturnResponses>true</a:ReturnResponses>")+
			parameter("BypassCustomPluginExecution", "c:boolean", "true")) + `</Execute>`
	}
	count := func() int { return len(rows(t, s.get("accounts?$filter=startswith(name,'several')"))) }
	s.soap(500, list("ExecuteTransaction")).contains(t, "request 1 of the transaction")
	if n := count(); n != 0 {
		t.Errorf("a failed transaction left %d records", n)
	}
	s.soap(200, list("ExecuteMultiple")).contains(t, `<b:key>IsFaulted</b:key><b:value i:type="c:boolean">true`, "<e:RequestIndex>2</e:RequestIndex>", "Incorrect attribute value type")
	if n := count(); n != 2 {
		t.Errorf("%d records", n)
	}
	s.soap(200, "<Execute>"+request("WhoAmI", "")+"</Execute>").contains(t, ">"+user+"<")
}

func TestSOAPActsForACaller(t *testing.T) {
	s := newSite(t)
	someone := rows(t, s.get("systemusers?$filter=lastname%20eq%20'Becker'"))[0]["systemuserid"].(string)
	user, _, _ := s.org.ApplicationUser(applicationID)
	body := envelope("<a:CallerId>"+someone+"</a:CallerId>", "<Create><entity>"+soapEntity("account", "", attribute("name", "c:string", "for another"))+"</entity></Create>")
	if got := s.send("POST", soapService+"/web", body, "Content-Type: text/xml"); got.status != 200 {
		t.Fatal(got.body)
	}
	made := rows(t, s.get("accounts?$filter=name%20eq%20'for%20another'"))[0]
	if made["_createdby_value"] != someone || made["_createdonbehalfby_value"] != user {
		t.Errorf("created by %v on behalf %v", made["_createdby_value"], made["_createdonbehalfby_value"])
	}
}

func TestSOAPRefused(t *testing.T) {
	s := newSite(t)
	whole := envelope("", "<Execute>"+request("WhoAmI", "")+"</Execute>")
	for what, body := range map[string]string{
		"SOAP 1.2":          strings.Replace(whole, "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope", 1),
		"another namespace": strings.Replace(whole, "Contracts/Services", "Contracts/Other", 1),
		"no body":           `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"/>`,
		"unknown message":   strings.Replace(whole, "WhoAmI", "WhoAreYou", 1),
		"unknown table":     envelope("", "<Retrieve><entityName>nope</entityName><id>"+organizationID+"</id></Retrieve>"),
		"no id":             envelope("", "<Retrieve><entityName>account</entityName></Retrieve>"),
		"unknown column":    envelope("", "<Create><entity>"+soapEntity("account", "", attribute("nope", "c:string", "x"))+"</entity></Create>"),
		"no type":           strings.Replace(envelope("", "<Create><entity>"+soapEntity("account", "", attribute("name", "c:string", "x"))+"</entity></Create>"), ` i:type="c:string"`, "", 1),
		"JSON":              `{"name":"x"}`,
	} {
		got := s.send("POST", soapService, body, "Content-Type: text/xml")
		if got.status != 500 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/xml") {
			t.Errorf("%s: %d %v", what, got.status, got.header)
		}
		got.contains(t, "<s:Fault>", "<OrganizationServiceFault ")
	}
	if got := s.send("POST", soapService, whole, "Content-Type: application/soap+xml"); got.status != 415 {
		t.Errorf("application/soap+xml: %d", got.status)
	}
	for path, location := range map[string]string{"?wsdl": "", "/web?singleWsdl": "/web", "?singleWSDL&sdkversion=9": ""} {
		s.send("GET", soapService+path, "").contains(t, `<soap:address location="https://`+orgHost+soapService+location+`"/>`, "<wsdl:binding ", "<wsdl:portType ", `soapAction="`)
	}
}

// TestFaultDurations holds how .NET writes a TimeSpan.
func TestFaultDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{5 * time.Second: "PT5S", 65 * time.Second: "PT1M5S", 5 * time.Minute: "PT5M", 1500 * time.Millisecond: "PT1.5S", time.Hour + time.Second: "PT1H1S"} {
		w := httptest.NewRecorder()
		dataverse.WriteFault(w, "0x80072322", "m", d)
		if body := w.Body.String(); !strings.Contains(body, ">"+want+"<") || !strings.Contains(body, fmt.Sprintf("<ErrorCode>%d<", -2147015902)) {
			t.Errorf("%v: %s", d, body)
		}
	}
}
