package soap

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"
)

// serviceFault is what a client reads of a fault.
type serviceFault struct {
	Code    int    `xml:"ErrorCode"`
	Message string `xml:"Message"`
	Pairs   []struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	} `xml:"ErrorDetails>KeyValuePairOfstringanyType"`
	Activity  string `xml:"ActivityId"`
	Timestamp string `xml:"Timestamp"`
}

func TestAFaultIsWhatClientsRead(t *testing.T) {
	const hostile = `contoso </detail>&amp;<x> "quoted" ]]> ` + "\x00" + ` é`
	for _, c := range []struct {
		fault        Fault
		status, code int
		side, wait   string
	}{
		{Fault{Status: 429, Code: "limit_wait_exceeded", Dataverse: "0x80072322", RetryAfter: 65 * time.Second}, 500, -2147015902, "Client", "PT1M5S"},
		{Fault{Status: 429, Code: "limit_wait_exceeded", Dataverse: "0x80072321", RetryAfter: 300 * time.Second}, 500, -2147015903, "Client", "PT5M"},
		{Fault{Status: 429, Code: "limit_wait_exceeded", Dataverse: "0x80072326", RetryAfter: 100 * time.Millisecond}, 500, -2147015898, "Client", "PT1S"},
		{Fault{Status: 401, Code: "unauthorized"}, 401, codePrivilege, "Client", ""},
		{Fault{Status: 403, Code: "read_only"}, 403, codePrivilege, "Client", ""},
		{Fault{Status: 400, Code: "bad_request"}, 500, codeInvalidArgument, "Client", ""},
		{Fault{Status: 404, Code: "tenant_unknown"}, 500, codeInvalidArgument, "Client", ""},
		{Fault{Status: 503, Code: "draining", RetryAfter: 2 * time.Hour}, 500, codeUnexpected, "Server", "PT2H"},
	} {
		f := c.fault
		f.Message, f.RequestID, f.Time = hostile, "7bd2a5f0-0000-4000-8000-000000000001", time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
		if f.HTTPStatus() != c.status {
			t.Errorf("%s: status %d", f.Code, f.HTTPStatus())
		}
		body, kind := f.Envelope(false)
		var read struct {
			XMLName xml.Name     `xml:"http://schemas.xmlsoap.org/soap/envelope/ Envelope"`
			Side    string       `xml:"Body>Fault>faultcode"`
			String  string       `xml:"Body>Fault>faultstring"`
			Detail  serviceFault `xml:"Body>Fault>detail>OrganizationServiceFault"`
		}
		if err := xml.Unmarshal(body, &read); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if kind != "text/xml; charset=utf-8" || read.Side != "s:"+c.side {
			t.Errorf("%s: %s, %s", f.Code, kind, read.Side)
		}
		checkDetail(t, &f, read.String, read.Detail, c.code, c.wait)

		body, kind = f.Envelope(true)
		var read12 struct {
			XMLName xml.Name     `xml:"http://www.w3.org/2003/05/soap-envelope Envelope"`
			String  string       `xml:"Body>Fault>Reason>Text"`
			Detail  serviceFault `xml:"Body>Fault>Detail>OrganizationServiceFault"`
		}
		if err := xml.Unmarshal(body, &read12); err != nil || kind != "application/soap+xml; charset=utf-8" {
			t.Fatalf("%v: %s %s", err, kind, body)
		}
		checkDetail(t, &f, read12.String, read12.Detail, c.code, c.wait)
	}
}

func checkDetail(t *testing.T, f *Fault, said string, d serviceFault, code int, wait string) {
	t.Helper()
	message := strings.ReplaceAll(f.Message, "\x00", "\ufffd")
	if said != message || d.Message != message || d.Code != code || d.Activity != f.RequestID || d.Timestamp == "" {
		t.Errorf("%s: %q, %+v", f.Code, said, d)
	}
	told := ""
	for _, p := range d.Pairs {
		switch p.Key {
		case "Retry-After":
			told = p.Value
		case "Dynproxy-Error":
			if p.Value != f.Code {
				t.Errorf("%s: told as %s", f.Code, p.Value)
			}
		}
	}
	if told != wait {
		t.Errorf("%s: Retry-After %q, want %q", f.Code, told, wait)
	}
}
