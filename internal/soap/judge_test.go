package soap

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	codes "unicode/utf16"
)

const services = "http://schemas.microsoft.com/xrm/2011/Contracts/Services"

// envelope is as SDK clients write one.
func envelope(header, body string) string {
	return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>` + header + `</s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
}

func execute(request string) string {
	return `<Execute xmlns="` + services + `" xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts">` + request + `</Execute>`
}

func named(name string) string {
	return `<request><a:Parameters xmlns:b="http://schemas.datacontract.org/2004/07/System.Collections.Generic"/><a:RequestId i:nil="true"/><a:RequestName>` + name + `</a:RequestName></request>`
}

func multiple(name string, inner ...string) string {
	var all strings.Builder
	for _, one := range inner {
		all.WriteString(`<a:OrganizationRequest><a:Parameters/><a:RequestId i:nil="true"/><a:RequestName>` + one + `</a:RequestName></a:OrganizationRequest>`)
	}
	return `<request><a:Parameters xmlns:b="http://schemas.datacontract.org/2004/07/System.Collections.Generic"><a:KeyValuePairOfstringanyType><b:key>Requests</b:key><b:value i:type="a:OrganizationRequestCollection">` +
		all.String() + `</b:value></a:KeyValuePairOfstringanyType></a:Parameters><a:RequestId i:nil="true"/><a:RequestName>` + name + `</a:RequestName></request>`
}

func keyed(key string) string {
	return `<request><a:Parameters xmlns:b="http://schemas.datacontract.org/2004/07/System.Collections.Generic"><a:KeyValuePairOfstringanyType><b:key>` + key +
		`</b:key><b:value i:type="c:boolean" xmlns:c="http://www.w3.org/2001/XMLSchema">true</b:value></a:KeyValuePairOfstringanyType></a:Parameters><a:RequestName>Create</a:RequestName></request>`
}

func judged(t *testing.T, text string) (Envelope, error) {
	t.Helper()
	whole, err := Judge(nil, strings.NewReader(text))
	// However the bytes come in, they say the same.
	piecewise, err2 := Judge(nil, iotest.OneByteReader(strings.NewReader(text)))
	if whole != piecewise || (err == nil) != (err2 == nil) {
		t.Errorf("in pieces: %+v, %v; in one: %+v, %v", piecewise, err2, whole, err)
	}
	return whole, err
}

