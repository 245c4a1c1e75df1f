package soap

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"time"
)

// Error codes of Dataverse, as the decimal numbers that SOAP has for them.
const (
	codeInvalidArgument = -2147220989 // 0x80040203
	codeUnexpected      = -2147220970 // 0x80040216
	codePrivilege       = -2147220960 // 0x80040220
)

// Fault is a refusal for a client of the Organization Service.
type Fault struct {
	Status     int           // that the Web API's clients would get
	Code       string        // Dynproxy-Error
	Dataverse  string        // Dataverse's own code in hexadecimal, such as 0x80072322; "" for one that goes with Status
	Message    string        // plain words
	RetryAfter time.Duration // 0 for no promise
	RequestID  string
	Time       time.Time
}

// HTTPStatus is the status that clients of SOAP read a fault with: 500. 401 and
// 403 stay, since they are about who calls.
func (f *Fault) HTTPStatus() int {
	if f.Status == 401 || f.Status == 403 {
		return f.Status
	}
	return 500
}

// Envelope returns the fault as SOAP 1.1, or as 1.2, and its Content-Type.
func (f *Fault) Envelope(soap12 bool) (body []byte, contentType string) {
	var b bytes.Buffer
	message := escape(f.Message)
	if soap12 {
		side := "Receiver"
		if f.callersFault() {
			side = "Sender"
		}
		fmt.Fprintf(&b, `<s:Envelope xmlns:s="%s"><s:Body><s:Fault><s:Code><s:Value>s:%s</s:Value></s:Code>`+
			`<s:Reason><s:Text xml:lang="en-US">%s</s:Text></s:Reason><s:Detail>`, space12, side, message)
		f.detail(&b, message)
		b.WriteString(`</s:Detail></s:Fault></s:Body></s:Envelope>`)
		return b.Bytes(), "application/soap+xml; charset=utf-8"
	}
	side := "Server"
	if f.callersFault() {
		side = "Client"
	}
	fmt.Fprintf(&b, `<s:Envelope xmlns:s="%s"><s:Body><s:Fault><faultcode>s:%s</faultcode>`+
		`<faultstring xml:lang="en-US">%s</faultstring><detail>`, space11, side, message)
	f.detail(&b, message)
	b.WriteString(`</detail></s:Fault></s:Body></s:Envelope>`)
	return b.Bytes(), "text/xml; charset=utf-8"
}

func (f *Fault) callersFault() bool { return f.Status < 500 }

// detail writes an OrganizationServiceFault, its elements in the order of its
// data contract, in which .NET reads them.
func (f *Fault) detail(b *bytes.Buffer, message string) {
	fmt.Fprintf(b, `<OrganizationServiceFault xmlns="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="%s">`, schemaSpace)
	if activity, ok := guid(f.RequestID); ok {
		fmt.Fprintf(b, `<ActivityId>%s</ActivityId>`, activity)
	}
	fmt.Fprintf(b, `<ErrorCode>%d</ErrorCode><ErrorDetails xmlns:c="http://schemas.datacontract.org/2004/07/System.Collections.Generic">`, f.number())
	pair(b, "Dynproxy-Error", "string", "http://www.w3.org/2001/XMLSchema", escape(f.Code))
	if f.RetryAfter > 0 {
		pair(b, "Retry-After", "duration", serialSpace, duration(f.RetryAfter))
	}
	fmt.Fprintf(b, `</ErrorDetails><Message>%s</Message><Timestamp>%s</Timestamp>`+
		`<InnerFault i:nil="true"/><TraceText i:nil="true"/></OrganizationServiceFault>`,
		message, f.Time.UTC().Format("2006-01-02T15:04:05.0000000Z"))
}

func pair(b *bytes.Buffer, key, kind, space, value string) {
	fmt.Fprintf(b, `<KeyValuePairOfstringanyType><c:key>%s</c:key><c:value i:type="d:%s" xmlns:d="%s">%s</c:value></KeyValuePairOfstringanyType>`,
		key, kind, space, value)
}

// number is the ErrorCode. SOAP has it as a signed number of 32 bits.
func (f *Fault) number() int32 {
	var n uint32
	if _, err := fmt.Sscanf(f.Dataverse, "0x%x", &n); err == nil {
		return int32(n)
	}
	switch {
	case f.Status == 401, f.Status == 403:
		return codePrivilege
	case f.Status < 500:
		return codeInvalidArgument
	}
	return codeUnexpected
}

// duration writes whole seconds as an xs:duration, rounded up.
func duration(d time.Duration) string {
	n := int64(math.Ceil(d.Seconds()))
	text := "PT"
	if n >= 3600 {
		text += fmt.Sprintf("%dH", n/3600)
	}
	if m := n / 60 % 60; m > 0 {
		text += fmt.Sprintf("%dM", m)
	}
	if s := n % 60; s > 0 || text == "PT" {
		text += fmt.Sprintf("%dS", s)
	}
	return text
}

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

// guid reports whether id is one; ActivityId may hold nothing else.
func guid(id string) (string, bool) {
	if len(id) != 36 {
		return "", false
	}
	for i, c := range []byte(id) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if dash != (c == '-') || !dash && !hex {
			return "", false
		}
	}
	return id, true
}
