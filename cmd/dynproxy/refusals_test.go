package main

import (
	"net/http"
	"strings"
	"testing"

	"dynproxy/internal/calls"
	"dynproxy/internal/emulator"
	"dynproxy/internal/refusal"
)

// Of every refusal that is known the answer, check, the portal, trace and the
// access line say the same, however the organization has said it.
func TestEveryKnownRefusalIsSpokenTheSameWay(t *testing.T) {
	t.Parallel()
	p := startEmulator(t, demoSeed())
	contoso := p.Organization("contoso")
	settings := p.settings("contoso")
	settings[prefix+"TENANT_LIMITS"] = "off" // a 429 is passed on
	r := start(t, settings)
	manual, codes := manual(t), 0
	for code := range refusal.Codes() {
		codes++
		fault := emulator.Fault{Kind: emulator.Refuse, Code: code, Message: "Principal user is missing prvReadAccount privilege."}
		meant := refusal.Refusal{Code: code, Message: fault.Message}
		if meant.Hint() == refusal.Throttled {
			fault.Kind = emulator.Throttle
		}
		if err := contoso.Inject(fault); err != nil {
			t.Fatal(err)
		}
		next := meant.Next(p.OrgURL("contoso"), demoClientID)
		for form, ask := range map[string]func(*testing.T, *running) (*http.Response, string){
			"JSON": request("GET", whoAmIPath, "", []string{"Accept-Encoding: identity"}),
			"gzip": request("GET", whoAmIPath, "", nil),
			"SOAP": request("POST", "/contoso/XRMServices/2011/Organization.svc/web", whoAmIEnvelope, []string{"Content-Type: text/xml", "SOAPAction: http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/Execute"}),
		} {
			resp, body := ask(t, r)
			if resp.StatusCode < 400 || resp.Header.Get("Dynproxy-Error") != "" || resp.Header.Get("Dynproxy-Hint") != string(meant.Hint()) || resp.Header.Get("Dynproxy-Next") != next {
				t.Errorf("%s as %s: %d %v %s", code, form, resp.StatusCode, resp.Header, body)
			}
			var d calls.Detail
			awaitCall(t, r, resp.Header.Get("Dynproxy-Request-Id"), &d)
			if d.Next != next || d.Call.Hint != string(meant.Hint()) || d.Call.OrgCode != code {
				t.Errorf("%s as %s: trace says %q of %+v", code, form, d.Next, d.Call)
			}
			r.await("the line", func(line string) bool {
				return strings.Contains(line, d.Call.ID) && strings.Contains(line, `"org_code":"`+code+`"`) && strings.Contains(line, `"hint":"`+d.Call.Hint+`"`)
			})
		}
		for who, first := range map[string]string{"check": checked(t, settings).FirstProblem().Next, "the portal": r.seen(t, "contoso").FirstProblem().Next} {
			if first != next {
				t.Errorf("%s: %s says %q, callers read %q", code, who, first, next)
			}
		}
		if _, page := fetch(t, r.ops+"/tenants/contoso"); !strings.Contains(page, "<b>Next:</b>") {
			t.Errorf("%s: the portal's page has no next step", code)
		}
		if !strings.Contains(manual, "`"+string(meant.Hint())+"`") {
			t.Errorf("docs/troubleshooting.md does not tell of %s", meant.Hint())
		}
		contoso.Heal()
	}
	if codes < 10 {
		t.Errorf("only %d are known", codes)
	}
}

const whoAmIEnvelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Execute xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><request xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts"><a:Parameters/><a:RequestName>WhoAmI</a:RequestName></request></Execute></s:Body></s:Envelope>`