func TestWhatAMessageDoes(t *testing.T) {
	const soap12 = `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><RetrieveMultiple xmlns="` + services + `"/></e:Body></e:Envelope>`
	for _, c := range []struct {
		about, text string
		want        Envelope
	}{
		{"who am I", envelope("", execute(named("WhoAmI"))), Envelope{Operation: "Execute", Message: "WhoAmI"}},
		{"a typed request", envelope("", execute(strings.Replace(named("WhoAmI"), "<request>", `<request i:type="x:WhoAmIRequest" xmlns:x="http://schemas.microsoft.com/crm/2011/Contracts">`, 1))), Envelope{Operation: "Execute", Message: "WhoAmI"}},
		{"a general request", envelope("", execute(strings.Replace(named("WhoAmI"), "<request>", `<request i:type="a:OrganizationRequest">`, 1))), Envelope{Operation: "Execute", Message: "WhoAmI"}},
		{"without a header", `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><Retrieve xmlns=""/></Body></Envelope>`, Envelope{Operation: "Retrieve"}},
		{"SOAP 1.2", soap12, Envelope{Operation: "RetrieveMultiple"}},
		{"a byte order mark and a declaration", "\ufeff<?xml version='1.0' encoding=\"UTF-8\" standalone='yes' ?>\r\n<!-- by hand -->" + soap12 + "\n<!-- end -->\n", Envelope{Operation: "RetrieveMultiple"}},
		{"metadata", envelope("", execute(named("RetrieveAllEntities"))), Envelope{Operation: "Execute", Message: "RetrieveAllEntities"}},
		{"create", envelope("", `<Create xmlns="`+services+`"><entity/></Create>`), Envelope{Operation: "Create", Write: "Create"}},
		{"an operation nobody knows", envelope("", `<Frobnicate/>`), Envelope{Operation: "Frobnicate", Write: "Frobnicate"}},
		{"create as a message", envelope("", execute(named("Create"))), Envelope{Operation: "Execute", Message: "Create", Write: "Create"}},
		{"many reads", envelope("", execute(multiple("ExecuteMultiple", "WhoAmI", "RetrieveMultiple"))), Envelope{Operation: "Execute", Message: "ExecuteMultiple", Requests: 2}},
		{"a write among reads", envelope("", execute(multiple("ExecuteTransaction", "WhoAmI", "Delete", "Create"))), Envelope{Operation: "Execute", Message: "ExecuteTransaction", Requests: 3, Write: "Delete", Deletes: "Delete"}},
		{"an update behind a create", envelope("", execute(multiple("ExecuteMultiple", "Create", "Update"))), Envelope{Operation: "Execute", Message: "ExecuteMultiple", Requests: 2, Write: "Create", Updates: "Update"}},
		{"a deletion by its type alone", envelope("", execute(`<request i:type="a:DeleteRequest"/>`)), Envelope{Operation: "Execute", Write: "a request without a name", Deletes: "Delete"}},
		{"a tie cut", envelope("", `<Disassociate/>`), Envelope{Operation: "Disassociate", Write: "Disassociate", Deletes: "Disassociate"}},
		{"many of nothing", envelope("", execute(multiple("ExecuteMultiple"))), Envelope{Operation: "Execute", Message: "ExecuteMultiple", Write: "ExecuteMultiple"}},
		{"reads that run later", envelope("", execute(multiple("ExecuteAsync", "WhoAmI"))), Envelope{Operation: "Execute", Message: "ExecuteAsync", Requests: 1, Write: "ExecuteAsync"}},
		{"somebody else", envelope(`<a:CallerId xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts">7bd2a5f0-0000-0000-0000-000000000001</a:CallerId>`, execute(named("WhoAmI"))), Envelope{Operation: "Execute", Message: "WhoAmI", Impersonates: "CallerId"}},
		{"nobody else", envelope(`<a:CallerId xmlns:a="x">00000000-0000-0000-0000-000000000000</a:CallerId><a:CallerObjectId xmlns:a="x"/>`, execute(named("WhoAmI"))), Envelope{Operation: "Execute", Message: "WhoAmI"}},
		{"round plug-ins", envelope("", execute(keyed("BypassCustomPluginExecution"))), Envelope{Operation: "Execute", Message: "Create", Write: "Create", Bypasses: "BypassCustomPluginExecution"}},
		{"duplicates", envelope("", execute(keyed("SuppressDuplicateDetection"))), Envelope{Operation: "Execute", Message: "Create", Write: "Create"}},
		{"large data", envelope("", `<Create><entity><v>`+strings.Repeat("base64 ", 50000)+`</v></entity></Create>`), Envelope{Operation: "Create", Write: "Create"}},
	} {
		if got, err := judged(t, c.text); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.about, got, err, c.want)
		}
	}
}

// Each of these says something that a hasty reader would miss.
func TestTricksAreSeenThrough(t *testing.T) {
	who := execute(named("WhoAmI"))
	for about, text := range map[string]string{
		"a comment inside a name":           envelope("", execute(named("Del<!-- -->ete"))),
		"CDATA inside a name":               envelope("", execute(named("<![CDATA[Del]]>ete"))),
		"a reference inside a name":         envelope("", execute(named("&#68;ele&#x74;e"))),
		"white space around a name":         envelope("", execute(named("\n  Delete\t"))),
		"another case":                      envelope("", execute(named("delete"))),
		"a reading message in another case": envelope("", execute(named("retrievemultiple"))),
		"a type that differs":               envelope("", execute(strings.Replace(named("WhoAmI"), "<request>", `<request i:type="x:DeleteRequest" xmlns:x="y">`, 1))),
		"a type without a name":             envelope("", execute(`<request i:type="a:WhoAmIRequest"/>`)),
		"no name":                           envelope("", execute(`<request><a:Parameters/></request>`)),
		"no request":                        envelope("", execute(``)),
		"a name outside the request":        envelope("", execute(`<a:RequestName>WhoAmI</a:RequestName>`)),
		"a second request":                  envelope("", execute(named("WhoAmI")+named("Delete"))),
		"a write behind the outer name":     envelope("", execute(strings.Replace(multiple("WhoAmI", "Delete"), "x", "x", 1))),
		"a write two levels down":           envelope("", execute(strings.Replace(multiple("ExecuteMultiple", "INNER"), `<a:OrganizationRequest><a:Parameters/><a:RequestId i:nil="true"/><a:RequestName>INNER</a:RequestName></a:OrganizationRequest>`, strings.Replace(strings.Replace(multiple("ExecuteTransaction", "WhoAmI", "Delete"), "<request>", "<a:OrganizationRequest>", 1), "</request>", "</a:OrganizationRequest>", 1), 1))),
		"an inner request by another name":  envelope("", execute(strings.NewReplacer("<a:OrganizationRequest>", `<a:anyType i:type="b:OrganizationRequest">`, "</a:OrganizationRequest>", "</a:anyType>").Replace(multiple("ExecuteMultiple", "Delete")))),
		"an inner request without a name":   envelope("", execute(strings.Replace(multiple("ExecuteMultiple", "WhoAmI", "GONE"), "<a:RequestName>GONE</a:RequestName>", "", 1))),
		"names in another namespace":        envelope("", strings.ReplaceAll(execute(named("Delete")), "schemas.microsoft.com", "example.com")),
	} {
		if got, err := judged(t, text); err != nil || got.Write == "" {
			t.Errorf("%s: %+v, %v; want a write", about, got, err)
		}
	}
	for about, header := range map[string]string{
		"another prefix":    `<zz:CallerId xmlns:zz="x">7</zz:CallerId>`,
		"no prefix":         `<CallerId>7</CallerId>`,
		"another case":      `<callerID>7</callerID>`,
		"by Entra's id":     `<CallerObjectId>7</CallerObjectId>`,
		"inside another":    `<CrmAuthenticationToken><CallerId>7</CallerId></CrmAuthenticationToken>`,
		"CDATA":             `<CallerId><![CDATA[7]]></CallerId>`,
		"second":            `<CallerId/><CallerId>7</CallerId>`,
		"by another name":   `<MSCRMCallerID>7</MSCRMCallerID>`,
		"the reverse first": `<ImpersonatedUserId>7</ImpersonatedUserId>`,
	} {
		if got, err := judged(t, envelope(header, who)); err != nil || got.Impersonates == "" {
			t.Errorf("CallerId, %s: %+v, %v", about, got, err)
		}
	}
	for _, key := range []string{
		"BypassBusinessLogicExecution", "BypassBusinessLogicExecutionStepIds", "SuppressCallbackRegistrationExpanderJob", " BypassCustomPluginExecution ",
		"Bypass<!---->CustomPluginExecution", "<![CDATA[BypassCustomPluginExecution]]>", "bypasscustompluginexecution", "By&#112;assCustomPluginExecution", "BypassWhatComesNext",
	} {
		if got, err := judged(t, envelope("", execute(keyed(key)))); err != nil || got.Bypasses == "" {
			t.Errorf("key %q: %+v, %v", key, got, err)
		}
	}
}

func TestWhatCannotBeJudged(t *testing.T) {
	good := envelope("", execute(named("WhoAmI")))
	in := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the envelope", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for about, text := range map[string]string{
		"nothing":                            "",
		"no XML":                             "hello, world",
		"JSON":                               `{"RequestName":"WhoAmI"}`,
		"an end too early":                   good[:len(good)-12],
		"a second envelope":                  good + good,
		"a second envelope, empty":           good + `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"/>`,
		"words behind":                       good + "x",
		"words before":                       "x" + good,
		"white space before the declaration": " <?xml version='1.0'?>" + good,
		"two Bodies":                         in("</s:Envelope>", "<s:Body/></s:Envelope>"),
		"a Body elsewhere":                   in("</s:Envelope>", "<Body><Delete/></Body></s:Envelope>"),
		"two Headers":                        in("<s:Body>", "<s:Header/><s:Body>"),
		"a Header behind":                    in("</s:Envelope>", "<s:Header/></s:Envelope>"),
		"no Body":                            `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"/>`,
		"an empty Body":                      envelope("", ""),
		"two operations":                     in("</s:Body>", "<Delete/></s:Body>"),
		"no SOAP":                            strings.ReplaceAll(good, "schemas.xmlsoap.org", "example.org"),
		"another Body's namespace":           in("<s:Body>", `<s:Body xmlns:s="http://www.w3.org/2003/05/soap-envelope">`),
		"a document type":                    `<!DOCTYPE s [<!ENTITY d "Delete">]>` + good,
		"an entity":                          in("WhoAmI", "&d;"),
		"an instruction":                     in("WhoAmI", "Who<?x y?>AmI"),
		"a second RequestName":               in("<a:RequestName>", "<a:RequestName>Delete</a:RequestName><a:RequestName>"),
		"a second one by another prefix":     in("<a:RequestName>", `<z:RequestName xmlns:z="y">Delete</z:RequestName><a:RequestName>`),
		"an element inside a name":           in("WhoAmI", "WhoAmI<x/>"),
		"an element inside a key":            envelope("", execute(keyed("Bypass<x/>CustomPluginExecution"))),
		"a value from elsewhere":             in("<a:RequestName>", `<a:RequestName z:Ref="i1" xmlns:z="http://schemas.microsoft.com/2003/10/Serialization/">`),
		"a prefix nobody declared":           in("a:RequestName>WhoAmI</a:RequestName", "q:RequestName>WhoAmI</q:RequestName"),
		"a prefix undeclared":                in("<a:RequestName>", `<a:RequestName xmlns:a="">`),
		"a prefix for XML's own":             in("<a:RequestName>", `<a:RequestName xmlns:z="http://www.w3.org/XML/1998/namespace">`),
		"XML's own prefix for another":       in("<a:RequestName>", `<a:RequestName xmlns:xml="y">`),
		"a tag not closed":                   in("</a:RequestName>", ""),
		"a tag closed by another":            in("</a:RequestName>", "</b:RequestName>"),
		"an attribute twice":                 in("<request>", `<request x="1" x="2">`),
		"an attribute twice by prefix":       in("<request>", `<request xmlns:p="u" xmlns:q="u" p:x="1" q:x="2">`),
		"an attribute without quotes":        in("<request>", `<request x=1>`),
		"attributes that touch":              in("<request>", `<request x="1"y="2">`),
		"'<' in an attribute":                in("<request>", `<request x="<">`),
		"']]>' in text":                      in("WhoAmI", "Who]]>AmI"),
		"'--' in a comment":                  in("WhoAmI", "<!-- a -- b -->WhoAmI"),
		"CDATA outside":                      "<![CDATA[]]>" + good,
		"a NUL":                              in("WhoAmI", "WhoAmI\x00"),
		"a NUL by reference":                 in("WhoAmI", "WhoAmI&#0;"),
		"half a character":                   in("WhoAmI", "WhoAmI\xc3"),
		"too long a UTF-8":                   in("WhoAmI", "WhoAmI\xc0\xbc"),
		"latin-1":                            `<?xml version="1.0" encoding="iso-8859-1"?>` + good,
		"UTF-16 that is none":                `<?xml version="1.0" encoding="utf-16"?>` + good,
		"XML 1.1":                            `<?xml version="1.1"?>` + good,
		"a declaration of its own":           `<?xml?>` + good,
		"too deep":                           in("WhoAmI", strings.Repeat("<x>", 200)+strings.Repeat("</x>", 200)),
		"deep without end":                   in("<request>", strings.Repeat("<x>", 1<<16)),
		"too long a name":                    in("WhoAmI", strings.Repeat("W", maxValue+1)),
		"too long a tag":                     in("<request>", "<"+strings.Repeat("r", maxName+1)+">"),
		"two colons":                         in("<request>", "<a:b:c/><request>"),
		"a name beyond ASCII":                in("<request>", "<réquest/><request>"),
	} {
		_, err := judged(t, text)
		if _, ok := errors.AsType[*Unreadable](err); !ok {
			t.Errorf("%s: %v", about, err)
		}
	}
}

func TestUTF16(t *testing.T) {
	text := `<?xml version="1.0" encoding="utf-16"?>` + envelope("", execute(named("Delete"))+"<!-- 😀 -->")
	for _, little := range []bool{true, false} {
		for _, mark := range []string{"", "\ufeff"} {
			var raw []byte
			for _, u := range codes.Encode([]rune(mark + text)) {
				if little {
					raw = append(raw, byte(u), byte(u>>8))
				} else {
					raw = append(raw, byte(u>>8), byte(u))
				}
			}
			for _, charset := range []string{"", "; charset=utf-16"} {
				got, err := Judge(http.Header{"Content-Type": {"text/xml" + charset}}, iotest.OneByteReader(strings.NewReader(string(raw))))
				if err != nil || got.Write != "Delete" {
					t.Errorf("little %v, mark %q, charset %q: %+v, %v", little, mark, charset, got, err)
				}
			}
			for about, bad := range map[string][]byte{"odd": raw[:len(raw)-1], "half a pair": append(raw[:len(raw):len(raw)], 0xd8, 0xd8)} {
				if _, err := Judge(nil, strings.NewReader(string(bad))); err == nil {
					t.Errorf("little %v, mark %q, %s: no error", little, mark, about)
				}
			}
			if _, err := Judge(http.Header{"Content-Type": {"text/xml; charset=utf-8"}}, strings.NewReader(string(raw))); err == nil {
				t.Error("UTF-16 passes as UTF-8")
			}
		}
	}
}

func TestHeadersThatDisagree(t *testing.T) {
	const write, refused = "write", "refused"
	const action = services + "/IOrganizationService/"
	for _, c := range []struct {
		about  string
		header http.Header
		want   string
	}{
		{"none", http.Header{}, ""},
		{"as SDKs write them", http.Header{"Content-Type": {"text/xml; charset=utf-8"}, "Soapaction": {`"` + action + `Execute"`}}, ""},
		{"as SOAP::Lite writes them", http.Header{"Content-Type": {"text/xml; charset=utf-8"}, "Soapaction": {`"` + services + `#Execute"`}}, ""},
		{"an empty action", http.Header{"Soapaction": {`""`}}, ""},
		{"as WinHTTP writes them", http.Header{"Content-Type": {"text/xml; charset=utf-8; Charset=UTF-8"}}, ""},
		{"an action that is none", http.Header{"Soapaction": {"x"}}, ""},
		{"an action in another case", http.Header{"Soapaction": {"delete"}}, write},
		{"SOAP 1.2", http.Header{"Content-Type": {`application/soap+xml; charset=utf-8; action="` + action + `Execute"`}}, ""},
		{"another action", http.Header{"Soapaction": {`"` + action + `Delete"`}}, write},
		{"another action, second", http.Header{"Soapaction": {action + "Execute", action + "Delete"}}, write},
		{"another action, in a list", http.Header{"Soapaction": {`"` + action + `Delete", "` + action + `Execute"`}}, write},
		{"another action of SOAP 1.2", http.Header{"Content-Type": {`application/soap+xml;action="` + action + `Delete"`}}, write},
		{"two types", http.Header{"Content-Type": {"text/xml", "application/soap+msbin1"}}, refused},
		{"binary", http.Header{"Content-Type": {"application/soap+msbin1"}}, refused},
		{"MTOM", http.Header{"Content-Type": {`multipart/related; type="application/xop+xml"`}}, refused},
		{"another charset", http.Header{"Content-Type": {"text/xml; charset=iso-8859-1"}}, refused},
		{"UTF-7", http.Header{"Content-Type": {"text/xml; charset=utf-7"}}, refused},
		{"two charsets", http.Header{"Content-Type": {"text/xml; charset=utf-8; charset=utf-16"}}, refused},
		{"UTF-16 that is none", http.Header{"Content-Type": {"text/xml; charset=utf-16"}}, refused},
		{"no type that is XML", http.Header{"Content-Type": {"application/json"}}, refused},
	} {
		e, err := Judge(c.header, strings.NewReader(envelope("", execute(named("WhoAmI")))))
		got := ""
		if err != nil {
			got = refused
		} else if e.Write != "" {
			got = write
		}
		if got != c.want {
			t.Errorf("%s: %q, %+v, %v", c.about, got, e, err)
		}
	}
	addressed := envelope(`<w:Action xmlns:w="http://www.w3.org/2005/08/addressing">`+action+`Delete</w:Action>`, execute(named("WhoAmI")))
	if e, err := Judge(nil, strings.NewReader(addressed)); err != nil || e.Write != "Delete" {
		t.Error("an action of WS-Addressing that disagrees passes")
	}
}

func TestABodyThatBreaksOffIsNoBadMessage(t *testing.T) {
	broken := errors.New("connection reset")
	_, err := Judge(nil, io.MultiReader(strings.NewReader(envelope("", "")[:80]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestServes(t *testing.T) {
	for path, want := range map[string]bool{
		"/XRMServices/2011/Organization.svc": true, "/XRMServices/2011/Organization.svc/web": true, "/xrmservices/2011/organization.SVC/Web/x": true,
		"/contoso/XRMServices/2011/Organization.svc/web": true, "/XRMServices/2011/Organization%2esvc": true, "/XRMServices/2011/Discovery.svc": true,
		"/XRMServices/2011/Organization.svc/web/OrganizationData.svc": true, "/XRMServices/2011/OrganizationData.svc/Organization.svc": false,
		"/MSCRMServices/2007/CrmService.asmx": true, "/XRMServices/2011/OrganizationData.svc/AccountSet": false,
		"/api/data/v9.2/accounts": false, "/": false, "/api/data/v9.2/accounts(name='a.svc')": false,
	} {
		if Serves(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
